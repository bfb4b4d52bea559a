"""`truss deploy --to container-apps` and `azureml`: Azure's own client, against a stand-in for its APIs.

The stand-in is ours; its module says what it does not do. That copies start and answer is not shown.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aws_server import free_address
from azure_server import GROUP, MODELS, AzureApis, RefusedError, azure, check
from commands import commands

from truss.config import parse_config
from truss.deploy import Action, Plan, Platform, Release, apply, destroy, read_options, target_named
from truss.errors import (
    DeployError,
    NameTakenError,
    NotDeployedError,
    PlanError,
    PlatformAuthError,
    PlatformUnreachableError,
    QuotaError,
)
from truss.testing.targets import PlatformConformance

IMAGE = f"team.azurecr.io/iris@sha256:{'1' * 64}"
OTHER_IMAGE = f"team.azurecr.io/iris@sha256:{'2' * 64}"
NAMES = ("container-apps", "azureml")
SECRET = "secrets: {api_key: null}\nenvironment_variables: {LEVEL: high}"


@pytest.fixture(scope="module", autouse=True)
def apis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureApis]:
    with azure(tmp_path_factory.mktemp("azure")) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(apis: AzureApis) -> None:
    apis.reset()


def connected(name: str, **options: Any) -> Platform:
    target = target_named(name)
    return target.connect(read_options(target, options))


def planned(name: str, config: str = "", image: str = IMAGE, **options: Any) -> Plan:
    target = target_named(name)
    return target.plan(Release("iris", image, parse_config(config)), read_options(target, options))


def body(plan: Plan, kind: str) -> Any:
    return next(one.body for one in plan.resources if one.kind == kind)


class OnAzure(PlatformConformance):
    @pytest.fixture(autouse=True)
    def _apis(self, apis: AzureApis) -> None:
        self.apis = apis

    @contextlib.contextmanager
    def platform(self) -> Iterator[Platform]:
        self.apis.reset()
        yield connected(self.target.name)


class TestContainerApps(OnAzure):
    target = target_named("container-apps")


class TestMachineLearning(OnAzure):
    target = target_named("azureml")


@pytest.mark.parametrize("name", NAMES)
def test_the_journey_of_an_image_of_azures_registry(name, apis):
    """Made, the same again, changed, back, asked, read, gone; what was there before is all that is left."""
    before, platform, secrets = dict(apis.things), connected(name), {"api_key": "t0ken"}
    apply(planned(name, SECRET), platform, secrets)
    assert {one.action for one in apply(planned(name, SECRET), platform, secrets)} == {Action.KEEP}
    roles = [one for path, one in apis.things.items() if "roleAssignments" in path]
    assert [one["properties"]["description"] for one in roles] == ["truss-deployment=iris team.azurecr.io"]
    apply(planned(name, SECRET.replace("high", "low"), OTHER_IMAGE), platform, secrets)
    assert platform.status("iris").image == OTHER_IMAGE
    first = platform.revisions("iris")[0]
    platform.roll_back("iris", first)
    status = platform.status("iris")
    assert (status.state, status.image) == ("healthy", IMAGE)
    assert {one.action for one in apply(planned(name, SECRET), platform, secrets)} == {Action.KEEP}
    assert json.loads(platform.ask("iris", b'{"inputs": ["iris"]}')) == {"predictions": ["iris"]}
    apis.lines = ["first", "second", "third"]
    assert list(platform.logs("iris", lines=2)) == ["second", "third"]
    destroy("iris", platform)
    assert apis.things == before


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_is_the_platforms_own_and_another_value_reaches_the_copies(name, apis):
    platform = connected(name)
    apply(planned(name, SECRET), platform, {"api_key": "t0ken"})
    holders = [path for path, one in apis.things.items() if "t0ken" in json.dumps(one)]
    kept = {"container-apps": "containerApps/iris", "azureml": "connections/truss-iris"}[name]
    assert [path.endswith(kept) for path in holders] == [True]
    apis.asked.clear()
    apply(planned(name, SECRET), platform, {"api_key": "another"})
    done = {"container-apps": "/restart", "azureml": "/deployments/green"}[name]
    assert [what for what, _ in apis.asked if what.endswith(done)]
    assert {one.action for one in apply(planned(name, SECRET), platform, {"api_key": "another"})} == {
        Action.KEEP
    }


def test_an_update_that_broke_off_before_the_old_machines_went_is_gone_on_with(apis):
    platform = connected("azureml")
    apply(planned("azureml"), platform, {})
    apis.refuse["DELETE", "/deployments/blue$"] = RefusedError(409, "Conflict", "not now")
    with pytest.raises(DeployError, match="not now"):
        apply(planned("azureml", image=OTHER_IMAGE), platform, {})
    assert len([path for path in apis.things if "/deployments/" in path]) == 2
    apis.refuse.clear()
    apply(planned("azureml", image=OTHER_IMAGE), platform, {})
    assert [path.rpartition("/")[2] for path in apis.things if "/deployments/" in path] == ["green"]


def test_sizes_of_container_apps():
    template = body(planned("container-apps", "resources: {cpu: 300m, memory: 3Gi}"), "containerapps:app")
    assert template["template"]["containers"][0]["resources"] == {"cpu": 1.5, "memory": "3Gi"}
    plan = planned("container-apps", "resources: {accelerator: T4}")
    assert body(plan, "containerapps:app")["profile"] == "Consumption-GPU-NC8as-T4"
    assert len(body(plan, "containerapps:environment")["profiles"]) == 2
    for config in ("resources: {memory: 9Gi}", "resources: {accelerator: 'A100:2'}"):
        with pytest.raises(PlanError, match="Container Apps has nothing") as caught:
            planned("container-apps", config)
        assert "azureml has larger machines" in str(caught.value.hint)
    plan = planned("container-apps", "resources: {cpu: '8', memory: 32Gi}", environment="ours", profile="D8")
    assert body(plan, "containerapps:app")["profile"] == "D8"


def test_machines_of_machine_learning():
    deployment = body(planned("azureml", "resources: {accelerator: 'A100:3'}"), "azureml:deployment")
    assert deployment["machine"] == "Standard_NC96ads_A100_v4"
    with pytest.raises(PlanError, match="nothing with"):
        planned("azureml", "resources: {accelerator: L4}")
    with pytest.raises(PlanError, match="180 s") as caught:
        planned("azureml", timeout=200)
    assert "container-apps" in str(caught.value.hint)


@pytest.mark.parametrize("name", NAMES)
def test_templates_hold_parameters_for_secrets_and_no_marker(name):
    plan = planned(name, SECRET)
    for file in plan.files:
        told = json.loads(file.text)
        assert "${" not in file.text.replace("${{azureml:", "")
        assert all(one["type"] and one["apiVersion"] and one["name"] for one in told["resources"])
    *_, main = json.loads(plan.files[0].text)["resources"]
    assert any("guid(" in one for one in main["dependsOn"]), "it is pulled only once it may be"
    assert json.loads(plan.files[0].text)["parameters"]["TRUSS_SECRET_api_key"] == {"type": "securestring"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(403, "AuthorizationFailed", PlatformAuthError), (400, "QuotaExceeded", QuotaError)],
)
def test_what_is_refused_is_said_and_nothing_is_lost(name, status, code, error, apis):
    apis.refuse["PUT", "/(containerApps|deployments)/[^/]+$"] = RefusedError(status, code, "you may not")
    platform = connected(name)
    with pytest.raises(error, match="you may not") as caught:
        apply(planned(name), platform, {})
    assert caught.value.where in ("containerapps:app/iris", "azureml:deployment/truss-iris")
    made = dict(apis.things)
    apis.refuse.clear()
    apply(planned(name), platform, {})
    assert made.keys() < apis.things.keys()


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_deployed_is_named(name):
    platform = connected(name)
    with pytest.raises(NotDeployedError, match="under the name 'iris'") as caught:
        platform.ask("iris", b"{}")
    assert f"truss status --to {name}" in caught.value.hint


def test_it_says_when_nothing_gets_requests_to_go_back_from(apis):
    platform = connected("azureml")
    apply(planned("azureml"), platform, {})
    (path,) = (path for path in apis.things if path.endswith("onlineEndpoints/truss-iris"))
    apis.things[path]["properties"]["traffic"] = {}
    with pytest.raises(DeployError, match="'truss-iris' gets requests, to go back from") as caught:
        platform.roll_back("iris", platform.revisions("iris")[0])
    assert caught.value.where == "azureml:deployment/truss-iris"


def test_a_name_of_somebody_else_is_refused(apis):
    path = f"{GROUP}/providers/Microsoft.App/managedEnvironments/truss-iris"
    theirs = {"location": "westeurope", "tags": {}, "properties": {}}
    apis.put(path, theirs)
    with pytest.raises(NameTakenError, match="was not made by Truss"):
        apply(planned("container-apps"), connected("container-apps"), {})
    assert apis.things[path]["tags"] == {}


@pytest.mark.parametrize(
    ("kind", "properties"),
    [
        ("containerApps", {"template": {"containers": [{"name": "model", "imag": "x"}]}}),
        ("containerApps", {"configuration": {"ingress": {"targetPort": "a port"}}}),
        ("onlineEndpoints", {"authMode": "Key", "public": True}),
        ("deployments", {"endpointComputeType": "Managed", "livenessProbe": {"period": "soon"}}),
    ],
)
def test_the_stand_in_refuses_what_is_not_of_azures_models(kind, properties):
    with pytest.raises(RefusedError):
        check(MODELS[kind], {"location": "westeurope", "properties": properties})


@pytest.mark.parametrize("name", NAMES)
def test_missing_credentials_are_said(name, monkeypatch):
    for one in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET"):
        monkeypatch.delenv(one)
    with pytest.raises(PlatformAuthError, match="wants credentials") as caught:
        connected(name).status("iris")
    assert "az login" in str(caught.value.hint)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_credentials_are_said(name, monkeypatch):
    monkeypatch.setenv("AZURE_CLIENT_SECRET", "wrong")
    with pytest.raises(PlatformAuthError, match="the secret is wrong"):
        connected(name).status("iris")


@pytest.mark.parametrize("name", NAMES)
def test_an_address_that_does_not_answer_is_said(name, monkeypatch):
    monkeypatch.setenv("ARM_ENDPOINT", free_address().replace("http:", "https:"))
    with pytest.raises(PlatformUnreachableError, match="no answer"):
        connected(name).status("iris")


def test_no_group(monkeypatch):
    monkeypatch.delenv("AZURE_DEFAULTS_GROUP")
    with pytest.raises(DeployError, match="no group") as caught:
        connected("container-apps").status("iris")
    assert "--group" in str(caught.value)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    return commands(tmp_path, f"model_name: iris\n{SECRET}\n", monkeypatch, capsys)


def test_going_back_goes_on_going_back(run):
    """Each step of it is a version of its own, which says what was before the one that it repeats."""
    images = [IMAGE.replace("1" * 64, digit * 64) for digit in "123"]
    for image in images:
        run("deploy", "--to", "azureml", "--yes", "--image", image)
    for image in images[1::-1]:
        assert json.loads(run("rollback", "--to", "azureml", "--json").out)["image"] == image


@pytest.mark.parametrize("name", NAMES)
def test_from_the_first_deployment_to_the_last_trace(name, run, apis):
    """By the commands, with images that are pushed already."""
    before, words = dict(apis.things), ("--to", name, "--yes", "--json")
    first_made = {"container-apps": "+ identity/", "azureml": "+ azureml:environment/"}[name]
    assert first_made in run("deploy", "--to", name, "--image", IMAGE, "--plan").out
    assert apis.things == before
    ran = run("deploy", *words, "--image", IMAGE)
    first = json.loads(ran.out)
    assert (first["state"], first["image"]) == ("healthy", IMAGE)
    assert "1 examples answered as expected" in ran.err
    again = run("deploy", *words, "--image", IMAGE)
    assert json.loads(again.out) == first
    assert "Making" not in again.err
    assert "Changing" not in again.err
    assert "Nothing changes." in run("deploy", "--to", name, "--image", IMAGE, "--plan").out

    second = json.loads(run("deploy", *words, "--image", OTHER_IMAGE).out)
    assert (second["state"], second["image"], second["url"]) == ("healthy", OTHER_IMAGE, first["url"])
    assert json.loads(run("status", "--to", name, "--json").out) == second
    assert json.loads(run("status", "--to", name, "--all", "--json").out) == [second]
    listed = json.loads(run("rollback", "--to", name, "--list", "--json").out)
    assert [(one["image"], one["current"]) for one in listed] == [(IMAGE, False), (OTHER_IMAGE, True)]
    assert json.loads(run("rollback", "--to", name, "--json").out) == first
    apis.lines = ["the server is ready"]
    assert "the server is ready" in run("logs", "--to", name).out

    wrong = run("deploy", "--to", name, "--yes", "--image", OTHER_IMAGE, ok=False, expected="rose")
    assert "the answer to the example 'one' is another" in wrong.err
    assert "it went back to revision" in wrong.err
    assert json.loads(run("status", "--to", name, "--json").out) == first

    assert len(json.loads(run("destroy", *words).out)["removed"]) >= 4
    assert apis.things == before
    assert "nothing is deployed" in run("status", "--to", name, ok=False).err

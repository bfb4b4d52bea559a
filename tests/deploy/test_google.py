"""`truss deploy --to cloud-run` and `vertex`: Google's own client, against a stand-in for its APIs.

The stand-in is ours; its module says what it does not do. That copies start and answer is not shown.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from aws_server import free_address
from google_server import GoogleApis, RefusedError, google

from truss.config import parse_config
from truss.deploy import Plan, Platform, Release, apply, destroy, read_options, target_named
from truss.errors import DeployError, PlanError, PlatformAuthError, PlatformUnreachableError, QuotaError
from truss.testing.targets import PlatformConformance

IMAGE = f"europe-docker.pkg.dev/greenhouse/models/iris@sha256:{'1' * 64}"
NAMES = ("cloud-run", "vertex")


@pytest.fixture(scope="module", autouse=True)
def apis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GoogleApis]:
    with google(tmp_path_factory.mktemp("google")) as server:
        yield server


@pytest.fixture(autouse=True)
def _empty(apis: GoogleApis) -> None:
    apis.reset()


def connected(name: str, **options: Any) -> Platform:
    target = target_named(name)
    return target.connect(read_options(target, options))


def planned(name: str, config: str = "", **options: Any) -> Plan:
    target = target_named(name)
    return target.plan(Release("iris", IMAGE, parse_config(config)), read_options(target, options))


def body(plan: Plan, kind: str) -> Any:
    return next(one.body for one in plan.resources if one.kind == kind)


class OnGoogle(PlatformConformance):
    @pytest.fixture(autouse=True)
    def _apis(self, apis: GoogleApis) -> None:
        self.apis = apis

    @contextlib.contextmanager
    def platform(self) -> Iterator[Platform]:
        self.apis.reset()
        yield connected(self.target.name)


class TestCloudRun(OnGoogle):
    target = target_named("cloud-run")
    options: ClassVar = {"min_copies": 1}


class TestVertex(OnGoogle):
    target = target_named("vertex")


@pytest.mark.parametrize("name", NAMES)
def test_everything_is_gone_afterwards_and_nothing_else(name, apis):
    apis.put("projects/greenhouse/secrets/theirs", {"labels": {}})
    platform = connected(name)
    plan = planned(name, "secrets: {api-key: null}")
    apply(plan, platform, {"api-key": "t0ken"})
    assert platform.status("iris").state == "healthy"
    destroy("iris", platform)
    assert list(apis.things) == ["projects/greenhouse/secrets/theirs"]
    assert apis.policies == {}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_asked_and_read(name, apis):
    platform = connected(name)
    apply(planned(name), platform, {})
    answer = json.loads(platform.ask("iris", b'{"inputs": ["iris"]}'))
    assert answer == {"predictions": ["iris"]}
    labels = {"service_name": "iris", "endpoint_id": "truss-iris"}
    for number in range(3):
        text = {"textPayload": f"line {number}"} if number else {"jsonPayload": {"message": "first"}}
        apis.entries.append({"insertId": str(number), "resource": {"labels": labels}, **text})
    assert list(platform.logs("iris", lines=2)) == ["line 1", "line 2"]
    assert list(platform.logs("iris")) == ['{"message": "first"}', "line 1", "line 2"]


def test_a_secret_is_read_by_the_copies_only(apis):
    apply(planned("cloud-run", "secrets: {api-key: null}"), connected("cloud-run"), {"api-key": "t0ken"})
    told = [content for what, content in apis.asked if "/services" in what]
    assert not [content for content in told if b"t0ken" in content or b"dDBrZW4" in content]
    (policy,) = (one for name, one in apis.policies.items() if "/secrets/" in name)
    assert policy["bindings"][0]["members"] == [
        "serviceAccount:truss-iris@greenhouse.iam.gserviceaccount.com"
    ]


def test_who_may_ask_it(apis):
    platform = connected("cloud-run")
    apply(planned("cloud-run"), platform, {})
    name = "projects/greenhouse/locations/us-central1/services/iris"
    assert "allUsers" not in json.dumps(apis.policies[name])
    apply(planned("cloud-run", public=True), platform, {})
    assert "allUsers" in json.dumps(apis.policies[name])
    apply(planned("cloud-run"), platform, {})
    assert "allUsers" not in json.dumps(apis.policies[name])


def test_sizes_of_cloud_run():
    template = body(planned("cloud-run", "resources: {cpu: 500m, memory: 6Gi}"), "run:service")["template"]
    assert template["containers"][0]["resources"]["limits"] == {"cpu": "2", "memory": "6144Mi"}
    template = body(planned("cloud-run", "resources: {accelerator: L4}"), "run:service")["template"]
    limits = {"cpu": "4", "memory": "16384Mi", "nvidia.com/gpu": "1"}
    assert template["containers"][0]["resources"]["limits"] == limits
    assert template["nodeSelector"] == {"accelerator": "nvidia-l4"}
    for config in (
        "resources: {memory: 40Gi}",
        "resources: {accelerator: H100}",
        "resources: {accelerator: 'L4:2'}",
    ):
        with pytest.raises(PlanError, match="Cloud Run has nothing") as caught:
            planned("cloud-run", config)
        assert "the largest has 8 CPU and 32 GiB" in str(caught.value.hint)
    with pytest.raises(PlanError, match="3600 s"):
        planned("cloud-run", timeout=4000)


@pytest.mark.parametrize(
    ("asked", "machine", "accelerator"),
    [
        ("A100:3", "a2-ultragpu-4g", "NVIDIA_A100_80GB"),
        ("A100_40GB:3", "a2-highgpu-4g", "NVIDIA_TESLA_A100"),
    ],
)
def test_machines_of_vertex(asked, machine, accelerator):
    plan = planned("vertex", f"resources: {{accelerator: '{asked}'}}")
    assert body(plan, "aiplatform:deployed-model")["machine"] == {
        "machineType": machine,
        "acceleratorType": accelerator,
        "acceleratorCount": 4,
    }


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(403, "PERMISSION_DENIED", PlatformAuthError), (429, "RESOURCE_EXHAUSTED", QuotaError)],
)
def test_what_is_refused_is_said_and_nothing_is_lost(name, status, code, error, apis):
    apis.refuse["POST", "/(services|endpoints)$"] = RefusedError(status, code, "you may not")
    platform = connected(name)
    with pytest.raises(error, match="you may not") as caught:
        apply(planned(name), platform, {})
    assert caught.value.where in ("run:service/iris", "aiplatform:endpoint/truss-iris")
    made = dict(apis.things)
    assert made
    apis.refuse.clear()
    apply(planned(name), platform, {})
    assert made.keys() < apis.things.keys()


@pytest.mark.parametrize("name", NAMES)
def test_missing_credentials_are_said(name, monkeypatch, tmp_path):
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(PlatformAuthError, match="wants credentials") as caught:
        connected(name).status("iris")
    assert "gcloud auth application-default login" in str(caught.value.hint)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_credentials_are_said(name, monkeypatch, tmp_path, apis):
    wrong = json.loads(apis.credentials(tmp_path).read_text()) | {"token_uri": f"{apis.url}/nowhere"}
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "wrong.json"))
    with pytest.raises(PlatformAuthError, match="refuses the credentials"):
        connected(name).status("iris")


@pytest.mark.parametrize("name", NAMES)
def test_a_region_that_does_not_answer_is_said(name, monkeypatch):
    for service in ("RUN", "AIPLATFORM"):
        monkeypatch.setenv(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service}", free_address())
    with pytest.raises(PlatformUnreachableError, match="no answer"):
        connected(name).status("iris")


def test_no_project(monkeypatch, tmp_path, apis):
    nobody = json.loads(apis.credentials(tmp_path).read_text())
    del nobody["project_id"]
    (tmp_path / "nobody.json").write_text(json.dumps(nobody))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "nobody.json"))
    with pytest.raises(DeployError, match="no project") as caught:
        connected("cloud-run").status("iris")
    assert "--project" in str(caught.value)

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
from commands import commands
from google_server import GoogleApis, RefusedError, google

from truss.config import parse_config
from truss.deploy import Action, Plan, Platform, Release, apply, compare, destroy, read_options, target_named
from truss.errors import (
    DeployError,
    PlanError,
    PlatformAuthError,
    PlatformRefusalError,
    PlatformUnreachableError,
    QuotaError,
)
from truss.testing.targets import PlatformConformance

IMAGE = f"europe-docker.pkg.dev/greenhouse/models/iris@sha256:{'1' * 64}"
OTHER = IMAGE.replace("1" * 64, "2" * 64)
NAMES = ("cloud-run", "vertex")
ENDPOINT = "projects/greenhouse/locations/us-central1/endpoints/truss-iris"


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


def planned(name: str, config: str = "", image: str = IMAGE, **options: Any) -> Plan:
    target = target_named(name)
    return target.plan(Release("iris", image, parse_config(config)), read_options(target, options))


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


class TestCloudRunWithGpus(OnGoogle):
    target = target_named("cloud-run")
    options: ClassVar = {"min_copies": 1}
    config = """
model_name: flowers
resources: {accelerator: L4}
secrets: {api-key: null}
"""


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


def test_a_model_of_vertex_is_told_where_its_secret_is_and_another_value_is_another_version(apis):
    platform = connected("vertex")
    config = "secrets: {api-key: null}"
    apply(planned("vertex", config), platform, {"api-key": "t0ken"})
    model = "projects/greenhouse/locations/us-central1/models/truss-iris"
    kept = "projects/greenhouse/secrets/truss-iris-api-key"

    def told() -> Any:
        assert not [name for name, one in apis.things.items() if "t0ken" in json.dumps(one)]
        return apis.things[model]["containerSpec"]["env"]

    assert told() == [{"name": "TRUSS_STORED_SECRET_api_key", "value": f"{kept}/versions/1"}]
    (policy,) = (one for name, one in apis.policies.items() if name == kept)
    reader = "serviceAccount:truss-iris@greenhouse.iam.gserviceaccount.com"
    assert policy["bindings"][0]["members"] == [reader]
    assert apis.things[ENDPOINT]["deployedModels"][0]["serviceAccount"] == reader.partition(":")[2]
    done = apply(planned("vertex", config), platform, {"api-key": "another"})
    assert [one.key for one in done if one.action is Action.UPDATE] == [
        "secretmanager:secret/truss-iris-api-key",
        "aiplatform:model/truss-iris",
        "aiplatform:deployed-model/truss-iris",
    ]
    assert told()[0]["value"] == f"{kept}/versions/2"
    platform.roll_back("iris", platform.revisions("iris")[0])
    assert told()[0]["value"] == f"{kept}/versions/1"


def test_a_value_that_was_a_variable_once_is_shown_to_nobody(apis):
    platform = connected("vertex")
    config = "secrets: {api-key: null}"
    apply(planned("vertex", config), platform, {"api-key": "t0ken"})
    model = apis.things["projects/greenhouse/locations/us-central1/models/truss-iris"]
    model["containerSpec"]["env"] = [{"name": "TRUSS_SECRET_api_key", "value": "t0ken"}]
    changes = compare(planned("vertex", config), platform, {"api-key": "t0ken"})
    lines = [line for one in changes for line in one.lines]
    assert any("TRUSS_SECRET_api_key" in line for line in lines)
    assert "t0ken" not in "".join(lines)


def test_who_may_ask_it(apis):
    platform = connected("cloud-run")
    apply(planned("cloud-run"), platform, {})
    name = "projects/greenhouse/locations/us-central1/services/iris"
    assert "allUsers" not in json.dumps(apis.policies[name])
    apply(planned("cloud-run", public=True), platform, {})
    assert "allUsers" in json.dumps(apis.policies[name])
    apply(planned("cloud-run"), platform, {})
    assert "allUsers" not in json.dumps(apis.policies[name])


GRPC = "runtime: {grpc: {port: 8081}}"


@pytest.mark.parametrize(
    ("config", "options", "port", "told"),
    [
        ("", {}, "http1", ()),
        (GRPC, {}, "http1", ("gRPC without streams and metadata; --http2",)),
        (GRPC, {"http2": True}, "h2c", ("answers gRPC only", "under another --name")),
    ],
)
def test_cloud_run_is_told_of_http2_when_it_is_asked_for(config, options, port, told, apis):
    plan = planned("cloud-run", config, **options)
    assert body(plan, "run:service")["template"]["containers"][0]["ports"][0]["name"] == port
    assert plan.asked is not bool(options)
    notes = [one for one in plan.notes if "gRPC" in one]
    assert bool(notes) is bool(told)
    assert all(part in notes[0] for part in told)
    apply(plan, connected("cloud-run"), {})
    assert {one.action for one in compare(plan, connected("cloud-run"), {})} == {Action.KEEP}


def test_http2_for_a_model_without_grpc_is_refused():
    with pytest.raises(PlanError, match="it has no gRPC") as caught:
        planned("cloud-run", http2=True)
    assert caught.value.where == "deploy.cloud-run.http2"
    assert "runtime.grpc.port" in str(caught.value.hint)


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
    ("asked", "cpu", "memory", "note"),
    [
        ("{cpu: 8, memory: 2Gi}", "8", "4096Mi", "4 GiB of memory, Cloud Run's least for 8 CPU"),
        ("{cpu: 5, memory: 1Gi}", "6", "4096Mi", "4 GiB of memory, Cloud Run's least for 6 CPU"),
        ("{cpu: 3, memory: 1Gi}", "4", "2048Mi", "2 GiB of memory, Cloud Run's least for 4 CPU"),
        ("{cpu: 2, memory: 128Mi}", "2", "512Mi", "512 MiB of memory, Cloud Run's least for 2 CPU"),
        ("{cpu: 1, memory: 5Gi}", "2", "5120Mi", ""),
        ("{cpu: 1, memory: 9Gi}", "4", "9216Mi", ""),
        ("{cpu: 1, memory: 17Gi}", "6", "17408Mi", ""),
        ("{cpu: 1, memory: 25Gi}", "8", "25600Mi", ""),
        ("{cpu: 8, memory: 2Gi, accelerator: L4}", "8", "16384Mi", "least for 8 CPU with an L4"),
    ],
)
def test_cpu_and_memory_are_a_pair_that_cloud_run_has(asked, cpu, memory, note):
    plan = planned("cloud-run", f"resources: {asked}")
    limits = body(plan, "run:service")["template"]["containers"][0]["resources"]["limits"]
    assert (limits["cpu"], limits["memory"]) == (cpu, memory)
    assert note in "\n".join(plan.notes)
    assert bool(note) is ("Cloud Run's least" in "\n".join(plan.notes))
    apply(plan, connected("cloud-run"), {})


@pytest.mark.parametrize(("config", "minutes"), [("", 10), ("resources: {accelerator: L4}", 30)])
def test_a_model_is_loaded_as_long_as_cloud_run_waits_for_a_copy(config, minutes):
    plan, platform = planned("cloud-run", config), connected("cloud-run")
    assert f"a copy has {minutes} minutes to load the model, and 10 s to stop" in plan.notes
    apply(plan, platform, {})
    # The stand-in waits no longer, as Cloud Run does not.
    probe = body(plan, "run:service")["template"]["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == 60 * minutes
    probe["failureThreshold"] += 1
    with pytest.raises(PlatformRefusalError, match="startup_probe"):
        apply(plan, platform, {})


def test_a_dedicated_endpoint_is_asked_at_its_own_address_only(apis):
    platform = connected("vertex")
    plan = planned("vertex")
    assert "an address of its own" in "\n".join(plan.notes)
    apply(plan, platform, {})
    assert platform.status("iris").url == f"{apis.url}/dedicated/truss-iris/v1/{ENDPOINT}:rawPredict"
    assert json.loads(platform.ask("iris", b'{"inputs": [1]}')) == {"predictions": [1]}
    # As Google tells it: a name alone.
    apis.things[ENDPOINT]["dedicatedEndpointDns"] = "truss-iris.us-central1-7.prediction.vertexai.goog"
    url = f"https://truss-iris.us-central1-7.prediction.vertexai.goog/v1/{ENDPOINT}:rawPredict"
    assert platform.status("iris").url == url
    del apis.things[ENDPOINT]["dedicatedEndpointDns"]
    with pytest.raises(PlatformRefusalError, match="a domain of its own"):
        platform.ask("iris", b'{"inputs": [1]}')

    plan = planned("vertex", dedicated=False)
    assert "an address of its own" not in "\n".join(plan.notes)
    apply(plan, platform, {})
    assert platform.status("iris").url == f"{apis.url}/v1/{ENDPOINT}:rawPredict"
    assert json.loads(platform.ask("iris", b'{"inputs": [2]}')) == {"predictions": [2]}


def split(apis: GoogleApis, ours: int, theirs: int) -> None:
    """Deploy something else to the endpoint by hand, and give both so many of a hundred requests."""
    endpoint = apis.things[ENDPOINT]
    (present,) = endpoint["deployedModels"]
    endpoint["deployedModels"].append({**present, "id": "theirs"})
    endpoint["trafficSplit"] = {present["id"]: ours, "theirs": theirs}


def test_requests_that_somebody_split_are_told_and_the_next_deployment_gets_all(apis):
    platform = connected("vertex")
    apply(planned("vertex"), platform, {})
    split(apis, 60, 40)
    status = platform.status("iris")
    assert (status.state, status.image) == ("healthy", IMAGE)
    assert "60 % of the requests" in status.detail[0]
    changed = [one for one in compare(planned("vertex"), platform, {}) if one.action is not Action.KEEP]
    assert [one.key for one in changed] == ["aiplatform:deployed-model/truss-iris"]
    lines = [line for line in changed[0].lines if line[0] in "+-"]
    assert lines == ['-  "percent": 60,', '+  "percent": 100,']
    apply(planned("vertex"), platform, {})
    (left,) = apis.things[ENDPOINT]["deployedModels"]
    assert apis.things[ENDPOINT]["trafficSplit"] == {left["id"]: 100}
    assert platform.status("iris").detail == ()


def test_it_goes_back_from_split_requests_and_says_when_nothing_gets_any(apis):
    platform = connected("vertex")
    apply(planned("vertex"), platform, {})
    apply(planned("vertex", image=OTHER), platform, {})
    split(apis, 60, 40)
    platform.roll_back("iris", platform.revisions("iris")[0])
    assert platform.status("iris").image == IMAGE
    apis.things[ENDPOINT]["trafficSplit"] = {}
    status = platform.status("iris")
    assert (status.state, *status.detail) == (
        "stopped",
        "nothing that is deployed to the endpoint gets requests",
    )
    with pytest.raises(DeployError, match="to go back from") as caught:
        platform.roll_back("iris", platform.revisions("iris")[0])
    assert "deploy" in str(caught.value.hint)


def shares(apis: GoogleApis) -> dict[str, int]:
    """How many of a hundred requests each version gets that is deployed, by its image."""
    endpoint = apis.things[ENDPOINT]
    images = {
        one["id"]: apis.things[f"{one['model']}@{one['modelVersionId']}"]["containerSpec"]["imageUri"]
        for one in endpoint["deployedModels"]
    }
    return {image: endpoint["trafficSplit"].get(identifier, 0) for identifier, image in images.items()}


def test_a_new_version_gets_a_share_then_all_and_nothing_changes_between(apis):
    platform = connected("vertex")
    apply(planned("vertex", traffic=10), platform, {})
    assert shares(apis) == {IMAGE: 100}
    assert all(one.action is Action.KEEP for one in compare(planned("vertex", traffic=10), platform, {}))

    plan = planned("vertex", image=OTHER, traffic=10)
    apply(plan, platform, {})
    assert shares(apis) == {IMAGE: 90, OTHER: 10}
    assert all(one.action is Action.KEEP for one in compare(plan, platform, {}))
    status = platform.status("iris")
    assert (status.state, status.image) == ("healthy", OTHER)
    assert "10 % of the requests" in status.detail[0]

    apply(planned("vertex", image=OTHER, traffic=35), platform, {})
    assert shares(apis) == {IMAGE: 65, OTHER: 35}
    third = IMAGE.replace("1" * 64, "3" * 64)
    with pytest.raises(DeployError, match="versions 1 and 2 share the requests already") as caught:
        compare(planned("vertex", image=third, traffic=10), platform, {})
    assert "--traffic 100" in str(caught.value.hint)

    deployed = [one for one, _ in apis.asked if one.endswith(":deployModel")]
    apply(planned("vertex", image=OTHER), platform, {})
    assert shares(apis) == {OTHER: 100}
    assert [one for one, _ in apis.asked if one.endswith(":deployModel")] == deployed
    assert platform.status("iris").detail == ()


def test_who_had_a_share_loses_it_by_going_back(apis):
    platform = connected("vertex")
    apply(planned("vertex", max_copies=3), platform, {})
    before = platform.revisions("iris")[0]
    (present,) = apis.things[ENDPOINT]["deployedModels"]
    apply(planned("vertex", image=OTHER, traffic=10), platform, {})
    assert [one.current for one in platform.revisions("iris")] == [False, True]
    platform.roll_back("iris", before)
    # The very machines that kept the rest.
    assert apis.things[ENDPOINT]["deployedModels"] == [present]
    assert apis.things[ENDPOINT]["trafficSplit"] == {present["id"]: 100}


def test_what_broke_off_before_the_old_version_was_gone_is_gone_on_with(apis):
    platform = connected("vertex")
    apply(planned("vertex"), platform, {})
    apis.fail[":undeployModel$"] = (13, "try again")
    with pytest.raises(PlatformRefusalError, match="try again"):
        apply(planned("vertex", image=OTHER), platform, {})
    apis.fail.clear()
    split(apis, 100, 0)
    apply(planned("vertex", image=OTHER), platform, {})
    assert shares(apis) == {OTHER: 100}


@pytest.mark.parametrize("share", [0, -1, 101])
def test_a_share_that_is_none(share):
    with pytest.raises(PlanError, match="1 to 100") as caught:
        planned("vertex", traffic=share)
    assert caught.value.where == "deploy.vertex.traffic"


@pytest.mark.parametrize("shares", [(60, 40), (40, 60), (0, 100), (0, 0)])
def test_everything_at_an_endpoint_goes_with_it(shares, apis):
    platform = connected("vertex")
    apply(planned("vertex"), platform, {})
    split(apis, *shares)
    destroy("iris", platform)
    assert apis.things == {}


@pytest.mark.parametrize(
    ("name", "began", "key"),
    [
        ("cloud-run", "/services$", "run:service/iris"),
        ("vertex", ":deployModel$", "aiplatform:deployed-model/truss-iris"),
    ],
)
def test_what_began_and_failed_says_what_and_where_to_look(name, began, key, apis):
    apis.fail[began] = (9, "the container did not listen on port 8080")
    with pytest.raises(PlatformRefusalError, match="failed: the container did not listen") as caught:
        apply(planned(name), connected(name), {})
    assert caught.value.where == key
    assert caught.value.code == "FAILED_PRECONDITION"
    assert "truss logs" in str(caught.value.hint)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    return commands(tmp_path, "model_name: iris\nsecrets: {api-key: null}\n", monkeypatch, capsys)


@pytest.mark.parametrize("name", NAMES)
def test_from_the_first_deployment_to_the_last_trace(name, run, apis):
    """By the commands, with images that are pushed already."""
    words = ("--to", name, "--yes", "--json")
    assert "+ iam:service-account/truss-iris" in run("deploy", "--to", name, "--image", IMAGE, "--plan").out
    assert apis.things == {}
    ran = run("deploy", *words, "--image", IMAGE)
    first = json.loads(ran.out)
    assert (first["state"], first["image"]) == ("healthy", IMAGE)
    assert "Making iam:service-account/truss-iris" in ran.err
    assert "1 examples answered as expected" in ran.err
    again = run("deploy", *words, "--image", IMAGE)
    assert json.loads(again.out) == first
    assert "Making" not in again.err
    assert "Changing" not in again.err

    second = json.loads(run("deploy", *words, "--image", OTHER).out)
    assert second["image"] == OTHER
    assert second["url"] == first["url"]
    assert json.loads(run("status", "--to", name, "--json").out) == second
    listed = json.loads(run("rollback", "--to", name, "--list", "--json").out)
    assert [(one["image"], one["current"]) for one in listed] == [(IMAGE, False), (OTHER, True)]
    assert json.loads(run("rollback", "--to", name, "--json").out) == first

    wrong = run("deploy", "--to", name, "--yes", "--image", OTHER, ok=False, expected="rose")
    assert "the answer to the example 'one' is another" in wrong.err
    assert "it went back to revision" in wrong.err
    assert json.loads(run("status", "--to", name, "--json").out) == first

    assert len(json.loads(run("destroy", *words).out)["removed"]) == {"cloud-run": 4, "vertex": 5}[name]
    assert apis.things == {}
    assert "nothing is deployed" in run("status", "--to", name, ok=False).err


def test_the_examples_are_asked_of_the_version_that_gets_a_share(run, apis):
    words = ("--to", "vertex", "--yes", "--json")
    run("deploy", *words, "--image", IMAGE)
    assert "2 % of the requests" in run("deploy", *words, "--plan", "--image", OTHER, "--traffic", "2").out
    ran = run("deploy", *words, "--image", OTHER, "--traffic", "2")
    assert shares(apis) == {IMAGE: 98, OTHER: 2}
    assert "1 examples answered as expected" in ran.err
    assert json.loads(ran.out)["image"] == OTHER
    run("rollback", *words[:2])
    assert shares(apis) == {IMAGE: 100}

    # What most requests would have shown is right, and what the new version says is not.
    apis.answers[OTHER] = ["rose"]
    wrong = run("deploy", *words, "--image", OTHER, "--traffic", "2", ok=False)
    assert "the answer to the example 'one' is another" in wrong.out
    assert "it went back to revision 1" in wrong.out
    assert shares(apis) == {IMAGE: 100}

    apis.answers.clear()
    apis.tells = False
    unknown = run("deploy", *words, "--image", OTHER, "--traffic", "2", ok=False)
    assert "does not say which of the versions answered" in unknown.out
    assert shares(apis) == {IMAGE: 100}


THIRD, FOURTH = (IMAGE.replace("1" * 64, digit * 64) for digit in "34")


@pytest.mark.parametrize("name", NAMES)
def test_going_back_is_to_what_ran_before_and_never_to_what_was_left(name, run):
    def deployed(image):
        return json.loads(run("deploy", "--to", name, "--yes", "--json", "--image", image).out)["image"]

    def gone_back():
        return json.loads(run("rollback", "--to", name, "--json").out)["image"]

    for image in (IMAGE, OTHER, THIRD):
        assert deployed(image) == image
    assert gone_back() == OTHER
    assert deployed(FOURTH) == FOURTH
    assert gone_back() == OTHER, "the third was left"
    assert gone_back() == IMAGE
    refused = run("rollback", "--to", name, ok=False).err
    assert "has no earlier revision" in refused


def test_a_revision_of_cloud_run_that_is_left_runs_again(run, apis):
    words = ("--to", "cloud-run", "--yes", "--json")
    for image in (IMAGE, OTHER, THIRD):
        run("deploy", *words, "--image", image)
    first = json.loads(run("rollback", "--to", "cloud-run", "--list", "--json").out)[0]["id"]
    run("rollback", "--to", "cloud-run", "--revision", first)
    assert json.loads(run("deploy", *words, "--image", THIRD).out)["image"] == THIRD
    assert json.loads(run("rollback", "--to", "cloud-run", "--json").out)["image"] == IMAGE
    wrong = run("deploy", *words, "--image", OTHER, ok=False, expected="rose")
    assert "it went back to revision" in wrong.out
    run("deploy", *words, "--image", FOURTH)
    back = json.loads(run("rollback", "--to", "cloud-run", "--json").out)
    assert back["image"] == IMAGE, "what did not answer as expected is nothing to go back to"


def test_a_service_whose_first_revision_never_ran_takes_another(run, apis):
    words = ("--to", "cloud-run", "--yes", "--json")
    run("deploy", *words, "--image", IMAGE)
    service = apis.things["projects/greenhouse/locations/us-central1/services/iris"]
    del service["latestReadyRevision"]
    service["terminalCondition"] = {"type": "Ready", "state": "CONDITION_FAILED", "message": "no start"}
    assert json.loads(run("deploy", *words, "--image", OTHER).out)["image"] == OTHER


def test_requests_to_cloud_run_that_somebody_split_go_back_to_where_most_of_them_went(run, apis):
    words = ("--to", "cloud-run", "--yes", "--json")
    run("deploy", *words, "--image", IMAGE)
    run("deploy", *words, "--image", OTHER)
    service = apis.things["projects/greenhouse/locations/us-central1/services/iris"]
    first = json.loads(run("rollback", "--to", "cloud-run", "--list", "--json").out)[0]["id"]
    to_first = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION", "revision": first}
    to_latest = {"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST"}
    service["traffic"] = [{**to_first, "percent": 10}, {**to_latest, "percent": 90}]
    assert json.loads(run("status", "--to", "cloud-run", "--json").out)["image"] == OTHER
    service["traffic"] = [{**to_latest, "percent": 20}, {**to_first, "percent": 80}]
    assert json.loads(run("status", "--to", "cloud-run", "--json").out)["image"] == IMAGE
    run("deploy", *words, "--image", THIRD)
    assert json.loads(run("rollback", "--to", "cloud-run", "--json").out)["image"] == IMAGE


def test_a_version_of_vertex_after_an_unsettled_split_goes_back_to_what_had_most(run, apis):
    words = ("--to", "vertex", "--yes", "--json")
    run("deploy", *words, "--image", IMAGE)
    run("deploy", *words, "--image", OTHER, "--traffic", "10")
    run("deploy", *words, "--image", THIRD)
    assert shares(apis) == {THIRD: 100}
    run("rollback", "--to", "vertex")
    assert shares(apis) == {IMAGE: 100}


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

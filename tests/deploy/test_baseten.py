"""`truss deploy --to baseten`, against a server of ours that answers as the API's reference says.

It shows that our calls are those of the reference, that the archive arrives in S3 by AWS's own client, and
that the public package reads the folder in it. What it does not show: that Baseten itself takes the archive,
builds and runs it; what its temporary credentials allow; how long promoting takes, and what it makes of a
state that was switched off; that limits and refusals are spelled as here.
"""

import contextlib
import json
import subprocess
import tarfile
import threading
import time
from collections import deque
from io import BytesIO
from pathlib import Path

import boto3
import pytest
from aws_server import aws, free_address
from baseten_server import BUCKET, KEY, REGION, RefusedError, refused, running_baseten

from truss.build.archive import archive
from truss.cli import main
from truss.config import parse_config
from truss.deploy import Release, apply, destroy, read_options, target_named
from truss.deploy.baseten.folder import config_of, write_folder
from truss.errors import (
    DeployError,
    NameTakenError,
    NotDeployedError,
    PlanError,
    PlatformAuthError,
    PlatformRefusalError,
    PlatformUnreachableError,
    QuotaError,
)
from truss.testing.targets import PlatformConformance

PYTHON = Path(__file__).parents[2] / ".venvs" / "original" / "bin" / "python"
IMAGE = f"baseten://{'1' * 64}.tgz"
OTHER_IMAGE = f"baseten://{'2' * 64}.tgz"

pytestmark = pytest.mark.xdist_group("baseten")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with aws(tmp_path_factory.mktemp("moto")), running_baseten() as running:
        yield running


@pytest.fixture
def baseten(server, monkeypatch, tmp_path):
    """An empty workspace, and the environment in which it is found."""
    server.reset()
    monkeypatch.setenv("BASETEN_API_KEY", KEY)
    monkeypatch.setenv("BASETEN_API_URL", server.url)
    monkeypatch.setenv("BASETEN_MODEL_URL", f"{server.url}/models/{{model}}")
    monkeypatch.setenv("USER_TRUSSRC_PATH", str(tmp_path / "trussrc"))
    return server


def connected(*archives, **options):
    target = target_named("baseten")
    platform = target.connect(read_options(target, options))
    for place, path in archives:
        platform.upload(path, place)
    return platform


def planned(config="model_name: iris\n", image=IMAGE, name="iris", **options):
    target = target_named("baseten")
    return target.plan(Release(name, image, parse_config(config)), read_options(target, options))


@pytest.fixture
def archives(small, tmp_path):
    made = [
        archive(small(name, answer), tmp_path / "archives").path
        for name, answer in (("one", "1"), ("two", "2"))
    ]
    return tuple(zip((IMAGE, OTHER_IMAGE), made, strict=True))


class TestPlatform(PlatformConformance):
    target = target_named("baseten")
    image = IMAGE
    other_image = OTHER_IMAGE

    @pytest.fixture(autouse=True)
    def prepared(self, baseten, archives):
        self.baseten, self.archives = baseten, archives

    @contextlib.contextmanager
    def platform(self):
        self.baseten.reset()
        yield connected(*self.archives)


# What plans say.


def test_a_config_has_what_the_platform_knows_and_no_value_of_a_secret():
    told = planned(
        "requirements: [numpy==2.0]\nsecrets: {api-key: hidden}\nresources: {accelerator: 'L4:2'}\n"
        "runtime: {predict_concurrency: 4, batching: {mode: rows}}\n"
        "deploy: {baseten: {environment: staging}}\n"
    ).resources[0]
    assert told.body["config"] == {
        "model_name": "iris",
        "requirements": ["numpy==2.0"],
        "secrets": {"api-key": None},
        "resources": {"cpu": "1", "memory": "2Gi", "use_gpu": True, "accelerator": "L4:2"},
        "runtime": {"predict_concurrency": 4},
    }


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("resources: {use_gpu: true}\n", "which GPU"),
        ("external_package_dirs: [../lib]\n", "outside of the Truss"),
    ],
)
def test_what_it_cannot_do_is_refused(config, said):
    with pytest.raises(PlanError, match=said):
        planned(config)


# What is uploaded.

_LOADS = """
import sys
from pathlib import Path
from truss.base.truss_config import TrussConfig
from truss.truss_handle.truss_handle import TrussHandle
folder = Path(sys.argv[1])
config = TrussConfig.from_yaml(folder / "config.yaml")
handle = TrussHandle(folder, validate=True)
spec = handle.spec
print(config.model_name, config.resources.cpu, list(config.secrets), spec.model_class_name,
      spec.model_class_filepath.is_file(), spec.data_dir)
"""


@pytest.mark.skipif(not PYTHON.exists(), reason="the public package is missing: scripts/setup-original")
def test_the_public_package_reads_the_folder_in_the_archive(small, tmp_path):
    text = "secrets: {api-key: hidden}\nruntime: {batching: {mode: rows}}\nsignature: {tensors: []}\n"
    folder = small("flowers", config=text)
    made = archive(folder, tmp_path / "archives")
    config = config_of(Release("flowers", IMAGE, parse_config((folder / "config.yaml").read_text())))
    write_folder(made.path, config, tmp_path / "model.tgz")
    with tarfile.open(tmp_path / "model.tgz") as packed:
        assert sorted(packed.getnames()) == ["config.yaml", "model/model.py"]
        packed.extractall(tmp_path / "there", filter="data")
    done = subprocess.run(
        [PYTHON, "-I", "-c", _LOADS, tmp_path / "there"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:5] == ["flowers", "1", "['api-key']", "Model", "True"]


def test_a_truss_is_deployed_updated_and_removed_by_the_command_line(baseten, small, capsys):
    folder = small("iris")
    (folder / "examples.yaml").write_text("- name: one\n  input: [1]\n  expected: {predictions: [1]}\n")
    words = ["--to", "baseten"]
    assert main(["deploy", str(folder), *words, "--yes"]) == 0, capsys.readouterr().err
    [state] = baseten.states[next(iter(baseten.models))]
    assert state["environment"] == "production"
    assert state["labels"]["truss-deployment"] == "iris"
    packed = (
        boto3.client("s3", region_name=REGION)
        .get_object(Bucket=BUCKET, Key="organizations/1/models/1/model.tgz")["Body"]
        .read()
    )
    with tarfile.open(fileobj=BytesIO(packed)) as held:
        assert "model/model.py" in held.getnames()
    path, _ = baseten.asked[0]
    assert path.endswith("/environments/production/predict")

    assert main(["deploy", str(folder), *words, "--yes"]) == 0
    assert baseten.uploads == 1, "what has not changed is not uploaded again"
    (folder / "model" / "model.py").write_text(
        "class Model:\n    def predict(self, request):\n        return 2\n"
    )
    assert main(["deploy", str(folder), *words, "--yes"]) == 0
    assert baseten.uploads == 2

    capsys.readouterr()
    assert main(["status", str(folder), *words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "healthy"
    assert main(["rollback", str(folder), *words]) == 0, capsys.readouterr().err
    assert next(iter(baseten.environments.values()))["current_deployment"]["id"] == state["id"]
    assert main(["destroy", str(folder), *words, "--yes"]) == 0
    assert not baseten.models


def test_variables_that_are_gone_are_a_change(baseten, archives):
    platform = connected(*archives)
    apply(planned("environment_variables: {A: one, B: two}\n"), platform, {})
    [changed] = apply(planned("environment_variables: {A: one}\n"), platform, {})
    assert changed.action.value == "~"
    assert baseten.configs[platform.revisions("iris")[-1].id]["environment_variables"] == {"A": "one"}


# What the platform tells.


@pytest.mark.parametrize(
    ("said", "state"),
    [
        ("BUILDING", "starting"),
        ("WAKING_UP", "starting"),
        ("BUILD_FAILED", "failed"),
    ],
)
def test_the_state_is_that_of_what_is_to_be_promoted(baseten, archives, said, state):
    platform = connected(*archives)
    apply(planned(), platform, {})
    baseten.status = said
    apply(planned(image=OTHER_IMAGE), platform, {})
    status = platform.status("iris")
    assert (status.state, status.image, status.detail) == (state, OTHER_IMAGE, (said,))


@pytest.mark.parametrize(
    ("said", "state"), [("SCALED_TO_ZERO", "healthy"), ("UNHEALTHY", "failed"), ("INACTIVE", "stopped")]
)
def test_the_state_is_that_of_what_is_promoted(baseten, archives, said, state):
    platform = connected(*archives)
    apply(planned(), platform, {})
    next(iter(baseten.states.values()))[0]["status"] = said
    assert (platform.status("iris").state, platform.status("iris").detail) == (state, (said,))


def test_what_never_ran_is_made_again_and_going_back_removes_it(baseten, archives):
    platform = connected(*archives)
    apply(planned(), platform, {})
    baseten.status = "DEPLOY_FAILED"
    for _ in range(2):
        [change] = apply(planned(image=OTHER_IMAGE), platform, {})
        assert change.action.value == "~"
    assert platform.status("iris").detail == ("DEPLOY_FAILED",)
    [first] = platform.revisions("iris")
    assert first.current, "what failed before it ran is no state to go back from"
    baseten.status = "BUILDING"
    apply(planned(image=OTHER_IMAGE), platform, {})
    building = platform.revisions("iris")[-1]
    assert building.current
    platform.roll_back("iris", first)
    assert [(one.id, one.current) for one in platform.revisions("iris")] == [(first.id, True)]
    assert building.id not in [one["id"] for one in next(iter(baseten.states.values()))]


def test_going_back_passes_over_what_was_left(baseten, small, capsys):
    folder = small("iris")
    words = ("--to", "baseten", "--json")

    def run(*command):
        capsys.readouterr()
        assert main([command[0], str(folder), *words, *command[1:]]) == 0
        return json.loads(capsys.readouterr().out)

    def deployed(answer):
        (folder / "model" / "model.py").write_text(
            f"class Model:\n    def predict(self, request):\n        return {answer}\n"
        )
        return run("deploy", "--yes")["image"]

    first, second, _ = deployed(1), deployed(2), deployed(3)
    assert run("rollback")["image"] == second
    deployed(4)
    assert run("rollback")["image"] == second
    assert run("rollback")["image"] == first


def test_a_new_state_that_fails_leaves_the_one_before(baseten, small, capsys):
    folder = small("iris")
    assert main(["deploy", str(folder), "--to", "baseten", "--yes"]) == 0
    (folder / "model" / "more.py").write_text("")
    baseten.status = "BUILD_FAILED"
    capsys.readouterr()
    assert main(["deploy", str(folder), "--to", "baseten", "--yes"]) == 1
    said = capsys.readouterr().err
    assert "BUILD_FAILED" in said
    assert "it is what it was before" in said


def test_a_copy_that_the_platform_promotes_is_ours_as_well(baseten, archives):
    platform = connected(*archives)
    apply(planned(), platform, {})
    [(model, states)] = baseten.states.items()
    states.append({**states[0], "id": "copy", "created_at": "9999", "labels": {}})
    baseten.configs["copy"] = {}
    baseten.promote(model, "production", states[-1])
    assert [(one.id, one.current) for one in platform.revisions("iris")][-1] == ("copy", True)
    [change] = apply(planned(), platform, {})
    assert change.action.value == "~"


def test_what_the_platform_writes_otherwise_is_no_change(baseten, archives):
    platform = connected(*archives)
    wanted = planned("resources: {memory: 2Gi}\n")
    apply(wanted, platform, {})
    for config in baseten.configs.values():
        config["resources"] = {"cpu": "1000m", "memory": "2048Mi", "use_gpu": False}
    [change] = apply(wanted, platform, {})
    assert change.action.value == "="


def test_states_of_other_environments_do_not_count(baseten, archives):
    apply(planned(), connected(*archives), {})
    apply(planned(environment="staging", image=OTHER_IMAGE), connected(*archives, environment="staging"), {})
    assert connected().status("iris").image == IMAGE
    staging = connected(environment="staging").status("iris")
    assert staging.image == OTHER_IMAGE
    assert staging.url.endswith("/environments/staging/predict")


def test_states_that_never_ran_cannot_be_gone_back_to(baseten, archives):
    platform = connected(*archives)
    apply(planned(), platform, {})
    baseten.status = "BUILD_FAILED"
    apply(planned(image=OTHER_IMAGE), platform, {})
    baseten.status = "ACTIVE"
    apply(planned(), platform, {})
    assert [one.image for one in platform.revisions("iris")] == [IMAGE, IMAGE]


def test_logs_are_in_order_and_followed(baseten, archives):
    platform = connected(*archives)
    apply(planned(), platform, {})
    lines = baseten.logs[platform.revisions("iris")[-1].id] = []

    def say(text):
        lines.append({"timestamp": str(time.time_ns()), "message": f"{text}\n", "replica": "ab123"})

    for text in ("one", "two", "three"):
        say(text)
    assert list(platform.logs("iris", lines=2)) == ["[ab123] two", "[ab123] three"]
    stream = platform.logs("iris", follow=True, lines=1)
    assert next(stream) == "[ab123] three"
    say("four")
    further = deque()
    threading.Thread(target=lambda: further.append(next(stream)), daemon=True).start()
    deadline = time.monotonic() + 30
    while not further and time.monotonic() < deadline:
        threading.Event().wait(0.05)
    assert list(further) == ["[ab123] four"]


def test_a_model_of_others_is_left_alone(baseten, archives):
    platform = connected(*archives)
    apply(planned(), platform, {})
    for one in next(iter(baseten.states.values())):
        one["labels"] = {}
    with pytest.raises(NameTakenError):
        apply(planned(image=OTHER_IMAGE), platform, {})
    with pytest.raises(NotDeployedError):
        destroy("iris", platform)
    assert platform.status("iris") is None
    assert platform.deployments() == []
    assert baseten.models


# What goes wrong.


def test_a_secret_that_the_workspace_has_not_is_named(baseten, archives):
    baseten.secrets = []
    with pytest.raises(DeployError, match="no secret 'api-key'") as caught:
        apply(planned("secrets: {api-key: null}\n"), connected(*archives), {})
    assert "settings/secrets" in caught.value.hint
    assert not baseten.models


def test_without_a_key_or_with_a_wrong_one_it_says_so(baseten, monkeypatch, tmp_path):
    monkeypatch.setenv("BASETEN_API_KEY", "another")
    with pytest.raises(PlatformAuthError, match="please check the api-key"):
        connected().deployments()
    monkeypatch.delenv("BASETEN_API_KEY")
    with pytest.raises(PlatformAuthError, match="no API key"):
        connected()
    (tmp_path / "trussrc").write_text("no section\n")
    with pytest.raises(PlatformAuthError, match="cannot be read"):
        connected()
    (tmp_path / "trussrc").write_text(f"[work]\nremote_provider = baseten\napi_key = {KEY}\n")
    assert connected().deployments() == []


def test_an_address_without_an_answer_is_named(baseten, monkeypatch):
    address = free_address()
    monkeypatch.setenv("BASETEN_API_URL", address)
    with pytest.raises(PlatformUnreachableError) as caught:
        connected().deployments()
    assert caught.value.where == address


def test_limits_and_refusals_are_told_in_the_platforms_words(baseten, archives):
    platform = connected(*archives)
    baseten.limit = RefusedError(429, {"error": "Rate limit exceeded.", "retry_after": 37})
    with pytest.raises(QuotaError, match="Rate limit exceeded"):
        apply(planned(), platform, {})
    baseten.limit = refused(400, "no instance type has 4 TiB")
    with pytest.raises(PlatformRefusalError, match="no instance type has 4 TiB"):
        apply(planned(), platform, {})
    assert not baseten.models


def test_an_upload_that_fails_makes_no_model(baseten, archives, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", free_address())
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(DeployError, match="cannot be uploaded"):
        apply(planned(), connected(*archives), {})
    assert not baseten.models


def test_an_archive_that_is_not_here_cannot_be_deployed(baseten):
    with pytest.raises(DeployError, match="no archive"):
        apply(planned(), connected(), {})

"""`truss deploy --to ssh`, against a machine with a real systemd, SSH server, podman and Docker.

The machine is booted in a container, of Debian's packages (scripts/setup-machine). Not shown: GPUs,
SELinux, and a server that answers as a unit of a user who is not root: such units start and stop here.
"""

import contextlib
import json
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from truss.config import parse_config
from truss.deploy import Release, Resource, apply, destroy, read_options, target_named
from truss.deploy.ssh.unit import Place, unit_text
from truss.errors import DeployError, PlanError, PlatformAuthError, PlatformUnreachableError
from truss.testing.machine import running_machine
from truss.testing.targets import PlatformConformance

ROOT = Path(__file__).parents[2] / ".images" / "machine"

booted = [
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
    pytest.mark.skipif(
        not (ROOT / "usr/sbin/dockerd").exists() or os.geteuid() != 0 or not shutil.which("ssh"),
        reason="not set up: scripts/setup-machine",
    ),
]


def marked(thing):
    for mark in booted:
        thing = mark(thing)
    return thing


def flowers(running, *engine):
    """Have an engine of the machine hold two images that do nothing."""
    for tag in ("1", "2"):
        label = f"LABEL number={tag}"
        ends = 'CMD ["sh", "-c", "trap exit TERM; sleep 1000 & wait"]'
        changes = ("--change", label, "--change", ends)
        running.run(*engine, "import", *changes, "/tmp/base.tar", f"localhost/flowers:{tag}")


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    with running_machine(ROOT, tmp_path_factory.mktemp("machine") / "vm") as running:
        running.copy(ROOT.parent / "base.tar", "/tmp/base.tar")
        running.run("chmod", "644", "/tmp/base.tar")
        running.run("chmod", "666", "/dev/net/tun")  # as machines have it, for networks of users
        flowers(running, "podman")
        yield running


@pytest.fixture(scope="module")
def docker(machine):
    """The machine, with a Docker that runs."""
    machine.run("systemctl", "start", "docker")
    flowers(machine, "docker")
    return machine


@pytest.fixture(scope="module")
def ada(machine):
    """The machine, with a user who is not root, and who is let in as the host `ada`."""
    machine.run("useradd", "--create-home", "--shell", "/bin/bash", "ada")
    machine.run("install", "-d", "-m", "700", "-o", "ada", "/home/ada/.ssh")
    machine.run("install", "-m", "600", "-o", "ada", "/root/.ssh/authorized_keys", "/home/ada/.ssh/")
    config = machine.config.read_text()
    machine.config.write_text(
        config + config.replace("Host machine", "Host ada").replace("User root", "User ada")
    )
    machine.run("loginctl", "enable-linger", "ada")
    flowers(machine, *AS_ADA, "podman")
    return machine


AS_ADA = ("systemd-run", "--quiet", "--pipe", "--wait", "--machine", "ada@", "--user")


@pytest.fixture
def reached(machine, monkeypatch):
    """The machine, with an `ssh` that knows it."""
    monkeypatch.setenv("PATH", f"{machine.ssh}:{os.environ['PATH']}")
    return machine


@marked
class TestSsh(PlatformConformance):
    # The test from the first deployment to the last trace stands for these, with answers.
    stood_for = ("test_what_changed_is_changed", "test_it_goes_back", "test_destroying_leaves_nothing")
    target = target_named("ssh")
    options = {"host": "machine", "port": 8090}  # noqa: RUF012  # never changed
    image, other_image = "localhost/flowers:1", "localhost/flowers:2"

    @pytest.fixture(autouse=True)
    def _machine(self, reached):
        self.reached = reached

    @contextlib.contextmanager
    def platform(self):
        platform = self.target.connect(read_options(self.target, self.options))
        try:
            yield platform
        finally:
            for found in platform.owned("flowers"):
                platform.delete(found)
            left = self.reached.run("find", "/var/lib/truss/deployments", "-mindepth", "1", check=False)
            assert not left


@marked
@pytest.mark.thorough
class TestSshWithDocker(TestSsh):
    options = {"host": "machine", "port": 8091, "engine": "docker"}  # noqa: RUF012  # never changed

    @pytest.fixture(autouse=True)
    def _docker(self, docker):
        """Docker runs there."""


@marked
@pytest.mark.thorough
class TestSshOfAUser(PlatformConformance):
    target = target_named("ssh")
    options = {"host": "ada", "port": 8092, "scope": "user"}  # noqa: RUF012  # never changed
    image, other_image = "localhost/flowers:1", "localhost/flowers:2"

    @pytest.fixture(autouse=True)
    def _machine(self, ada, reached):
        self.reached = reached

    @contextlib.contextmanager
    def platform(self):
        platform = self.target.connect(read_options(self.target, self.options))
        try:
            yield platform
        finally:
            for found in platform.owned("flowers"):
                platform.delete(found)
            place = "/home/ada/.local/share/truss/deployments"
            assert not self.reached.run("find", place, "-mindepth", "1", check=False)
            assert not self.reached.run("find", "/home/ada/.config/systemd/user", "-name", "truss-*")
            assert not self.reached.run("find", "/var/lib/truss", "-mindepth", "2", check=False)


@pytest.fixture
def run(bench, reached, monkeypatch, tmp_path):
    """Run `truss WORDS...` with a home of this test's own, and an image pushed to a registry or sent."""
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path / "home"))
    deployed = []

    def run(command, folder, *words, ok=True):
        deployed.append(folder)
        done = bench.run(command, folder, "--to", "ssh", "--host", "machine", *words)
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done

    yield run
    for folder in set(deployed):
        bench.run("destroy", folder, "--to", "ssh", "--host", "machine", "--yes")


@marked
@pytest.mark.slow
def test_from_the_first_deployment_to_the_last_trace(run, engine, reached, small, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("TRUSS_SECRET_api_key", "t0ken$HOME")
    folder = small("steps", config="secrets: {api-key: null}\n")
    model = (
        "class Model:\n"
        "    def __init__(self, secrets):\n        self.key = secrets['api-key']\n"
        "    def predict(self, request):\n        return {'predictions': [self.key, NUMBER]}\n"
    )
    examples = "- {name: one, input: {inputs: []}, expected: {predictions: ['t0ken$HOME', NUMBER]}}\n"
    (folder / "model" / "model.py").write_text(model.replace("NUMBER", "1"))
    (folder / "examples.yaml").write_text(examples.replace("NUMBER", "1"))
    done = run("deploy", folder, "--yes", "--json")
    first = json.loads(done.stdout)
    assert first["state"] == "healthy"
    assert "1 examples answered as expected" in done.stderr
    shown = reached.run("cat", "/etc/systemd/system/truss-steps.service")
    verified = reached.run("systemd-analyze", "verify", "/etc/systemd/system/truss-steps.service")
    assert not verified
    assert "t0ken" not in done.stdout + done.stderr + shown + reached.run("podman", "inspect", "truss-steps")
    folder_there = "/var/lib/truss/deployments/steps"
    assert reached.run("stat", "-c", "%a", folder_there, f"{folder_there}/environment") == "700\n600"

    (folder / "model" / "model.py").write_text(model.replace("NUMBER", "2"))
    failed = run("deploy", folder, "--yes", "--json", ok=False)  # its example still expects 1
    assert "went back to revision 1" in json.loads(failed.stdout)["error"]["hint"]
    (folder / "examples.yaml").write_text(examples.replace("NUMBER", "2"))
    second = json.loads(run("deploy", folder, "--yes", "--json").stdout)
    assert second["image"] != first["image"]
    assert "is ready" in run("logs", folder).stdout

    reached.run("podman", "kill", "truss-steps")  # what ends is started again
    back = json.loads(run("rollback", folder, "--json").stdout)
    assert back["image"] == first["image"]
    removed = json.loads(run("destroy", folder, "--yes", "--json").stdout)["removed"]
    assert removed == ["ssh:unit/steps", "ssh:secrets/steps"]
    assert not reached.run("podman", "ps", "--all", "--quiet")
    assert "steps" not in reached.run("podman", "images")
    assert not reached.run("find", "/var/lib/truss/deployments", "-mindepth", "1")
    assert "nothing is deployed" in run("status", folder, ok=False).stderr


@marked
@pytest.mark.slow
def test_a_model_answers_with_docker(bench, engine, docker, reached, small, monkeypatch, tmp_path):
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("TRUSS_SECRET_api_key", "t0ken")
    folder = small("other", config="secrets: {api-key: null}\n")
    (folder / "model" / "model.py").write_text(
        "class Model:\n"
        "    def __init__(self, secrets):\n        self.key = secrets['api-key']\n"
        "    def predict(self, request):\n        return {'predictions': [self.key]}\n"
    )
    (folder / "examples.yaml").write_text(
        "- {name: one, input: {inputs: []}, expected: {predictions: [t0ken]}}\n"
    )
    words = ("--to", "ssh", "--host", "machine", "--engine", "docker", "--port", "8093")
    try:
        done = bench.run("deploy", folder, *words, "--yes", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["state"] == "healthy"
        assert "1 examples answered as expected" in done.stderr
        assert "is ready" in bench.run("logs", folder, *words).stdout
    finally:
        gone = bench.run("destroy", folder, *words, "--yes", "--json")
    assert json.loads(gone.stdout)["removed"] == ["ssh:unit/other", "ssh:secrets/other"]


def connected(**options):
    target = target_named("ssh")
    return target.connect(read_options(target, options))


@marked
def test_a_unit_of_that_name_that_is_not_ours(reached):
    unit = "/etc/systemd/system/truss-flowers.service"
    reached.run("sh", "-c", f"echo '[Service]' >{unit}")
    target = target_named("ssh")
    plan = target.plan(Release("flowers", "flowers:1", parse_config("")), read_options(target, {}))
    found = connected(host="machine").find(plan.resources[0])
    reached.run("rm", unit)
    assert found is not None
    assert not found.deployment


@marked
def test_secrets_whose_writing_broke_off_are_removed(reached):
    beside = "/var/lib/truss/deployments/flowers/secrets.new"
    reached.run("sh", "-c", f"umask 077; mkdir -p {beside}; echo value >{beside}/api-key")
    platform = connected(host="machine")
    (found,) = platform.owned("flowers")
    assert (found.key, found.body) == ("ssh:secrets/flowers", {})
    platform.create(Resource("ssh:secrets", "flowers", {"other-key": "value"}))
    assert platform.owned("flowers")[0].body == {"other-key": "value"}
    reached.run("sh", "-c", f"mkdir -p {beside}; echo value >{beside}/api-key")
    assert destroy("flowers", platform) == ("ssh:secrets/flowers",)
    assert not reached.run("find", "/var/lib/truss/deployments", "-mindepth", "1")


@marked
def test_units_that_may_not_go_on_without_their_user_are_told(ada, reached):
    """No polkit runs there, which lets users do it themselves."""
    reached.run("loginctl", "disable-linger", "ada")
    options = {"host": "ada", "scope": "user", "port": 8094}
    target = target_named("ssh")
    plan = target.plan(
        Release("flowers", "localhost/flowers:1", parse_config("")), read_options(target, options)
    )
    platform = connected(**options)
    try:
        with pytest.raises(DeployError, match="enable linger") as caught:
            platform.create(plan.resources[0])
        assert "loginctl enable-linger" in caught.value.hint
        reached.run("loginctl", "enable-linger", "ada")
        apply(plan, platform, {})  # goes on from there
    finally:
        reached.run("loginctl", "enable-linger", "ada")
        destroy("flowers", platform)


@marked
def test_a_port_that_is_taken_is_told(reached):
    reached.run("systemd-run", "--unit", "other", "python3", "-m", "http.server", "8099")
    listens = "import socket; socket.create_connection(('127.0.0.1', 8099)); print('yes')"
    deadline = time.monotonic() + 30
    while not reached.run("python3", "-c", listens, check=False):
        assert time.monotonic() < deadline
    target = target_named("ssh")
    options = read_options(target, {"host": "machine", "port": 8099})
    plan = target.plan(Release("flowers", "localhost/flowers:1", parse_config("")), options)
    platform = target.connect(options)
    platform.create(plan.resources[0])
    try:
        deadline = time.monotonic() + 30
        while (status := platform.status("flowers")).state != "failed":
            assert time.monotonic() < deadline, status
        assert "address already in use" in " ".join(status.detail)
    finally:
        platform.delete(platform.owned("flowers")[0])
        reached.run("systemctl", "stop", "other")


@marked
def test_connections_that_are_not_made(reached, tmp_path):
    config = reached.config.read_text()
    try:
        reached.config.write_text(config.replace(str(reached.config.parent / "known_hosts"), "/dev/null"))
        with pytest.raises(PlatformAuthError) as unknown:
            connected(host="machine").status("flowers")
        key = tmp_path / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        reached.config.write_text(config.replace(str(reached.config.parent / "key"), str(key)))
        with pytest.raises(PlatformAuthError) as refused:
            connected(host="machine").status("flowers")
    finally:
        reached.config.write_text(config)
    assert "connect once by hand" in unknown.value.hint
    assert "none of your keys" in refused.value.hint
    with pytest.raises(PlatformUnreachableError):
        connected(host="machine", ssh_port=1).status("flowers")
    reached.run("mv", "/usr/bin/docker", "/usr/bin/docker.hidden")
    try:
        with pytest.raises(DeployError, match="docker is missing there"):
            connected(host="machine", engine="docker")._engine()
    finally:
        reached.run("mv", "/usr/bin/docker.hidden", "/usr/bin/docker")


def test_without_ssh_or_a_machine(monkeypatch, tmp_path):
    with pytest.raises(PlanError, match="no machine is named"):
        connected()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeployError, match="ssh is not on this machine"):
        connected(host="machine")


@pytest.mark.parametrize(("option", "wrong"), [("scope", "global"), ("engine", "rkt")])
def test_options_that_nothing_is_known_of(option, wrong):
    target = target_named("ssh")
    with pytest.raises(PlanError, match=wrong):
        target.plan(Release("iris", "iris:1", parse_config("")), read_options(target, {option: wrong}))


def test_variables_of_several_lines_are_refused():
    target = target_named("ssh")
    config = parse_config('environment_variables: {LINES: "a\\nb"}')
    with pytest.raises(PlanError, match="LINES"):
        target.plan(Release("iris", "iris:1", config), read_options(target, {}))


@pytest.mark.parametrize(
    ("engine", "gpus"),
    [("docker", "--gpus 2"), ("podman", "--device nvidia.com/gpu=0 --device nvidia.com/gpu=1")],
)
def test_gpus_as_each_engine_takes_them(engine, gpus):
    target = target_named("ssh")
    config = parse_config("resources: {accelerator: 'L4:2', use_gpu: true}")
    plan = target.plan(Release("iris", "iris:1", config), read_options(target, {}))
    text = unit_text("iris", plan.resources[0].body, Place("system", "/root", f"/usr/bin/{engine}"))
    assert f" {gpus} iris:1\n" in text
    assert ("After=network-online.target docker.service" in text) is (engine == "docker")

"""`truss deploy --to compose`, against a real engine and Debian's docker-compose."""

import contextlib
import json
import select
import shutil
import socket
import threading
from pathlib import Path

import httpx
import pytest

import truss
from truss.deploy import read_options, target_named
from truss.errors import NotDeployedError, PlanError
from truss.testing.targets import PlatformConformance

BASE = Path(__file__).parents[2] / ".images" / "base.tar"

pytestmark = [
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
    pytest.mark.skipif(
        not shutil.which("docker-compose"), reason="docker-compose is missing: scripts/setup-engine"
    ),
]


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.fixture
def run(bench, engine, monkeypatch, tmp_path):
    """Run `truss WORDS...` with the engine and a home of this test's own."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path / "home"))
    deployed = []

    def run(command, folder, *words, ok=True):
        deployed.append(folder)
        done = bench.run(command, folder, "--to", "compose", *words)
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done

    yield run
    for folder in set(deployed):
        bench.run("destroy", folder, "--to", "compose", "--yes")


@pytest.fixture(scope="module")
def flowers(engine):
    """Two images that do nothing, and end when they are told to."""
    waits = 'CMD ["sh", "-c", "trap exit TERM; sleep 1000 & wait"]'
    names = ["localhost/flowers:1", "localhost/flowers:2"]
    for name in names:
        engine.docker("import", "--change", f"LABEL name={name}", "--change", waits, BASE, name)
    return names


class TestCompose(PlatformConformance):
    target = target_named("compose")
    image, other_image = "localhost/flowers:1", "localhost/flowers:2"

    @pytest.fixture(autouse=True)
    def _engine(self, engine, flowers, monkeypatch, tmp_path):
        assert flowers == [self.image, self.other_image]
        monkeypatch.setenv("DOCKER_HOST", engine.host)
        monkeypatch.setenv("TRUSS_HOME", str(tmp_path / "home"))
        self.options = {"port": free_port()}

    @contextlib.contextmanager
    def platform(self):
        platform = self.target.connect(read_options(self.target, self.options))
        try:
            yield platform
        finally:
            for found in platform.owned("flowers"):
                platform.delete(found)


def containers(engine, project, *words):
    """The ids of a project's containers: other tests have some in the same engine."""
    return engine.docker("ps", "--quiet", "--filter", f"label=com.docker.compose.project={project}", *words)


def answer(folder, answers):
    (folder / "model" / "model.py").write_text(
        f"class Model:\n    def predict(self, request):\n        return {{'predictions': [{answers}]}}\n"
    )


def test_from_the_first_deployment_to_the_last_trace(run, engine, small):
    folder, port = small("steps"), free_port()
    words = ("--port", str(port), "--yes", "--json")
    first = json.loads(run("deploy", folder, *words).stdout)
    assert (first["state"], first["url"]) == ("healthy", f"http://127.0.0.1:{port}")
    predict = f"{first['url']}/v1/models/model:predict"
    assert httpx.post(predict, json={"inputs": []}).json() == {"predictions": [1]}
    container = containers(engine, "steps")
    assert container

    again = run("deploy", folder, *words)
    assert json.loads(again.stdout) == first
    assert "Changing" not in again.stderr
    assert containers(engine, "steps") == container
    assert "Nothing changes." in run("deploy", folder, "--port", str(port), "--plan").stdout
    assert first in json.loads(run("status", folder, "--all", "--json").stdout)

    answer(folder, "2")
    shown = run("deploy", folder, "--port", str(port), "--plan").stdout
    assert '"image"' in shown
    second = json.loads(run("deploy", folder, *words).stdout)
    assert second["image"] != first["image"]
    assert httpx.post(predict, json={"inputs": []}).json() == {"predictions": [2]}
    assert "is ready" in run("logs", folder).stdout
    lines = [json.loads(one)["line"] for one in run("logs", folder, "--json").stdout.splitlines()]
    assert any("is ready" in one for one in lines)

    back = json.loads(run("rollback", folder, "--json").stdout)
    assert back["image"] == first["image"]
    assert httpx.post(predict, json={"inputs": []}).json() == {"predictions": [1]}
    assert json.loads(run("status", folder, "--json").stdout) == back

    assert json.loads(run("destroy", folder, "--yes", "--json").stdout)["removed"] == [
        "compose:project/steps"
    ]
    assert containers(engine, "steps", "--all") == ""
    assert "steps" not in engine.docker("network", "ls")
    assert "nothing is deployed" in run("status", folder, ok=False).stderr
    assert "nothing is deployed" in run("destroy", folder, "--yes", ok=False).stderr


def test_a_release_that_does_not_answer_as_expected_gives_way_to_the_one_before(run, small):
    folder, port = small("wrong"), free_port()
    words = ("--port", str(port), "--yes", "--json")
    (folder / "examples.yaml").write_text(
        "- {name: one, input: {inputs: []}, expected: {predictions: [1]}}\n"
    )
    first = json.loads(run("deploy", folder, *words).stdout)
    answer(folder, "2")
    failed = run("deploy", folder, *words, ok=False)
    error = json.loads(failed.stdout)["error"]
    assert "'one'" in error["message"]
    assert "went back to revision 1" in error["hint"]
    assert json.loads(run("status", folder, "--json").stdout)["image"] == first["image"]
    reply = httpx.post(f"{first['url']}/v1/models/model:predict", json={"inputs": []})
    assert reply.json() == {"predictions": [1]}


def test_secrets_are_files_and_shown_nowhere(run, engine, small, tmp_path, monkeypatch):
    folder, port = small("keys", config="secrets: {api-key: null}\n"), free_port()
    (folder / "model" / "model.py").write_text(
        "class Model:\n"
        "    def __init__(self, secrets):\n        self.key = secrets['api-key']\n"
        "    def predict(self, request):\n        return {'predictions': [self.key]}\n"
    )
    words = ("--port", str(port), "--yes")
    missing = run("deploy", folder, *words, ok=False)
    assert "TRUSS_SECRET_api_key" in missing.stderr
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "config.yaml").write_text("secrets: {api-key: t0ken$HOME}\n")
    done = run("deploy", folder, *words)
    reply = httpx.post(f"http://127.0.0.1:{port}/v1/models/model:predict", json={"inputs": []})
    assert reply.json() == {"predictions": ["t0ken$HOME"]}
    everything = done.stdout + done.stderr + engine.docker("inspect", containers(engine, "keys"))
    assert "t0ken" not in everything
    (tmp_path / "home" / "config.yaml").write_text("secrets: {api-key: another}\n")
    shown = run("deploy", folder, "--port", str(port), "--plan").stdout
    assert "api-key" in shown
    assert "another" not in shown.replace("(another value)", "")
    assert "t0ken" not in shown
    run("destroy", folder, "--yes")
    assert not list((tmp_path / "home" / "deployments").rglob("api-key"))


@pytest.mark.parametrize("address", ["ssh://ada@192.0.2.1", "tcp://192.0.2.1:2375"])
def test_secrets_that_an_engine_elsewhere_would_not_see_are_refused(address, bench, small, tmp_path):
    folder = small("far", config="secrets: {api-key: a-value}\n")
    home = {"TRUSS_HOME": str(tmp_path / "home"), "DOCKER_HOST": address}
    words = ("deploy", folder, "--to", "compose", "--image", "registry.example.com/iris:1", "--yes")
    done = bench.run(*words, **home)
    assert done.returncode == 1
    assert address in done.stderr
    assert "--to ssh" in done.stderr
    assert not list(tmp_path.rglob("api-key"))


@pytest.fixture
def far(engine, monkeypatch):
    """The engine like another machine's: over TCP, at an address that does not say that it is this one."""
    place = engine.host.removeprefix("unix://")

    def serve(client):
        with client, socket.socket(socket.AF_UNIX) as there:
            there.connect(place)
            ends = {client: there, there: client}
            while ends:
                for one in select.select(list(ends), [], [])[0]:
                    if part := one.recv(1 << 16):
                        ends[one].sendall(part)
                    else:
                        with contextlib.suppress(OSError):
                            ends[one].shutdown(socket.SHUT_WR)
                        del ends[one]
                if there not in ends:
                    return

    def accept(listener):
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.create_server(("127.0.0.2", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        address = f"tcp://127.0.0.2:{listener.getsockname()[1]}"
        monkeypatch.setenv("DOCKER_HOST", address)
        yield address
        listener.shutdown(socket.SHUT_RDWR)


def test_an_engine_elsewhere_is_asked_where_it_is(run, far, small):
    folder, port = small("there"), free_port()
    words = ("--port", str(port), "--yes", "--json")
    refused = json.loads(run("deploy", folder, *words, ok=False).stdout)["error"]
    assert far in refused["message"]
    assert "--bind 0.0.0.0" in refused["hint"]
    (folder / "examples.yaml").write_text(
        "- {name: one, input: {inputs: []}, expected: {predictions: [1]}}\n"
    )
    done = run("deploy", folder, *words, "--bind", "0.0.0.0")
    assert "1 examples answered as expected" in done.stderr
    assert json.loads(done.stdout)["url"] == f"http://127.0.0.2:{port}"


def test_what_others_made_is_left_alone(run, engine, small):
    folder = small("taken")
    port = free_port()
    first = json.loads(run("deploy", folder, "--port", str(port), "--yes", "--json").stdout)
    run("destroy", folder, "--yes")
    theirs = engine.docker("run", "--detach", "--label", "com.docker.compose.project=taken", first["image"])
    try:
        refused = run("deploy", folder, "--port", str(port), "--yes", ok=False)
        assert "not made by Truss" in refused.stderr
        assert "--name" in refused.stderr
        assert "nothing is deployed" in run("destroy", folder, "--yes", ok=False).stderr
        assert containers(engine, "taken", "--no-trunc") == theirs
    finally:
        engine.docker("rm", "--force", theirs)


def test_the_same_from_the_handle(run, bench, small, monkeypatch):
    folder, port = small("handled"), free_port()
    for name, value in bench.variables().items():
        monkeypatch.setenv(name, value)
    deployment = truss.load(folder).deploy("compose", port=port)
    status = deployment.status()
    assert (status.state, status.url) == ("healthy", f"http://127.0.0.1:{port}")
    assert json.loads(run("status", folder, "--json").stdout)["image"] == status.image
    with pytest.raises(PlanError, match="has no option 'prot'"):
        truss.load(folder).deploy("compose", prot=port)
    assert deployment.destroy() == ("compose:project/handled",)
    with pytest.raises(NotDeployedError):
        deployment.status()


def test_options_of_a_target_need_one(bench, small):
    done = bench.run("logs", small("typed"), "--folow")
    assert done.returncode == 2
    assert "--folow is no option here" in done.stderr


def test_no_engine(bench, small, tmp_path):
    done = bench.run(
        "status", small("nowhere"), "--to", "compose", DOCKER_HOST=f"unix://{tmp_path}/docker.sock"
    )
    assert done.returncode == 1
    assert "Cannot connect" in done.stderr
    assert "Traceback" not in done.stderr

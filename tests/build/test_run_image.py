"""`truss run-image` and what goes with it, against a real engine."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import httpx
import pytest

import truss
from truss.errors import EngineError, RemoteError

pytestmark = [
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
]

GUIDES = Path(__file__).parents[2] / "docs" / "guides"
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]


@pytest.fixture
def run(bench, engine, monkeypatch, tmp_path):
    """Run `truss WORDS...` with the engine and a home of this test's own."""
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path / "home"))

    def run(*words, ok=True):
        done = bench.run(*words)
        assert (done.returncode == 0) is ok, done.stdout + done.stderr
        return done

    yield run
    bench.run("kill-all")


def test_it_answers_as_the_handle_does_and_an_unchanged_image_is_used_again(run, iris):
    expected = truss.load(iris).server_predict({"inputs": ROWS})
    first = json.loads(run("run-image", iris, "--port", "0", "--json").stdout)
    # The command that people are told, as they would run it.
    url = f"{first['url']}/v1/models/model:predict"
    said = subprocess.run(
        ["curl", "--silent", "--fail", "-X", "POST", url, "-d", json.dumps({"inputs": ROWS})],
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(said.stdout)
    assert answer["predictions"] == list(expected["predictions"])
    again = run("run-image", iris, "--port", "0", "--json")
    assert json.loads(again.stdout)["image"] == first["image"]
    assert "Loading" not in again.stderr
    assert first["image"] in run("images").stdout
    assert "is ready" in run("logs", iris).stdout
    stopped = json.loads(run("kill", iris, "--json").stdout)["stopped"]
    assert set(stopped) == {first["container"], json.loads(again.stdout)["container"]}
    assert json.loads(run("kill-all", "--json").stdout) == {"stopped": []}


def test_a_port_among_the_models_own_variables_does_not_hide_the_server(run, small):
    folder = small("elsewhere", config='environment_variables: {PORT: "9000"}\n')
    told = json.loads(run("run-image", folder, "--port", "0", "--json").stdout)
    assert httpx.get(f"{told['url']}/readyz").status_code == 200


def test_secrets_come_as_files_and_are_not_in_the_image(run, engine, small, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text("secrets: {api-key: t0ken}\n")
    folder = small("keys", config="secrets: {api-key: null}\n")
    (folder / "model" / "model.py").write_text(
        "class Model:\n"
        "    def __init__(self, secrets):\n        self.key = secrets['api-key']\n"
        "    def predict(self, request):\n        return {'predictions': [self.key]}\n"
    )
    told = json.loads(run("run-image", folder, "--port", "0", "--json").stdout)
    answer = httpx.post(f"{told['url']}/v1/models/model:predict", json={"inputs": []}).json()
    assert answer == {"predictions": ["t0ken"]}
    assert "t0ken" not in engine.docker("inspect", told["container"])
    assert "t0ken" not in engine.docker("history", "--no-trunc", told["image"])
    assert values(home) == ["t0ken"]
    run("kill", folder)
    assert values(home) == []


def values(home):
    """The values of secrets that are written for containers."""
    return [file.read_text() for file in (home / "containers").glob("*/*/secrets/*")]


def test_what_containers_read_goes_with_them(run, engine, small, tmp_path, monkeypatch):
    home = tmp_path / "home"
    monkeypatch.setenv("TRUSS_SECRET_key", "t0ken")
    folder = small("keeping", config="secrets: {key: null}\n")
    broken = small("broken", config="secrets: {key: null}\n")
    told = json.loads(run("run-image", folder, "--port", "0", "--json").stdout)
    run("run-image", folder, "--port", told["url"].rpartition(":")[2], ok=False)
    (broken / "model" / "model.py").write_text("raise RuntimeError('no such luck')\n")
    run("run-image", broken, "--port", "0", ok=False)
    assert values(home) == ["t0ken"]  # neither of the two that failed left theirs
    again = json.loads(run("run-image", folder, "--port", "0", "--json").stdout)
    engine.docker("rm", "--force", told["container"])
    assert values(home) == ["t0ken", "t0ken"]
    run("run-image", small("another"), "--port", "0")
    assert values(home) == ["t0ken"]  # of the one that still runs
    assert httpx.post(f"{again['url']}/v1/models/model:predict", json={"inputs": []}).status_code == 200
    run("kill-all")
    assert values(home) == []


@pytest.mark.parametrize("command", ["images", "kill-all"])
def test_what_is_left_of_secrets_goes_with_the_next_command(
    run, engine, small, tmp_path, monkeypatch, command
):
    monkeypatch.setenv("TRUSS_SECRET_key", "t0ken")
    top = tmp_path / "home" / "containers"
    folder = small("leaving", "open('/secrets/key').read()", "secrets: {key: null}\n")
    told = json.loads(run("run-image", folder, "--port", "0", "--json").stdout)
    (ours,) = (one for one in top.iterdir() if one.is_dir())
    (new,) = ours.iterdir()
    old, used = top / "0123456789abcdef", top / "fedcba9876543210"  # as early versions laid them
    for one in (old, used):
        shutil.copytree(new, one)
    image = engine.docker("inspect", told["container"], "--format", "{{.Image}}")
    words = ("--label", "io.truss.container=/none", "--volume", f"{used / 'secrets'}:/secrets:ro", image)
    early = engine.docker("create", *words)
    run("images")
    assert sorted(one.parents[1] for one in top.rglob("key")) == sorted((new, used))
    engine.docker("rm", "--force", told["container"], early)
    run(command)
    assert list(top.rglob("key")) == []


def test_what_a_container_reads_goes_when_it_is_watched_no_longer(run, bench, small, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUSS_SECRET_key", "t0ken")
    folder = small("attached", config="secrets: {key: null}\n")
    attached = subprocess.Popen(
        [sys.executable, "-m", "truss.cli", "run-image", folder, "--attach", "--port", "0", "--json"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **bench.variables()},
    )
    assert "url" in json.loads(attached.stdout.readline())
    assert values(tmp_path / "home") == ["t0ken"]
    attached.send_signal(signal.SIGINT)
    assert attached.wait(60) == 0
    assert values(tmp_path / "home") == []


def test_what_an_engine_built_is_used_again(run, small):
    folder = small("commanded", config="build_commands: ['true']\n")
    first = run("run-image", folder, "--port", "0", "--json")
    assert "since the config has build_commands" in first.stderr
    again = run("run-image", folder, "--port", "0", "--json")
    assert "Building" not in again.stderr
    assert json.loads(again.stdout)["image"] == json.loads(first.stdout)["image"]
    with (folder / "model" / "model.py").open("a") as file:
        file.write("# edited\n")
    edited = run("run-image", folder, "--port", "0", "--json")
    assert "Building" in edited.stderr
    assert json.loads(edited.stdout)["image"] != json.loads(first.stdout)["image"]


def test_a_model_that_cannot_be_loaded_shows_why(run, small):
    folder = small("broken")
    (folder / "model" / "model.py").write_text("raise RuntimeError('no such luck')\n")
    done = run("run-image", folder, "--port", "0", ok=False)
    assert "no such luck" in done.stderr
    assert "truss logs" in done.stderr


def test_a_taken_port_is_said(run, small):
    folder = small("port")
    told = json.loads(run("run-image", folder, "--port", "0", "--json").stdout)
    done = run("run-image", folder, "--port", told["url"].rpartition(":")[2], ok=False)
    assert "port is already allocated" in done.stderr
    assert "choose another with --port" in done.stderr
    assert json.loads(run("kill", folder, "--json").stdout) == {"stopped": [told["container"]]}


def test_no_container_of_a_truss(run, small):
    done = run("logs", small("none"), ok=False)
    assert "truss run-image" in done.stderr


def test_the_handle_does_the_same(run, bench, engine, small, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUSS_BASE_REGISTRY", bench.registry)
    monkeypatch.setenv("TRUSS_CACHE_DIR", str(bench.cache))
    handle = truss.load(small("handled", "len(request['inputs'])"))
    assert engine.docker("image", "inspect", handle.build_docker_image())
    assert handle.get_urls_from_truss() == []
    container = handle.docker_run(local_port=0)
    assert handle.docker_predict({"inputs": ROWS}) == {"predictions": [2]}
    assert [found.id for found in handle.get_docker_containers_from_labels()] == [container.id]
    (url,) = handle.get_urls_from_truss()
    assert url.startswith("http://127.0.0.1:")
    with pytest.raises(RemoteError, match="answered 500"):
        handle.docker_predict({})
    assert "is ready" in handle.container_logs()
    handle.kill_container()
    assert handle.get_urls_from_truss() == []
    with pytest.raises(EngineError, match="no container"):
        handle.container_logs()
    command = handle.docker_build_setup(tmp_path / "context")
    assert command == f"docker build {tmp_path / 'context'} -t truss/handled:latest"
    assert (tmp_path / "context" / "Dockerfile").is_file()


def test_the_handle_takes_the_words_of_2022(run, bench, engine, small, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUSS_BASE_REGISTRY", bench.registry)
    monkeypatch.setenv("TRUSS_CACHE_DIR", str(bench.cache))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    (tmp_path / "temporary").mkdir()
    handle = truss.load(small("older", "len(request['inputs'])"))
    assert handle.build_docker_image(tmp_path / "build", "older:mine") == "older:mine"
    assert (tmp_path / "build" / "Dockerfile").is_file()
    (image,) = handle.get_docker_images_from_label()
    assert "older:mine" in image["names"]

    assert handle.docker_predict({"inputs": ROWS}, local_port=0, detach=False) == {"predictions": [2]}
    assert handle.get_docker_containers_from_labels(all=True) == []
    container = handle.docker_run(None, "older:2", 0, True)
    assert container.image == "older:2"
    assert handle.docker_predict({"inputs": ROWS}, None, None, 0, True) == {"predictions": [2]}
    assert any("is ready" in line for line in handle.container_logs(stream=True))
    engine.docker("stop", container.id)
    assert "is ready" in handle.container_logs(follow=True)
    assert handle.get_docker_containers_from_labels() == []
    assert [one.id for one in handle.get_docker_containers_from_labels(all=True)] == [container.id]
    truss.kill_all()
    assert handle.get_docker_containers_from_labels(all=True) == []

    heard = Listener("is ready")
    monkeypatch.setattr(sys, "stdout", heard)
    ending = threading.Thread(target=stop_when_heard, args=(heard, engine, handle))
    ending.start()
    handle.docker_run(local_port=0, detach=False)
    ending.join()
    assert heard.happened.is_set()
    assert handle.get_docker_containers_from_labels(all=True) == []

    folder = Path(handle.docker_build_setup().split()[2])
    assert folder.is_relative_to(tmp_path / "temporary")
    assert (folder / "Dockerfile").is_file()


class Listener(io.StringIO):
    """A stdout that tells when some words have been printed."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words
        self.happened = threading.Event()

    def write(self, text: str) -> int:
        written = super().write(text)
        if self._words in self.getvalue():
            self.happened.set()
        return written


def stop_when_heard(heard, engine, handle):
    """Stop the container of a Truss once what it writes is printed here.

    Not when its log says that it is ready: who waits for that may not have seen it yet.
    """
    heard.happened.wait(60)
    (found,) = handle.get_docker_containers_from_labels()
    engine.docker("stop", found.id)


def test_the_guide_of_the_handle_runs(run, bench, small, monkeypatch, capsys):
    monkeypatch.setenv("TRUSS_BASE_REGISTRY", bench.registry)
    monkeypatch.setenv("TRUSS_CACHE_DIR", str(bench.cache))
    _, _, text = (GUIDES / "handle.md").read_text("utf-8").partition("## In a container\n")
    (block,) = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert "local_port=8080" in block
    handle = truss.load(small("guided"))
    exec(block.replace("local_port=8080", "local_port=0"), {"handle": handle})
    assert "is ready" in capsys.readouterr().out
    assert handle.get_urls_from_truss() == []

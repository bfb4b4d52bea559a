"""Images that an engine builds, since their config asks for what wheels cannot give."""

import json

import httpx
import pytest

from truss.testing.engine import free_port, wait_until_ready

pytestmark = [
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
]

CONFIG = """
system_packages: [libgomp1]
build_commands: ["echo made > /opt/made"]
"""


@pytest.fixture
def wanting(small):
    folder = small("wanting", config=CONFIG)
    (folder / "model" / "model.py").write_text(
        "import ctypes\nfrom pathlib import Path\n\n\n"
        "class Model:\n"
        "    def load(self):\n        ctypes.CDLL('libgomp.so.1')\n"
        "    def predict(self, request):\n"
        "        return {'predictions': [Path('/opt/made').read_text().strip()]}\n"
    )
    return folder


def test_an_engine_is_chosen_and_said_why(bench, engine, wanting, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    name = f"{bench.registry}/wanting:1"
    done = bench.run("build", wanting, "--push", name, "--network", "host", "--json")
    assert done.returncode == 0, done.stderr
    assert "the config has system_packages and build_commands" in done.stderr
    told = json.loads(done.stdout)
    assert told["reference"] == f"{name}@{told['digest']}"
    assert told["digest"].startswith("sha256:")
    port = free_port()
    with engine.container(name, "--env", f"PORT={port}", "--user", "4321:0", "--read-only"):
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url)
        answer = httpx.post(f"{url}/v1/models/model:predict", json={"inputs": []}).json()
    assert answer == {"predictions": ["made"]}


def test_without_an_engine_it_is_refused(bench, wanting, tmp_path):
    done = bench.run("build", wanting, "--builder", "none", "--output", tmp_path / "layout")
    assert done.returncode == 1
    assert "system_packages and build_commands can only be satisfied by a container engine" in done.stderr
    assert "--builder docker" in done.stderr
    assert not (tmp_path / "layout").exists()


def test_a_failing_command_is_the_configs(bench, engine, small, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    folder = small("failing", config="build_commands: ['exit 7']\n")
    done = bench.run("build", folder, "--output", tmp_path / "image.tar")
    assert done.returncode == 1
    assert "build_commands in config.yaml" in done.stderr
    assert not (tmp_path / "image.tar").exists()


def test_a_build_context_is_complete(bench, engine, wanting, tmp_path):
    done = bench.run("build-context", wanting, tmp_path / "context")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "context" / "Dockerfile")
    assert {path.name for path in (tmp_path / "context").iterdir()} == {
        *("Dockerfile", "app", "data", "runtime", "site")
    }
    assert (tmp_path / "context" / "app" / "model" / "model.py").is_file()
    assert (tmp_path / "context" / "site" / "uvicorn").is_dir()
    engine.docker("build", "--network", "host", "--tag", "context:1", tmp_path / "context")
    again = bench.run("build-context", wanting, tmp_path / "context")
    assert again.returncode == 1
    assert "not empty" in again.stderr

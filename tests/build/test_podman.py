"""The same with podman, which needs no daemon: `truss run-image`, an image as anybody, a build."""

import json
import shutil
import subprocess

import httpx
import pytest

import truss
from truss.build.engine import find_engine
from truss.testing.engine import free_port, wait_until_ready

pytestmark = [
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.skipif(not shutil.which("podman"), reason="not set up: scripts/setup-engine"),
    pytest.mark.xdist_group("images"),
]

# Debian's podman starts containers with crun, which knows fewer arrangements of control groups than Docker's
# runc; and it sets higher limits by default than root may set in every container and virtual machine.
SETTINGS = """
[engine]
runtime = "runc"

[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
"""

ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]


@pytest.fixture
def podman(bench, monkeypatch, tmp_path_factory):
    """Run `podman WORDS...` with images and containers of this test's own, apart from the machine's."""
    folder = tmp_path_factory.mktemp("podman")
    (folder / "storage.conf").write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/data"\nrunroot = "{folder}/run"\n'
    )
    (folder / "registries.conf").write_text(f'[[registry]]\nlocation = "{bench.registry}"\ninsecure = true\n')
    (folder / "containers.conf").write_text(SETTINGS)
    monkeypatch.setenv("CONTAINERS_CONF", str(folder / "containers.conf"))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))
    monkeypatch.setenv("CONTAINERS_REGISTRIES_CONF", str(folder / "registries.conf"))
    monkeypatch.setenv("TRUSS_HOME", str(folder / "home"))

    def run(*words):
        done = subprocess.run(["podman", *map(str, words)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    yield run
    run("rm", "--all", "--force")
    run("rmi", "--all", "--force")


def ask(url):
    return httpx.post(f"{url}/v1/models/model:predict", json={"inputs": ROWS}).json()


def test_run_image_and_an_image_as_anybody(bench, podman, iris):
    expected = truss.load(iris).server_predict({"inputs": ROWS})
    started = bench.run("run-image", iris, "--engine", "podman", "--port", "0", "--json")
    assert started.returncode == 0, started.stderr
    told = json.loads(started.stdout)
    assert ask(told["url"])["predictions"] == list(expected["predictions"])
    assert "is ready" in bench.run("logs", iris, "--engine", "podman").stdout
    assert told["image"] in bench.run("images", "--engine", "podman").stdout
    stopped = bench.run("kill", iris, "--engine", "podman", "--json")
    assert json.loads(stopped.stdout) == {"stopped": [told["container"]]}

    port = free_port()
    options = ["--network", "host", "--read-only", "--user", "4321:0", "--env", f"PORT={port}"]
    name = podman("run", "--detach", *options, told["image"], "serve")
    url = f"http://127.0.0.1:{port}"
    wait_until_ready(url)
    assert ask(url)["predictions"] == list(expected["predictions"])
    podman("stop", "--time", "30", name)
    assert podman("inspect", name, "--format", "{{.State.ExitCode}}") == "0"


def test_what_podman_shows_a_container_goes_with_it(bench, podman, small, monkeypatch, tmp_path):
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TRUSS_SECRET_key", "t0ken")
    folder = small("shown", "open('/secrets/key').read()", "secrets: {key: null}\n")
    started = bench.run("run-image", folder, "--engine", "podman", "--port", "0", "--json")
    assert started.returncode == 0, started.stderr
    assert ask(json.loads(started.stdout)["url"]) == {"predictions": ["t0ken"]}
    assert len(list((tmp_path / "home").rglob("key"))) == 1
    bench.run("kill", folder, "--engine", "podman")
    assert list((tmp_path / "home").rglob("key")) == []


def test_podman_builds_what_wheels_cannot_give(bench, podman, small, monkeypatch, tmp_path):
    monkeypatch.setenv("TRUSS_SECRET_token", "s3cret-of-the-build")
    folder = small(
        "commanded",
        "open('/opt/made').read().strip()",
        "build_commands: ['wc -c < /etc/token > /opt/made']\n"
        "build: {secret_to_path_mapping: {token: /etc/token}}\n",
    )
    words = ["--builder", "podman", "--network", "host", "--tag", "commanded:1", "--json"]
    done = bench.run("build", folder, "--output", tmp_path / "image.tar", *words)
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)["layers"]
    assert all(layer["digest"].startswith("sha256:") and layer["bytes"] for layer in layers)
    assert any("wc -c" in layer["created_by"] for layer in layers)
    port = free_port()
    podman("run", "--detach", "--network", "host", "--env", f"PORT={port}", "commanded:1")
    wait_until_ready(f"http://127.0.0.1:{port}")
    assert ask(f"http://127.0.0.1:{port}") == {"predictions": [str(len("s3cret-of-the-build"))]}
    assert (tmp_path / "image.tar").stat().st_size > 1_000_000
    assert b"s3cret-of-the-build" not in (tmp_path / "image.tar").read_bytes()
    assert "s3cret-of-the-build" not in podman("inspect", "commanded:1")


def test_podman_is_taken_where_docker_is_missing(monkeypatch, tmp_path):
    (tmp_path / "podman").symlink_to(shutil.which("podman"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_engine().program == "podman"

"""Images that an engine builds, since their config asks for what wheels cannot give."""

import contextlib
import hashlib
import json
import os
import ssl
import tarfile
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest
from certificates import make_certificate, serving

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
build: {dockerfile_fragment: model/Dockerfile.more}
"""


@pytest.fixture
def wanting(small):
    folder = small("wanting", config=CONFIG)
    (folder / "model" / "model.py").write_text(
        "import ctypes\nfrom pathlib import Path\n\n\n"
        "class Model:\n"
        "    def load(self):\n        ctypes.CDLL('libgomp.so.1')\n"
        "    def predict(self, request):\n"
        "        words = [Path('/opt', name).read_text().strip() for name in ('made', 'copied')]\n"
        "        return {'predictions': words}\n"
    )
    (folder / "model" / "word").write_text("copied\n")
    (folder / "model" / "Dockerfile.more").write_text("COPY app/model/word /opt/copied\n")
    return folder


def test_an_engine_is_chosen_and_said_why(bench, engine, wanting, small, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    name = f"{bench.registry}/wanting:1"
    done = bench.run("build", wanting, "--push", name, "--network", "host", "--json")
    assert done.returncode == 0, done.stderr
    assert "the config has system_packages and build_commands and build.dockerfile_fragment" in done.stderr
    told = json.loads(done.stdout)
    assert told["reference"] == f"{name}@{told['digest']}"
    assert told["digest"].startswith("sha256:")
    assert (told["bytes_uploaded"], told["attached"]) == (None, [])
    url = f"http://{bench.registry}/v2/wanting/manifests/{told['digest']}"
    accept = {"Accept": "application/vnd.docker.distribution.manifest.v2+json"}
    listed = httpx.get(url, headers=accept).json()["layers"]
    assert [(one["digest"], one["bytes"]) for one in told["layers"]] == [
        (one["digest"], one["size"]) for one in listed
    ]
    assert any("echo made" in one["created_by"] for one in told["layers"])
    assert set(told) == set(bench.build(small("alike"), "alike:1"))
    port = free_port()
    with engine.container(name, "--env", f"PORT={port}", "--user", "4321:0", "--read-only"):
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url)
        answer = httpx.post(f"{url}/v1/models/model:predict", json={"inputs": []}).json()
    assert answer == {"predictions": ["made", "copied"]}


def test_without_an_engine_it_is_refused(bench, wanting, tmp_path):
    done = bench.run("build", wanting, "--builder", "none", "--output", tmp_path / "layout")
    assert done.returncode == 1
    assert "build.dockerfile_fragment can only be satisfied by a container engine" in done.stderr
    assert "--builder docker" in done.stderr
    assert not (tmp_path / "layout").exists()


def test_a_failing_command_is_the_configs(bench, engine, small, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    folder = small("failing", config="build_commands: ['exit 7']\n")
    done = bench.run("build", folder, "--output", tmp_path / "image.tar")
    assert done.returncode == 1
    assert "build_commands in config.yaml" in done.stderr
    assert not (tmp_path / "image.tar").exists()
    assert "exit 7" not in engine.docker("ps", "--all", "--no-trunc", "--format", "{{.Command}}")


def test_what_a_build_reads_is_not_left_in_its_image(bench, engine, small, monkeypatch, tmp_path):
    program = engine.program_with_buildkit(tmp_path / "probe")
    if program is None:
        pytest.skip("no docker with BuildKit is installed")
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    proxy = "http://builder:pr0xy-password@127.0.0.1:9"
    monkeypatch.setenv("TRUSS_SECRET_index_token", "s3cret-of-the-build")
    monkeypatch.setenv("HTTP_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    command = "(cat /etc/token; printenv HTTP_PROXY) | sha256sum > /opt/seen"
    folder = small(
        "reading",
        config=f"build_commands: ['{command}']\n"
        "build: {secret_to_path_mapping: {index_token: /etc/token}}\n",
    )
    words = ("--builder", program, "--tag", "reading:1", "--output", tmp_path / "image.tar")
    done = bench.run("build", folder, *words)
    assert done.returncode == 0, done.stderr
    seen = hashlib.sha256(f"s3cret-of-the-build{proxy}\n".encode()).hexdigest()
    told = engine.docker("history", "--no-trunc", "reading:1") + engine.docker("inspect", "reading:1")
    everything = (tmp_path / "image.tar").read_bytes() + told.encode()
    assert seen.encode() in everything
    for private in (b"s3cret-of-the-build", b"pr0xy-password"):
        assert private not in everything
    assert list((tmp_path / "temporary").iterdir()) == []


def test_commands_use_the_indexes_and_certificates_of_this_machine(
    bench, engine, small, monkeypatch, tmp_path
):
    program = engine.program_with_buildkit(tmp_path / "probe")
    if program is None:
        pytest.skip("no docker with BuildKit is installed")
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    # Of npm, as Truss itself would take a package index of pip's for its wheels.
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://reader:1ndex-token@packages.example/npm")
    with index_of_our_own(tmp_path) as url:
        trusted = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
        usual = Path(trusted).read_text() if trusted else ""
        (tmp_path / "bundle.pem").write_text((tmp_path / "ours.pem").read_text() + usual)
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
        fetch = f"import urllib.request as web; print(web.urlopen('{url}').read().decode())"
        command = f'(printenv NPM_CONFIG_REGISTRY; python3 -c "{fetch}") | sha256sum > /opt/seen'
        folder = small("inheriting", config=f"build_commands: {json.dumps([command])}\n")
        words = ("--builder", program, "--network", "host", "--tag", "inheriting:1")
        done = bench.run("build", folder, *words, "--output", tmp_path / "image.tar")
    assert done.returncode == 0, done.stderr
    seen = hashlib.sha256(
        b"https://reader:1ndex-token@packages.example/npm\nthe index of our own\n"
    ).hexdigest()
    told = engine.docker("history", "--no-trunc", "inheriting:1") + engine.docker("inspect", "inheriting:1")
    everything = (tmp_path / "image.tar").read_bytes() + told.encode()
    assert seen.encode() in everything
    body = (tmp_path / "ours.pem").read_bytes().splitlines()[1]
    for private in (b"1ndex-token", body, str(tmp_path).encode()):
        assert private not in everything


@contextlib.contextmanager
def index_of_our_own(folder):
    """The address of a server that only the certificate `ours.pem` vouches for."""
    make_certificate(folder, "ours")

    class Index(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"the index of our own")

    with serving(folder, "ours", Index) as url:
        yield url


def test_an_engine_builds_for_the_platform_that_is_named(bench, engine, small, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    words = ("--builder", "docker", "--platform", "linux/arm64", "--tag", "elsewhere:1")
    words += ("--no-attestations", "--output", tmp_path / "image.tar", "--json")
    done = bench.run("build", small("elsewhere"), *words)
    assert done.returncode == 0, done.stderr
    assert "--no-attestations changes nothing" in done.stderr
    told = json.loads(done.stdout)
    assert told["name"] == "elsewhere:1"
    assert told["platforms"] == ["linux/arm64"]
    assert sum(one["bytes"] for one in told["layers"]) < (tmp_path / "image.tar").stat().st_size
    assert {one["digest"] for one in told["layers"]} <= digests_in(tmp_path / "image.tar")
    assert engine.docker("image", "inspect", "--format", "{{.Architecture}}", "elsewhere:1") == "arm64"


def digests_in(archive):
    """The digests of all files of an archive."""
    with tarfile.open(archive) as opened:
        contents = [opened.extractfile(one).read() for one in opened if one.isfile()]
    return {f"sha256:{hashlib.sha256(content).hexdigest()}" for content in contents}


def test_where_an_engine_writes_is_an_archive(bench, engine, small, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    done = bench.run("build", small("laid"), "--builder", "docker", "--output", tmp_path / "layout")
    assert done.returncode == 2
    assert "--output PATH.tar" in done.stderr
    assert not (tmp_path / "layout").exists()


def test_a_secret_of_the_build_without_a_value_is_named(bench, small, tmp_path):
    folder = small(
        "unset",
        config="build_commands: ['true']\nbuild: {secret_to_path_mapping: {index-token: /etc/token}}\n",
    )
    done = bench.run("build", folder, "--output", tmp_path / "image.tar")
    assert done.returncode == 1
    assert "'index-token', which the build reads, has no value" in done.stderr
    assert "TRUSS_SECRET_index_token" in done.stderr


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

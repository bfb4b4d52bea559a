"""Weights from elsewhere in images: baked while building, or fetched when a container starts."""

import gzip
import hashlib

import httpx
import pytest
import zstandard
from bucket_servers import FILES, KEYS, running_gs, running_s3
from hub_server import running_hub
from web_server import running_web

from truss.testing.engine import free_port, wait_until_ready

pytestmark = [
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
]

SMALL, LARGE = b"small", bytes(range(256)) * 8192  # 2 MiB
READS = """
import hashlib
from pathlib import Path


class Model:
    def __init__(self, data_dir):
        self.files = [data_dir / "small.txt", Path("/models/large/large.bin")]

    def load(self):
        self.found = [hashlib.sha256(file.read_bytes()).hexdigest() for file in self.files]

    def predict(self, request):
        return {"predictions": self.found}
"""
ANSWER = {"predictions": [hashlib.sha256(content).hexdigest() for content in (SMALL, LARGE)]}


@pytest.fixture
def web():
    with running_web() as running:
        running.files["/small.txt"] = SMALL
        yield running


@pytest.fixture
def hub(monkeypatch):
    with running_hub() as running:
        running.files["large.bin"] = LARGE
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{running.port}")
        yield running


@pytest.fixture
def truss(small, web, hub):
    """Make a Truss of a model that reads both, fetched when it is said."""

    def make(name, when):
        folder = small(
            name,
            config="secrets: {key: null}\n"
            f"external_data: [{{url: '{web.url}/small.txt', local_data_path: small.txt, fetch_at: {when}}}]\n"
            "weights: [{source: 'hf://team/model', mount_location: /models/large, auth_secret_name: key, "
            f"fetch_at: {when}}}]\n",
        )
        (folder / "model" / "model.py").write_text(READS)
        return folder

    return make


def layers(bench, name, built):
    """Every layer's digest, and all that the image consists of as one text of bytes."""
    url = f"http://{bench.registry}/v2/{name}"
    accept = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    manifest = httpx.get(f"{url}/manifests/{built['digest']}", headers=accept).json()
    blobs = [httpx.get(f"{url}/blobs/{one['digest']}").content for one in manifest["layers"]]
    config = httpx.get(f"{url}/blobs/{manifest['config']['digest']}").content
    return [one["digest"] for one in manifest["layers"]], b"".join([config, *map(_unpacked, blobs)])


def _unpacked(blob):
    if blob[:4] == b"\x28\xb5\x2f\xfd":
        return zstandard.ZstdDecompressor().decompressobj().decompress(blob)
    return gzip.decompress(blob) if blob[:2] == b"\x1f\x8b" else blob


def answer(engine, image, *options):
    port = free_port()
    words = ("--read-only", "--tmpfs", "/tmp", "--user", "4321:4321", "--env", f"PORT={port}", *options)
    with engine.container(image, *words):
        wait_until_ready(f"http://127.0.0.1:{port}")
        return httpx.post(f"http://127.0.0.1:{port}/v1/models/model:predict", json={"inputs": []}).json()


def test_an_image_holds_what_was_fetched_while_it_was_built(bench, engine, truss, web, hub):
    folder = truss("baked", "build")
    built = bench.build(folder, "baked:1")
    assert answer(engine, built["reference"]) == ANSWER
    (folder / "model" / "model.py").write_text(READS + "# edited\n")
    again = bench.build(folder, "baked:2")
    before, after = layers(bench, "baked", built)[0], layers(bench, "baked", again)[0]
    assert [mine == theirs for mine, theirs in zip(before, after, strict=True)].count(False) == 1
    assert again["bytes_uploaded"] < 64 << 10


@pytest.mark.parametrize("words", [["build", "--output", "layout"], ["build-context", "context"]])
def test_how_far_fetching_has_come_is_said(bench, truss, web, tmp_path, words):
    folder = truss("told", "build")
    command, *rest = words
    fresh = {"TRUSS_WEIGHTS_DIR": str(tmp_path / "fresh")}
    done = bench.run(command, folder, *rest[:-1], tmp_path / rest[-1], **fresh)
    assert done.returncode == 0, done.stderr
    assert f"Fetching {web.url}/small.txt: 1 file, 5 B\n" in done.stderr
    assert f"Fetched {web.url}/small.txt: 5 B in " in done.stderr
    assert "Fetched hf://team/model: 2.0 MiB in " in done.stderr


def test_the_secret_that_opens_the_store_is_in_no_part_of_the_image(bench, truss, hub, monkeypatch, tmp_path):
    folder = truss("opened", "build")
    hub.token = "s3cret-of-the-store"
    fresh = tmp_path / "fresh"
    refused = bench.run("build", folder, "--push", f"{bench.registry}/opened:1", cache=fresh)
    assert refused.returncode == 1
    assert "TRUSS_SECRET_key" in refused.stderr
    monkeypatch.setenv("TRUSS_SECRET_key", hub.token)
    built = bench.build(folder, "opened:1", cache=fresh)
    _, everything = layers(bench, "opened", built)
    assert LARGE in everything
    assert b"s3cret-of-the-store" not in everything
    assert str(tmp_path).encode() not in everything


def test_a_container_fetches_what_is_left_to_its_start(bench, engine, truss, hub):
    built = bench.build(truss("fetched", "start"), "fetched:1")
    _, everything = layers(bench, "fetched", built)
    assert LARGE not in everything
    endpoint = f"HF_ENDPOINT=http://127.0.0.1:{hub.port}"
    assert answer(engine, built["reference"], "--env", endpoint) == ANSWER


def test_an_image_made_with_an_engine_holds_the_same(bench, engine, truss, tmp_path):
    context = tmp_path / "context"
    done = bench.run("build-context", truss("context-of", "build"), context)
    assert done.returncode == 0, done.stderr
    assert "COPY weights /" in (context / "Dockerfile").read_text()
    engine.docker("build", "--tag", "context-of-weights", context)
    assert answer(engine, "context-of-weights") == ANSWER


def test_repositories_of_the_hub_are_where_its_libraries_look(bench, engine, small, monkeypatch):
    with running_hub() as hub:
        hub.files.update({"config.json": b'{"a": 1}', "model.safetensors": LARGE})
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{hub.port}")
        folder = small(
            "hub",
            config="requirements: [huggingface_hub]\nmodel_cache: [{repo_id: team/model, revision: main}]\n",
        )
        (folder / "model" / "model.py").write_text(
            "class Model:\n"
            "    def predict(self, request):\n"
            "        from huggingface_hub import snapshot_download\n"
            "        folder = snapshot_download('team/model', local_files_only=True)\n"
            "        return {'predictions': [open(folder + '/config.json').read()]}\n"
        )
        built = bench.build(folder, "hub:1")
    assert answer(engine, built["reference"]) == {"predictions": ['{"a": 1}']}


READS_BUCKETS = """
import hashlib
from pathlib import Path


class Model:
    def load(self):
        names = ("weights.bin", "deep/er.txt")
        files = [Path("/models", store, name) for store in ("s3", "gs") for name in names]
        self.found = [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]

    def predict(self, request):
        return {"predictions": self.found}
"""
BUCKETS_ANSWER = {
    "predictions": [
        hashlib.sha256(FILES[f"model/{name}"]).hexdigest() for name in ("weights.bin", "deep/er.txt")
    ]
    * 2
}


@pytest.fixture
def buckets(monkeypatch, tmp_path_factory):
    """Buckets of both kinds; gives the variables that tell a process where they are, and what opens one."""
    folders = (tmp_path_factory.mktemp("s3"), tmp_path_factory.mktemp("gs"))
    with running_s3(folders[0]) as s3, running_gs(folders[1]) as gs:
        variables = {"AWS_ENDPOINT_URL": s3, "STORAGE_EMULATOR_HOST": gs, "TRUSS_SECRET_keys": KEYS}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        yield variables


def of_buckets(small, name, when):
    """A Truss of a model that reads a prefix of each bucket."""
    folder = small(
        name,
        config="secrets: {keys: null}\nweights:\n"
        "- {source: 's3://models/model', mount_location: /models/s3, auth_secret_name: keys, "
        f"ignore_patterns: ['*.md'], fetch_at: {when}}}\n"
        f"- {{source: 'gs://models/model', mount_location: /models/gs, fetch_at: {when}}}\n",
    )
    (folder / "model" / "model.py").write_text(READS_BUCKETS)
    return folder


@pytest.mark.parametrize("builder", ["none", "docker"])
def test_both_builders_bake_what_lies_in_buckets(bench, engine, small, buckets, monkeypatch, builder):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    name = f"buckets-{builder}"
    folder = of_buckets(small, name, "build")
    built = bench.build(folder, f"{name}:1", "--builder", builder)
    for variable in buckets:
        monkeypatch.delenv(variable)
    assert answer(engine, built["reference"]) == BUCKETS_ANSWER
    if builder == "none":
        _, everything = layers(bench, name, built)
        assert FILES["model/weights.bin"] in everything
        assert b"not wanted" in everything  # of the bucket that nothing is left out of
        assert KEYS.encode() not in everything
    else:
        told = engine.docker("history", "--no-trunc", built["reference"])
        assert KEYS not in told + engine.docker("inspect", built["reference"])


# What a container does when it starts is the same whoever built the image: see test_same_layout.py.
@pytest.mark.parametrize("builder", ["none", pytest.param("docker", marks=pytest.mark.thorough)])
def test_a_container_fetches_from_buckets_when_it_starts(bench, engine, small, buckets, monkeypatch, builder):
    monkeypatch.setenv("DOCKER_HOST", engine.host)
    name = f"start-{builder}"
    built = bench.build(of_buckets(small, name, "start"), f"{name}:1", "--builder", builder)
    words = [word for one in buckets.items() for word in ("--env", "=".join(one))]
    assert answer(engine, built["reference"], *words) == BUCKETS_ANSWER

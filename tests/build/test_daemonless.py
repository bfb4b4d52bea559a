"""Images without an engine: what is in them, that they are the same again, and that they run."""

import io
import json
import tarfile
from pathlib import Path

import httpx
import pytest

import truss
from truss.oci import validate_layout
from truss.testing.engine import free_port, wait_until_ready

pytestmark = [pytest.mark.registry, pytest.mark.network, pytest.mark.xdist_group("images")]


FOREIGN = Path(__file__).parents[2] / ".images" / "base-arm64.tar"
ROWS = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]


def layers_of(told, of="linux/amd64"):
    return {layer["created_by"]: layer for layer in told["layers"] if layer["platform"] == of}


def files_of(layout: Path, platform: str = "linux/amd64", *, base: bool = False) -> dict[str, bytes]:
    """Everything in the layers that were put on the base; with `base` all that is in the base."""
    index = json.loads((layout / "index.json").read_text())
    found: dict[str, bytes] = {}

    def blob(digest: str) -> Path:
        return layout / "blobs" / digest.replace(":", "/")

    manifests = index["manifests"]
    document = json.loads(blob(manifests[0]["digest"]).read_text())
    if "manifests" in document:
        manifests = document["manifests"]
    for manifest in manifests:
        if "artifactType" in manifest:  # attached to an image
            continue
        image = json.loads(blob(manifest["digest"]).read_text())
        config = json.loads(blob(image["config"]["digest"]).read_text())
        if f"{config['os']}/{config['architecture']}" != platform:
            continue
        found["config"] = json.dumps(config).encode()
        for layer in image["layers"][:1] if base else image["layers"][1:]:
            with tarfile.open(blob(layer["digest"])) as archive:
                for member in archive:
                    if member.isfile():
                        found[member.name] = archive.extractfile(member).read()
    return found


@pytest.mark.engine
def test_it_runs_as_anybody_with_a_root_that_cannot_be_written(bench, engine, iris):
    told = bench.build(iris, "iris:1")
    assert told["reference"] == f"{bench.registry}/iris:1@{told['digest']}"
    expected = truss.load(iris).predict({"inputs": ROWS})
    port = free_port()
    engine.docker("pull", "--quiet", f"{bench.registry}/iris:1")
    options = ["--read-only", "--user", "4321:0", "--env", f"PORT={port}"]
    with engine.container(f"{bench.registry}/iris:1", *options, arguments=["serve"]) as name:
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url)
        answer = httpx.post(f"{url}/v1/models/model:predict", json={"inputs": ROWS}).json()
        assert answer["predictions"] == list(expected["predictions"])
        assert answer["probabilities"] == [pytest.approx(row) for row in expected["probabilities"]]
        engine.docker("stop", "--time", "30", name)
        assert engine.docker("inspect", name, "--format", "{{.State.ExitCode}}") == "0"


@pytest.mark.engine
def test_an_archive_is_loaded_by_the_engine(bench, engine, small, tmp_path):
    folder = small("archived", "41 + 1")
    done = bench.run("build", folder, "--output", tmp_path / "image.tar", "--tag", "archived:7")
    assert done.returncode == 0, done.stderr
    engine.docker("load", "--input", tmp_path / "image.tar")
    port = free_port()
    with engine.container("archived:7", "--env", f"PORT={port}"):
        url = f"http://127.0.0.1:{port}"
        wait_until_ready(url)
        answer = httpx.post(f"{url}/v1/models/model:predict", json={"inputs": []}).json()
    assert answer == {"predictions": [42]}


def test_an_edit_of_the_code_uploads_kilobytes(bench, iris):
    before = bench.build(iris, "edited:1")
    model = iris / "model" / "model.py"
    model.write_text(model.read_text() + "\n# edited\n")
    after = bench.build(iris, "edited:2")
    assert 0 < after["bytes_uploaded"] <= 64 * 1024
    changed = {
        name
        for name, layer in layers_of(after).items()
        if layers_of(before)[name]["digest"] != layer["digest"]
    }
    assert changed == {"the model"}


def test_a_second_truss_uploads_only_what_is_its_own(bench, small):
    bench.build(small("one", "1"), "shared:1")
    told = bench.build(small("two", "2"), "shared:2")
    assert told["bytes_uploaded"] <= 16 * 1024


def test_a_locked_build_is_the_same_byte_for_byte(bench, small, tmp_path):
    folder = small("locked")
    first = bench.build(folder, "locked:1")
    lock = json.loads((folder / "truss.lock").read_text())
    assert lock["base"].startswith(f"{bench.registry}/library/python:3.11-slim@sha256:")
    assert all("://" not in line for lines in lock["wheels"].values() for line in lines)
    again = bench.build(folder, "locked:2", "--locked", cache=tmp_path / "cache")
    assert again["digest"] == first["digest"]
    done = bench.run("build", folder, "--locked", "--platform", "linux/arm64", "--output", tmp_path / "x")
    assert done.returncode != 0
    assert "no wheels for linux/arm64" in done.stderr
    assert not (tmp_path / "x").exists()
    bench.build(folder, "locked:3", "--platform", "linux/arm64")
    both = json.loads((folder / "truss.lock").read_text())
    assert both["wheels"]["linux/amd64"] == lock["wheels"]["linux/amd64"]
    assert set(both["bases"]) == {"linux/amd64", "linux/arm64"}
    platforms = ("--platform", "linux/amd64,linux/arm64")
    index = bench.build(folder, "locked:4", "--locked", *platforms)
    assert bench.build(folder, "locked:5", *platforms)["digest"] == index["digest"]
    with (folder / "config.yaml").open("a") as config:
        config.write("requirements: [six]\n")
    done = bench.run("build", folder, "--locked", "--output", tmp_path / "x")
    assert done.returncode != 0
    assert "requirements of the Truss" in done.stderr


MACHINES = {"linux/amd64": 0x3E, "linux/arm64": 0xB7}
"""By platform, what its programs and libraries say they are for."""


def machines_in(files: dict[str, bytes]) -> list[int]:
    """What the programs and libraries among some files are for."""
    return [int.from_bytes(data[18:20], "little") for data in files.values() if data.startswith(b"\x7fELF")]


def test_an_image_for_another_processor_has_its_wheels(bench, small, tmp_path):
    folder = small("both")
    done = bench.run(
        "build", folder, "--platform", "linux/amd64,linux/arm64", "--output", tmp_path / "layout", "--json"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["platforms"] == ["linux/amd64", "linux/arm64"]
    validate_layout(tmp_path / "layout")
    for platform, machine in MACHINES.items():
        found = machines_in(files_of(tmp_path / "layout", platform))
        assert len(found) > 3
        assert set(found) == {machine}


@pytest.mark.skipif(not FOREIGN.exists(), reason="not set up: scripts/setup-base")
def test_an_image_for_two_processors_stands_on_the_base_of_each(bench, small, tmp_path):
    folder = small("founded")
    platforms = ("--platform", "linux/amd64,linux/arm64")
    done = bench.run("build", folder, *platforms, "--output", tmp_path / "layout")
    assert done.returncode == 0, done.stderr
    for platform, machine in MACHINES.items():
        files = files_of(tmp_path / "layout", platform, base=True)
        assert json.loads(files.pop("config"))["architecture"] == platform.partition("/")[2]
        assert files["./usr/bin/python3.11"][18:20] == machine.to_bytes(2, "little")
        assert len(machines_in(files)) > 100
        assert set(machines_in(files)) == {machine}
    lock = json.loads((folder / "truss.lock").read_text())
    assert lock["bases"]["linux/amd64"] != lock["bases"]["linux/arm64"]


def test_nothing_of_the_builder_is_in_the_image(bench, small, tmp_path, monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "s3cret-token")
    folder = small("clean", config="secrets: {my-key: null}\nenvironment_variables: {MODE: fast}\n")
    done = bench.run("build", folder, "--output", tmp_path / "layout", cache=tmp_path / "private-cache")
    assert done.returncode == 0, done.stderr
    files = files_of(tmp_path / "layout")
    for secret in ("s3cret-token", str(tmp_path), "private-cache", str(Path.home()) + "/."):
        assert [name for name, content in files.items() if secret.encode() in content] == []
    settings = json.loads(files["config"])["config"]
    assert "MODE=fast" in settings["Env"]
    assert settings["User"] == "65532:0"
    assert settings["Entrypoint"] == ["python3", "-m", "truss.runtime.container"]
    assert "app/config.yaml" in files
    assert not [name for name in files if name.endswith((".pyc", "direct_url.json", "truss.lock"))]


def test_large_data_files_lie_alone_and_as_they_are(bench, small, tmp_path):
    folder = small("large")
    (folder / "data").mkdir()
    weights = bytes(range(256)) * 8192
    (folder / "data" / "weights.bin").write_bytes(weights)
    (folder / "data" / "words.txt").write_text("one\n")
    done = bench.run("build", folder, "--output", tmp_path / "layout", "--json")
    told = layers_of(json.loads(done.stdout))
    assert set(told) >= {"data weights.bin", "data", "the model", "the server"}
    layer = tmp_path / "layout" / "blobs" / told["data weights.bin"]["digest"].replace(":", "/")
    with tarfile.open(fileobj=io.BytesIO(layer.read_bytes()), mode="r:") as archive:  # not compressed
        assert archive.extractfile("app/data/weights.bin").read() == weights


def test_a_requirement_that_is_nowhere_is_named(bench, small, tmp_path):
    folder = small("missing", config="requirements: [nothing-like-this-at-all==1.0]\n")
    done = bench.run("build", folder, "--output", tmp_path / "layout")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing-like-this-at-all" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "layout").exists()


def test_a_base_that_is_not_there_is_named(bench, small, tmp_path):
    done = bench.run(
        "build", small("nobase"), "--output", tmp_path / "layout", "--base", f"{bench.registry}/nothing:1"
    )
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert not (tmp_path / "layout").exists()


def test_an_archive_for_two_platforms_is_refused_before_anything_is_made(bench, small, tmp_path):
    words = ("--platform", "linux/amd64,linux/arm64", "--output", tmp_path / "image.tar")
    done = bench.run("build", small("archives"), *words, cache=tmp_path / "cache")
    assert done.returncode == 2
    assert "an archive holds one platform" in done.stderr
    assert not (tmp_path / "cache").exists()


def test_where_to_must_be_said(bench, small):
    done = bench.run("build", small("nowhere"))
    assert done.returncode == 2
    assert "--push REF or --output PATH" in done.stderr

"""The same files and the same start, whether an engine builds the image of a Truss or none does."""

import hashlib
import json
import tarfile

import pytest

pytestmark = [
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.network,
    pytest.mark.xdist_group("images"),
]

CONFIG = """
model_name: varied
python_version: py311
requirements: [six]
environment_variables: {MODE: fast, QUOTED: 'a "b" $c'}
description: what both say
"""


@pytest.fixture(scope="module")
def varied(tmp_path_factory):
    """A Truss with every kind of file that a Truss has."""
    folder = tmp_path_factory.mktemp("trusses") / "varied"
    files = {
        "config.yaml": CONFIG.encode(),
        "data/words.txt": b"one\n",
        "data/deep/er/large.bin": bytes(2 << 20),
        "packages/helping/__init__.py": b"",
        "model/model.py": b"class Model:\n    def predict(self, request):\n        return request\n",
        "model/run.sh": b"#!/bin/sh\n",
        "examples.yaml": b"[]\n",
        "model/.hidden": b"",
        "model/__pycache__/model.pyc": b"left out",
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    (folder / "model" / "run.sh").chmod(0o775)
    (folder / "data" / "words.txt").chmod(0o600)
    (folder / "model" / "link.txt").symlink_to("../data/words.txt")
    return folder


@pytest.fixture(scope="module")
def images(bench, engine, varied):
    """What two images of one Truss are called in the engine: one made without it, one that it built."""
    names = {}
    for builder in ("none", "docker"):
        names[builder] = f"layout-{builder}:1"
        archive = varied.parent / f"{builder}.tar"
        words = ("--builder", builder, "--tag", names[builder], "--output", archive)
        done = bench.run("build", varied, *words, DOCKER_HOST=engine.host)
        assert done.returncode == 0, done.stderr
    engine.docker("load", "--input", varied.parent / "none.tar")
    return names["none"], names["docker"]


def files_of(engine, image, folder):
    """What a container of an image sees: by path the kind, mode, owner, and content of everything."""
    container = engine.docker("create", image)
    archive = folder / f"{container}.tar"
    engine.docker("export", "--output", archive, container)
    engine.docker("rm", container)
    found = {}
    with tarfile.open(archive) as opened:
        for one in opened:
            content = (
                hashlib.sha256(opened.extractfile(one).read()).hexdigest() if one.isfile() else one.linkname
            )
            found[one.name] = (one.type, oct(one.mode & 0o7777), one.uid, one.gid, content)
    return found


def test_both_hold_the_same_files(engine, images, tmp_path):
    one, other = (files_of(engine, image, tmp_path) for image in images)
    ours = [name for name in one if name.startswith(("app/", "opt/truss/"))]
    assert len(ours) > 100
    assert "app/data/deep/er/large.bin" in ours
    assert "opt/truss/site/bin/uvicorn" in ours
    assert one["app/model/run.sh"][1:4] == ("0o755", 0, 0)
    assert one["app/data/words.txt"][1:4] == ("0o644", 0, 0)
    assert not [name for name in ours if name.endswith(("truss.lock", ".pyc"))]
    different = {
        name: (one.get(name), other.get(name)) for name in {*one, *other} if one.get(name) != other.get(name)
    }
    assert different == {}


def test_both_start_the_same(engine, images):
    described = [json.loads(engine.docker("image", "inspect", image))[0] for image in images]
    for name in ("Architecture", "Os"):
        assert described[0][name] == described[1][name]
    keys = (
        "Entrypoint",
        "Cmd",
        "User",
        "WorkingDir",
        "ExposedPorts",
        "StopSignal",
        "Labels",
        "Volumes",
        "Shell",
    )
    # Nothing may be said as nothing, or as an empty list.
    one, other = ({key: image["Config"].get(key) or None for key in keys} for image in described)
    assert one == other
    assert one["Entrypoint"] == ["python3", "-m", "truss.runtime.container"]
    assert one["Labels"]["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert sorted(described[0]["Config"]["Env"]) == sorted(described[1]["Config"]["Env"])
    assert 'QUOTED=a "b" $c' in described[0]["Config"]["Env"]

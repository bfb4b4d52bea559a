"""A real engine takes what is written: archives by `docker load`, pushed images by `docker pull`.

Layers are plain or gzip here: engines read zstd since Docker 23, and older ones are still about.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator

import pytest

from truss.oci import (
    Entry,
    ImageConfig,
    Platform,
    Reference,
    build_image,
    packed_layer,
    plain_layer,
    push_image,
    write_docker_archive,
)
from truss.testing import engine as engines

pytestmark = [
    pytest.mark.engine,
    pytest.mark.xdist_group("engine"),
    pytest.mark.skipif(
        shutil.which(engines.PROGRAM) is None or os.getuid() != 0, reason="needs dockerd, and root to run it"
    ),
]

FILES = {"app/packed": b"p" * 100_000, "data/plain": b"d" * 1000}


@pytest.fixture(scope="module")
def engine(tmp_path_factory) -> Iterator[engines.RunningEngine]:
    with engines.running_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture
def image(tmp_path):
    layers = [
        packed_layer([Entry.file("app/packed", FILES["app/packed"], 0o755)], tmp_path / "gzip"),
        plain_layer([Entry.file("data/plain", FILES["data/plain"]), Entry.symlink("data/link", "plain")]),
    ]
    config = ImageConfig(
        Platform("amd64"), env={"A": "b=c"}, entrypoint=("/app/packed",), user="1000", labels={"k": "v"}
    )
    return build_image(config, layers)


def check(engine, name, folder):
    """The engine sees the config, and unpacks the files."""
    form = "{{.Config.Env}} {{.Config.Entrypoint}} {{.Config.User}} {{.Config.Labels}}"
    assert engine.docker("image", "inspect", "--format", form, name) == "[A=b=c] [/app/packed] 1000 map[k:v]"
    container = engine.docker("create", "--network", "host", name)
    try:
        engine.docker("export", "--output", folder / "files.tar", container)
    finally:
        engine.docker("rm", container)
    with tarfile.open(folder / "files.tar") as tar:
        for path, content in FILES.items():
            assert tar.extractfile(path).read() == content
        assert tar.getmember("app/packed").mode & 0o777 == 0o755
        assert tar.getmember("data/link").linkname == "plain"


def test_an_archive_is_loaded(engine, image, tmp_path):
    write_docker_archive(tmp_path / "image.tar", image, Reference.parse("team/loaded:1.0"))
    assert "Loaded image: team/loaded:1.0" in engine.docker("load", "--input", tmp_path / "image.tar")
    check(engine, "team/loaded:1.0", tmp_path)


@pytest.mark.registry
def test_a_pushed_image_is_pulled(engine, registry, image, tmp_path):
    pushed = push_image(image, Reference.parse(f"{registry.host}/team/pulled:1.0"))
    name = f"{registry.host}/team/pulled@{pushed.digest}"
    engine.docker("pull", name)
    check(engine, name, tmp_path)

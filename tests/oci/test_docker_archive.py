"""Archives for engines: what `docker load` finds in them, and what skopeo reads out of them."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from dataclasses import replace

import pytest

from truss.errors import BrokenImageError, ImageError
from truss.oci.config import ImageConfig
from truss.oci.content import Memory
from truss.oci.descriptor import Platform
from truss.oci.docker_archive import archive_blocks, archive_size, write_docker_archive
from truss.oci.image import build_image, build_index
from truss.oci.layer import Entry, packed_layer, plain_layer
from truss.oci.layout import Layout
from truss.oci.reference import Reference
from truss.oci.validation import validate_layout

NAME = Reference.parse("ghcr.io/team/model:1.0")


@pytest.fixture
def image(tmp_path):
    packed = packed_layer([Entry.file("app/x", b"x" * 100_000)], tmp_path / "packed")
    plain = plain_layer([Entry.file("data/w", b"w" * 1000)])
    return build_image(ImageConfig(Platform("amd64"), cmd=("/app/x",)), [packed, plain, plain])


def test_an_archive_holds_what_both_kinds_of_engine_read(tmp_path, image):
    write_docker_archive(tmp_path / "image.tar", image, NAME)
    with tarfile.open(tmp_path / "image.tar") as tar:
        files = {one.name: tar.extractfile(one).read() for one in tar if one.isfile()}
    (docker,) = json.loads(files["manifest.json"])
    assert docker["RepoTags"] == ["ghcr.io/team/model:1.0"]
    assert docker["Config"] == f"blobs/sha256/{image.config_blob.digest.hex}"
    assert docker["Layers"] == [f"blobs/sha256/{layer.digest.hex}" for layer in image.layers]
    (oci,) = json.loads(files["index.json"])["manifests"]
    assert oci["digest"] == str(image.digest)
    assert oci["annotations"]["io.containerd.image.name"] == "ghcr.io/team/model:1.0"
    for path in (docker["Config"], *docker["Layers"], f"blobs/sha256/{image.digest.hex}"):
        assert hashlib.sha256(files[path]).hexdigest() == path.rpartition("/")[2]


def test_an_archive_is_a_layout(tmp_path, image):
    write_docker_archive(tmp_path / "image.tar", image, NAME)
    with tarfile.open(tmp_path / "image.tar") as tar:
        tar.extractall(tmp_path / "layout", filter="data")
    assert validate_layout(tmp_path / "layout").images == 1
    assert Layout.open(tmp_path / "layout").image("1.0").digest == image.digest


def test_the_size_is_known_before(image):
    data = b"".join(archive_blocks(image, NAME))
    assert archive_size(image, NAME) == len(data)
    assert data == b"".join(archive_blocks(image, NAME))


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("python:3", "python:3"),
        ("team/model:1", "team/model:1"),
        ("library/x:1", "x:1"),
        ("localhost:5000/library/x:1", "localhost:5000/library/x:1"),
    ],
)
def test_docker_is_told_names_as_it_shows_them(image, name, shown):
    data = b"".join(archive_blocks(image, Reference.parse(name)))
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert json.load(tar.extractfile("manifest.json"))[0]["RepoTags"] == [shown]


def test_content_that_is_not_what_it_says_leaves_no_archive(tmp_path, image):
    wrong = replace(image.layers[0], content=Memory(bytes(image.layers[0].size)))
    with pytest.raises(BrokenImageError, match="not what its digest says"):
        write_docker_archive(tmp_path / "image.tar", replace(image, layers=(wrong,)), NAME)
    assert [path.name for path in tmp_path.iterdir()] == ["packed"]


def test_a_loaded_image_needs_a_name(image):
    with pytest.raises(ImageError, match="no tag"):
        archive_blocks(image, Reference.parse(f"model@{image.digest}"))


def test_an_archive_is_for_one_platform(image):
    with pytest.raises(ImageError, match="one platform"):
        archive_blocks(build_index([image]), NAME)


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
@pytest.mark.parametrize("transport", ["docker-archive:{0}", "oci-archive:{0}:1.0"])
def test_skopeo_reads_what_is_written(tmp_path, image, transport):
    write_docker_archive(tmp_path / "image.tar", image, NAME)
    source = transport.format(tmp_path / "image.tar")
    command = ["skopeo", "--insecure-policy", "copy", source, f"oci:{tmp_path}/copy:1.0"]
    subprocess.run(command, check=True)
    validate_layout(tmp_path / "copy")
    copy = Layout.open(tmp_path / "copy").image("1.0")
    assert copy.config.diff_ids == image.config.diff_ids
    assert copy.config.cmd == ("/app/x",)

"""Layout folders: written whole, read back, checked to the last byte, and read by skopeo."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace

import pytest

from truss.errors import BrokenImageError, ImageError
from truss.oci.config import ImageConfig
from truss.oci.content import Memory
from truss.oci.descriptor import Blob, Platform
from truss.oci.image import build_artifact, build_image, build_index
from truss.oci.layer import Entry, packed_layer, plain_layer
from truss.oci.layout import Layout, write_layout
from truss.oci.validation import Checked, validate_layout

AMD64 = Platform("amd64")
ARM64 = Platform("arm64")


@pytest.fixture
def image(tmp_path):
    def make(text: str = "x", platform: Platform = AMD64, compression: str = "gzip"):
        entries = [Entry.file("app/x", text.encode() * 1000)]
        packed = packed_layer(entries, tmp_path / f"{text}-{compression}", compression=compression)
        plain = plain_layer([Entry.file("data/w", text.encode())])
        return build_image(ImageConfig(platform, cmd=("/app/x",)), [packed, plain])

    return make


def test_an_image_is_read_back(tmp_path, image):
    built = image()
    layout = write_layout(tmp_path / "layout", built, name="1.0")
    back = layout.image("1.0")
    assert back.digest == built.digest
    assert back.config == built.config
    assert [blob.descriptor for blob in back.layers] == [blob.descriptor for blob in built.layers]
    assert layout.image() == layout.images() == back
    size = sum(blob.size for blob in (*built.blobs, built.manifest))
    assert validate_layout(tmp_path / "layout") == Checked(images=1, blobs=4, bytes=size)


def test_the_same_image_makes_the_same_folder(tmp_path, image):
    for name in ("one", "two"):
        write_layout(tmp_path / name, image())
    files = [
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "two")
    ]
    assert files[0] == files[1]


def test_several_platforms_are_one_image(tmp_path, image):
    index = build_index([image("x"), image("y", ARM64)])
    layout = write_layout(tmp_path / "layout", index)
    assert layout.image(platform=ARM64).digest == index.images[1].digest
    back = layout.images()
    assert back.digest == index.digest
    assert [one.platform for one in back.images] == [AMD64, ARM64]
    assert validate_layout(tmp_path / "layout").images == 2
    with pytest.raises(ImageError, match="several platforms"):
        layout.image()


def test_a_folder_keeps_other_images_and_forgets_the_one_of_the_same_name(tmp_path, image):
    folder = tmp_path / "layout"
    write_layout(folder, image("x"), name="x")
    write_layout(folder, image("y"), name="y")
    layout = write_layout(folder, image("z"), name="x")
    assert layout.image("x").digest == image("z").digest
    assert layout.image("y").digest == image("y").digest
    assert validate_layout(folder).images == 2
    assert not layout.path(image("x").digest).exists()
    with pytest.raises(ImageError) as caught:
        layout.image("other")
    assert caught.value.hint == "it holds y, x"


def test_what_is_attached_goes_along(tmp_path, image):
    built = image()
    bill = build_artifact(built, "application/spdx+json", [Blob.of(b'{"a":1}', "application/spdx+json")])
    layout = write_layout(tmp_path / "layout", built, attached=[bill])
    write_layout(tmp_path / "layout", built, attached=[bill])
    assert [one.artifact_type for one in layout.index.manifests] == ["", "application/spdx+json"]
    assert layout.path(bill.blobs[0].digest).read_bytes() == b'{"a":1}'
    assert layout.image("latest").digest == built.digest
    assert validate_layout(tmp_path / "layout").images == 1


def test_content_that_is_not_what_it_says_leaves_no_folder(tmp_path, image):
    built = image()
    wrong = replace(built.layers[0], content=Memory(b"something else"))
    with pytest.raises(BrokenImageError, match="not what its digest says"):
        write_layout(tmp_path / "layout", replace(built, layers=(wrong, built.layers[1])))
    assert not [path for path in tmp_path.iterdir() if "layout" in path.name]


def test_a_failure_leaves_the_images_of_before(tmp_path, image):
    folder = tmp_path / "layout"
    write_layout(folder, image("x"))
    built = image("y")
    wrong = replace(built.layers[1], content=Memory(b"something else"))
    with pytest.raises(BrokenImageError):
        write_layout(folder, replace(built, layers=(built.layers[0], wrong)))
    assert Layout.open(folder).image().digest == image("x").digest
    validate_layout(folder)


@pytest.mark.parametrize("content", ["a file", "another folder", "another version"])
def test_what_is_no_layout_is_left_alone(tmp_path, image, content):
    folder = tmp_path / "there"
    if content == "a file":
        folder.write_text("mine")
    else:
        folder.mkdir()
        (folder / "oci-layout").write_text('{"imageLayoutVersion":"9"}' if "version" in content else "mine")
    with pytest.raises(ImageError):
        write_layout(folder, image())
    assert folder.is_file() or [path.name for path in folder.iterdir()] == ["oci-layout"]


def test_an_empty_folder_becomes_a_layout(tmp_path, image):
    (tmp_path / "layout").mkdir()
    write_layout(tmp_path / "layout", image())
    validate_layout(tmp_path / "layout")


def damage_bytes(layout, built):
    path = layout.path(built.layers[0].digest)
    path.write_bytes(b"\0" + path.read_bytes()[1:])


def damage_size(layout, built):
    path = layout.path(built.config_blob.digest)
    path.write_bytes(path.read_bytes() + b" ")


def lose(layout, built):
    layout.path(built.layers[1].digest).unlink()


@pytest.mark.parametrize(
    ("damage", "found"),
    [(damage_bytes, "not what its digest says"), (damage_size, "bytes instead of"), (lose, "is missing")],
)
def test_damage_is_found(tmp_path, image, damage, found):
    built = image()
    layout = write_layout(tmp_path / "layout", built)
    damage(layout, built)
    with pytest.raises(BrokenImageError, match=found):
        validate_layout(tmp_path / "layout")


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_config_that_lists_other_archives_is_found(tmp_path, image, compression):
    built = image(compression=compression)
    validate_layout(write_layout(tmp_path / "right", built).folder)
    wrong = tuple(reversed(built.config.diff_ids))
    config = replace(built.config, diff_ids=wrong)
    blob = Blob.of(config.to_bytes(), built.config_blob.descriptor.media_type)
    document = json.loads(built.manifest.read())
    document["config"] = blob.descriptor.to_json()
    manifest = Blob.of(json.dumps(document).encode(), built.manifest.descriptor.media_type)
    write_layout(tmp_path / "layout", replace(built, config=config, config_blob=blob, manifest=manifest))
    with pytest.raises(BrokenImageError, match="diff ID") as caught:
        validate_layout(tmp_path / "layout")
    assert caught.value.message.count("diff ID") == 2


@pytest.mark.skipif(shutil.which("skopeo") is None, reason="skopeo is not installed")
def test_skopeo_reads_what_is_written(tmp_path, image):
    index = build_index([image("x"), image("y", ARM64)])
    write_layout(tmp_path / "layout", index, name="1.0")
    command = ["skopeo", "--insecure-policy", "copy", "--all", "--preserve-digests"]
    subprocess.run([*command, f"oci:{tmp_path}/layout:1.0", f"oci:{tmp_path}/copy:1.0"], check=True)
    assert Layout.open(tmp_path / "copy").images("1.0").digest == index.digest
    validate_layout(tmp_path / "copy")

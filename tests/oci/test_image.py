"""Images: documents with one form each, bases that are taken over, indexes that are asked for a platform."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from truss.errors import BrokenImageError, ImageError
from truss.oci.config import History, ImageConfig
from truss.oci.descriptor import Blob, Descriptor, Platform
from truss.oci.digest import Digest
from truss.oci.image import build_artifact, build_image, build_index
from truss.oci.layer import Entry, plain_layer
from truss.oci.manifest import Index, Manifest
from truss.oci.media_types import DOCKER_MANIFEST, MANIFEST

AMD64 = Platform("amd64")
ARM64 = Platform("arm64")


def layer(text: str = "x"):
    return plain_layer([Entry.file("app/x", text.encode())], created_by=f"add {text}")


def image(platform: Platform = AMD64, **settings):
    return build_image(ImageConfig(platform, **settings), [layer()])


texts = st.text(max_size=10)
words = st.tuples(texts, texts)
names = st.text(st.characters(codec="utf-8", exclude_characters="="), min_size=1, max_size=10)
digests = st.binary(max_size=4).map(Digest.of)
mappings = st.dictionaries(texts, texts, max_size=3)
descriptors = st.builds(
    Descriptor, texts, digests, st.integers(0, 2**60), mappings, st.none() | st.just(AMD64), texts
)
configs = st.builds(
    ImageConfig,
    st.builds(Platform, texts, texts, texts),
    env=st.dictionaries(names, texts, max_size=3),
    entrypoint=words,
    cmd=words,
    working_dir=texts,
    user=texts,
    ports=st.sets(texts, max_size=3).map(sorted).map(tuple),
    labels=mappings,
    stop_signal=texts,
    created=st.text(min_size=1),
    diff_ids=st.tuples(digests),
    history=st.tuples(st.builds(History, texts, texts, st.booleans(), texts)),
    others=st.just({"Healthcheck": {"Test": ["NONE"]}}),
)


@given(configs)
def test_a_config_is_read_back_and_has_one_form(config):
    assert ImageConfig.parse(config.to_bytes()) == config
    assert ImageConfig.parse(config.to_bytes()).to_bytes() == config.to_bytes()


@given(st.builds(Manifest, descriptors, st.tuples(descriptors), mappings, texts, st.none() | descriptors))
def test_a_manifest_is_read_back(manifest):
    assert Manifest.parse(manifest.to_bytes()) == manifest


@given(st.builds(Index, st.lists(descriptors, max_size=3).map(tuple), mappings))
def test_an_index_is_read_back(index):
    assert Index.parse(index.to_bytes()) == index


@given(st.dictionaries(texts, texts, min_size=2), st.randoms())
def test_the_order_in_which_labels_are_given_is_not_seen(labels, random):
    shuffled = list(labels.items())
    random.shuffle(shuffled)
    assert image(labels=labels).digest == image(labels=dict(shuffled)).digest


def test_text_that_no_document_can_hold_is_refused():
    with pytest.raises(ImageError, match="no valid text"):
        image(env={"A": "\udc80"})


def test_a_config_says_what_engines_read():
    built = image(
        env={"PATH": "/bin", "A": "b=c"},
        entrypoint=("python", "-m", "truss.runtime"),
        cmd=("serve",),
        working_dir="/app",
        user="1000:0",
        ports=("8080/tcp",),
        labels={"k": "v"},
        stop_signal="SIGTERM",
    )
    assert json.loads(built.config_blob.read()) == {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": {
            "Env": ["PATH=/bin", "A=b=c"],
            "Entrypoint": ["python", "-m", "truss.runtime"],
            "Cmd": ["serve"],
            "WorkingDir": "/app",
            "User": "1000:0",
            "ExposedPorts": {"8080/tcp": {}},
            "Labels": {"k": "v"},
            "StopSignal": "SIGTERM",
        },
        "rootfs": {"type": "layers", "diff_ids": [str(layer().diff_id)]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "add x"}],
    }


def test_an_image_stands_on_its_base():
    base = image(env={"PATH": "/bin"}, others={"Healthcheck": {"Test": ["NONE"]}})
    top = layer("y")
    built = build_image(replace(base.config, user="1000"), [top], base=base)
    assert built.layers == (*base.layers, top.blob)
    assert built.config.diff_ids == (*base.config.diff_ids, top.diff_id)
    assert [step.created_by for step in built.config.history] == ["add x", "add y"]
    assert built.config.env == {"PATH": "/bin"}
    assert built.config.others == {"Healthcheck": {"Test": ["NONE"]}}


def test_the_names_docker_has_for_layers_become_those_of_oci():
    base = image()
    docker = replace(
        base.layers[0].descriptor, media_type="application/vnd.docker.image.rootfs.diff.tar.gzip"
    )
    base = replace(base, layers=(replace(base.layers[0], descriptor=docker),))
    built = build_image(base.config, [], base=base)
    assert built.layers[0].descriptor.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert built.layers[0].digest == base.layers[0].digest


def test_layers_that_may_not_be_distributed_are_refused():
    base = image()
    foreign = replace(
        base.layers[0].descriptor, media_type="application/vnd.oci.image.layer.nondistributable.v1.tar"
    )
    base = replace(base, layers=(replace(base.layers[0], descriptor=foreign),))
    with pytest.raises(BrokenImageError, match="nondistributable"):
        build_image(base.config, [], base=base)


def test_a_base_without_history_gets_a_step_for_each_layer():
    base = image()
    base = replace(base, config=replace(base.config, history=(History("FROM x", empty=True),)))
    built = build_image(base.config, [layer("y")], base=base)
    assert [step.empty for step in built.config.history] == [False, False]


def test_engines_stack_only_so_many_layers():
    with pytest.raises(ImageError, match="128 layers"):
        build_image(ImageConfig(AMD64), [layer()] * 128)


def test_a_base_for_another_platform_is_refused():
    with pytest.raises(ImageError, match="linux/arm64"):
        build_image(ImageConfig(AMD64), [], base=image(ARM64))


def test_an_index_is_asked_for_a_platform():
    index = build_index([image(ARM64), image(AMD64)])
    assert [str(one.platform) for one in index.images] == ["linux/amd64", "linux/arm64"]
    document = Index.parse(index.manifest.read())
    assert document.for_platform(ARM64).digest == image(ARM64).digest
    assert document.for_platform(Platform("arm64", variant="v8")).digest == image(ARM64).digest
    with pytest.raises(BrokenImageError) as caught:
        document.for_platform(Platform("s390x"))
    assert caught.value.hint == "it is there for linux/amd64, linux/arm64"


def test_the_exact_variant_is_preferred():
    six, seven = (replace(image().descriptor, platform=Platform("arm", variant=one)) for one in ("v6", "v7"))
    assert Index((six, seven)).for_platform(Platform("arm", variant="v7")) is seven


@pytest.mark.parametrize("images", [[], [image(), image()]])
def test_an_index_has_one_image_for_each_platform(images):
    with pytest.raises(ImageError, match="one image per platform"):
        build_index(images)


def test_an_artifact_says_what_it_is_and_what_it_is_attached_to():
    subject = image()
    bill = Blob.of(b"{}", "application/spdx+json")
    artifact = build_artifact(subject, "application/spdx+json", [bill], annotations={"k": "v"})
    document = Manifest.parse(artifact.manifest.read())
    assert document.subject is not None
    assert document.subject.digest == subject.digest
    assert document.artifact_type == artifact.descriptor.artifact_type == "application/spdx+json"
    assert {blob.digest for blob in artifact.blobs} == {Digest.of(b"{}")}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        b"{}",
        b'{"schemaVersion": 1}',
        b'{"schemaVersion": 2, "layers": []}',
        b'{"schemaVersion": 2, "layers": [], "config": {"mediaType": "x", "digest": "sha256:0", "size": 1}}',
        b'{"schemaVersion": 2, "layers": [], "config": {"mediaType": "x", "size": -1}}',
        b'{"schemaVersion": 2, "layers": [], "config": 1}',
    ],
)
def test_what_is_no_manifest_is_refused(data):
    with pytest.raises(BrokenImageError):
        Manifest.parse(data)
    with pytest.raises(BrokenImageError):
        Index.parse(data)


def test_an_index_is_no_manifest():
    with pytest.raises(BrokenImageError):
        Manifest.parse(build_index([image()]).manifest.read())


@pytest.mark.parametrize("data", [b"", b"[]", b'{"config": 1}', b'{"rootfs": {"diff_ids": [1]}}'])
def test_what_is_no_config_is_refused(data):
    with pytest.raises(BrokenImageError):
        ImageConfig.parse(data)


def test_manifests_of_docker_are_read():
    manifest = replace(Manifest.parse(image().manifest.read()), media_type=DOCKER_MANIFEST)
    assert Manifest.parse(manifest.to_bytes()).media_type == DOCKER_MANIFEST
    assert image().manifest.descriptor.media_type == MANIFEST


@pytest.mark.parametrize("text", ["linux", "linux/", "/amd64", "a/b/c/d", ""])
def test_what_is_no_platform_is_refused(text):
    with pytest.raises(BrokenImageError):
        Platform.parse(text)


def test_a_platform_is_read_back_from_its_text():
    for text in ("linux/amd64", "linux/arm/v7"):
        assert str(Platform.parse(text)) == text

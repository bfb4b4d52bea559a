"""Layers that the registry has in another repository are not sent again."""

import pytest

from truss.build import LayerCache
from truss.build.pushes import push
from truss.oci import Entry, ImageConfig, Platform, Reference, build_image, build_index
from truss.testing.registry import running_registry

pytestmark = pytest.mark.registry


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture
def cache(tmp_path):
    return LayerCache(tmp_path / "cache")


def image_of(cache, text, processor="amd64"):
    shared = cache.layer([Entry.file("/lib/shared", b"shared" * 1000)], "shared")
    own = cache.layer([Entry.file("/app/own", text.encode())], "own")
    return build_image(ImageConfig(Platform(processor)), [shared, own])


def how(pushed):
    return [one.how for one in pushed.blobs]


def test_a_second_model_takes_over_what_the_first_one_has(registry, cache):
    first, second = image_of(cache, "one"), image_of(cache, "two")
    push(first, Reference.parse(f"{registry.host}/one:1"), cache)
    pushed = push(second, Reference.parse(f"{registry.host}/two:1"), cache)
    assert how(pushed) == ["mounted", "uploaded", "uploaded"]  # the last one is the config
    again = push(second, Reference.parse(f"{registry.host}/three:1"), cache)
    assert how(again)[:2] == ["mounted", "mounted"]
    assert pushed.digest == again.digest


def test_platforms_of_one_image_share_what_is_remembered(registry, cache):
    index = build_index([image_of(cache, "same", processor) for processor in ("amd64", "arm64")])
    push(index, Reference.parse(f"{registry.host}/index:1"), cache)
    assert how(push(index, Reference.parse(f"{registry.host}/index-2:1"), cache)).count("mounted") == 2


def test_what_is_remembered_wrongly_is_sent(registry, cache):
    image = image_of(cache, "alone")
    for layer in image.layers:
        cache.note_repository(registry.host, layer.digest, "no/such/repository")
    pushed = push(image, Reference.parse(f"{registry.host}/alone:1"), cache)
    assert how(pushed)[1] == "uploaded"
    assert cache.repository_of(registry.host, image.layers[1].digest) == "alone"


def test_each_registry_is_remembered_by_itself(registry, cache):
    image = image_of(cache, "here")
    push(image, Reference.parse(f"{registry.host}/here:1"), cache)
    assert cache.repository_of("elsewhere.example", image.layers[0].digest) is None

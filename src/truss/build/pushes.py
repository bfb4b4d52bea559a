"""Pushing images of Trusses, and remembering where their layers are.

The layers that two models share need not go to a registry twice: it takes them over from the repository of
the first into that of the second. Which repository that is, only somebody knows who was there. How far the
upload of a large file came is noted too, so that a push that was interrupted goes on there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from truss.build.cache import LayerCache
from truss.oci import (
    Artifact,
    Blob,
    Credentials,
    Digest,
    Image,
    ImageIndex,
    Progress,
    Pushed,
    Reference,
    Registry,
    Repository,
    push_image,
)
from truss.oci.credentials import Found
from truss.oci.sessions import Sessions


def reach(destination: Reference) -> None:
    """Ask a registry something as who is about to push: an image that it will not take need not be built.

    Raises:
        RegistryError: it cannot be reached, or refuses.
    """
    repository = destination.repository
    remote = Registry(repository.registry).repository(repository.name, push=True)
    remote.has_blob(Digest.of(b""))  # whether it has that is nothing to us


def push(
    image: Image | ImageIndex,
    destination: Reference,
    cache: LayerCache,
    attached: Sequence[Artifact] = (),
    *,
    progress: Callable[[Progress], None] | None = None,
    credentials: Credentials | None = None,
) -> Pushed:
    """Push an image; layers that were pushed to the same registry before are taken over from there.

    Args:
        image: What.
        destination: Where to.
        cache: Where it is remembered which layers are where.
        attached: What goes along with it.
        progress: Told of every step, by one thread at a time.
        credentials: Who we are to the registry; default: those that Docker and Podman keep.

    Raises:
        ImageError: as `push_image`, or the cache cannot be written.
    """
    repository = destination.repository
    registry = None
    if credentials is not None:
        found = Found(credentials)
        registry = Registry(repository.registry, find=lambda _: found)
    known = _with_origins(image, repository.registry, cache)
    pushed = push_image(
        known,
        destination,
        attached=attached,
        registry=registry,
        progress=progress,
        sessions=Sessions(cache.folder / "uploads"),
    )
    for layer in _layers(image):
        cache.note_repository(repository.registry, layer.digest, repository.name)
    return pushed


def _with_origins(image: Image | ImageIndex, registry: str, cache: LayerCache) -> Image | ImageIndex:
    """The same image, whose layers know where the registry has them."""
    if isinstance(image, ImageIndex):
        return replace(image, images=tuple(_known(one, registry, cache) for one in image.images))
    return _known(image, registry, cache)


def _known(image: Image, registry: str, cache: LayerCache) -> Image:
    return replace(image, layers=tuple(_from(layer, registry, cache) for layer in image.layers))


def _from(layer: Blob, registry: str, cache: LayerCache) -> Blob:
    if layer.origin is not None and layer.origin.registry == registry:
        return layer
    name = cache.repository_of(registry, layer.digest)
    return layer if name is None else replace(layer, origin=Repository(registry, name))


def _layers(image: Image | ImageIndex) -> list[Blob]:
    images = image.images if isinstance(image, ImageIndex) else (image,)
    return [layer for one in images for layer in one.layers]

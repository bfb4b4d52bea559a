"""Pulling: the documents of an image at once, its layers when somebody reads them."""

from __future__ import annotations

from dataclasses import dataclass

from truss.errors import ImageError
from truss.oci.config import ImageConfig
from truss.oci.descriptor import Blob, Platform
from truss.oci.image import Image
from truss.oci.manifest import Index, Manifest
from truss.oci.media_types import INDEXES
from truss.oci.reference import Reference
from truss.oci.registry import Registry, RemoteRepository


@dataclass(frozen=True)
class Pulled:
    """An image that a registry has.

    Attributes:
        image: The image for one platform; its layers are read from the registry when they are needed.
        reference: The name it was asked for by, with the digest of what that names: of the index, where the
            image is there for several platforms.
    """

    image: Image
    reference: Reference


def pull_image(reference: Reference, platform: Platform, *, registry: Registry | None = None) -> Pulled:
    """Find an image in a registry; no layer is transferred.

    Args:
        reference: Which.
        platform: For which platform.
        registry: The registry to use; by default a new connection to the reference's.

    Raises:
        ImageNotFoundError: There is none.
        BrokenImageError: It does not run on the platform, or is not what its digest says.
        RegistryAuthError: The registry wants other credentials.
        RegistryError: The registry cannot be used.
    """
    registry = registry or Registry(reference.repository.registry)
    repository = registry.repository(reference.repository.name)
    named = repository.manifest(reference.version)
    image = _image(repository, _for_platform(repository, named, platform))
    if not platform.runs(image.platform):
        raise ImageError(
            f"the image runs on {image.platform}, not on {platform}",
            where=str(reference),
            hint="it is there for one platform only",
        )
    return Pulled(image, reference.at(named.digest))


def _for_platform(repository: RemoteRepository, named: Blob, platform: Platform) -> Blob:
    if named.descriptor.media_type not in INDEXES:
        return named
    chosen = Index.parse(named.read()).for_platform(platform)
    return repository.manifest(str(chosen.digest))


def _image(repository: RemoteRepository, manifest: Blob) -> Image:
    document = Manifest.parse(manifest.read())
    config = Blob.of(repository.blob(document.config).read(), document.config.media_type)
    layers = tuple(repository.blob(layer) for layer in document.layers)
    return Image(manifest, ImageConfig.parse(config.read()), config, layers)

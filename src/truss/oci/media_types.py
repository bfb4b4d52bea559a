"""Media types: what OCI calls the parts of an image, and what Docker called the same parts before."""

from __future__ import annotations

from typing import Final

from truss.errors import BrokenImageError
from truss.oci.compression import Compression

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
EMPTY: Final = "application/vnd.oci.empty.v1+json"

DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"

INDEXES: Final = (INDEX, DOCKER_INDEX)
MANIFESTS: Final = (MANIFEST, DOCKER_MANIFEST)

LAYER: Final[dict[Compression, str]] = {
    "none": "application/vnd.oci.image.layer.v1.tar",
    "gzip": "application/vnd.oci.image.layer.v1.tar+gzip",
    "zstd": "application/vnd.oci.image.layer.v1.tar+zstd",
}
_DOCKER_LAYER: Final[dict[str, Compression]] = {
    "application/vnd.docker.image.rootfs.diff.tar": "none",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": "zstd",
}


def layer_compression(media_type: str) -> Compression:
    """How a layer of `media_type` is compressed.

    Raises:
        BrokenImageError: It is no type of a layer that an image may carry along.
    """
    for compression, name in LAYER.items():
        if media_type == name:
            return compression
    if media_type in _DOCKER_LAYER:
        return _DOCKER_LAYER[media_type]
    raise BrokenImageError(
        f"layers of the media type '{media_type}' cannot be used",
        hint="only tar layers that may be distributed can, plain or compressed with gzip or zstd",
    )


def oci_layer(media_type: str) -> str:
    """The name that OCI has for a layer's media type; the bytes it names are the same.

    Raises:
        BrokenImageError: As `layer_compression`.
    """
    return LAYER[layer_compression(media_type)]

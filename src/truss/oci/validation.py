"""Checking a layout folder: every digest, size and diff ID is computed again from what is there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from truss.errors import BrokenImageError, ImageError
from truss.oci.compression import decompressed
from truss.oci.config import ImageConfig
from truss.oci.descriptor import Descriptor
from truss.oci.digest import Digest, measure
from truss.oci.layout import Layout
from truss.oci.manifest import Index, Manifest
from truss.oci.media_types import CONFIG, INDEXES, MANIFESTS, layer_compression

_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


@dataclass(frozen=True)
class Checked:
    """What was found to be right.

    Attributes:
        images: How many images, one for each platform counted by itself.
        blobs: How many different contents.
        bytes: Their sizes together.
    """

    images: int
    blobs: int
    bytes: int


def validate_layout(folder: Path) -> Checked:
    """Check all that a layout's index names: it is there, and is what its digest, size and diff ID say.

    Raises:
        BrokenImageError: Something is not; the message lists everything that was found.
        ImageError: The folder is no layout.
    """
    check = _Check(Layout.open(folder))
    problems = list(check.manifests(check.layout.index.manifests))
    if problems:
        raise BrokenImageError("the layout is broken:\n" + "\n".join(problems), where=str(folder))
    return Checked(check.images, len(check.sizes), sum(check.sizes.values()))


class _Check:
    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.images = 0
        self.sizes: dict[Digest, int] = {}
        self._diff_ids: dict[Digest, Digest] = {}

    def manifests(self, descriptors: tuple[Descriptor, ...]) -> Iterator[str]:
        """The problems of all that `descriptors` name."""
        for descriptor in descriptors:
            yield from self._manifest(descriptor)

    def _manifest(self, descriptor: Descriptor) -> Iterator[str]:
        try:
            yield from self._document(descriptor)
        except ImageError as error:
            yield f"{descriptor.digest}: {error.message}"

    def _document(self, descriptor: Descriptor) -> Iterator[str]:
        if (problem := self._content(descriptor)) is not None:
            yield problem
        elif descriptor.media_type in INDEXES:
            index = Index.parse(self.layout.blob(descriptor).read())
            yield from self.manifests(index.manifests)
        elif descriptor.media_type in MANIFESTS:
            yield from self._parts(Manifest.parse(self.layout.blob(descriptor).read()))

    def _parts(self, manifest: Manifest) -> Iterator[str]:
        problems = [self._content(part) for part in (manifest.config, *manifest.layers)]
        found = [problem for problem in problems if problem is not None]
        yield from found
        if not found and manifest.config.media_type in (CONFIG, _DOCKER_CONFIG):
            self.images += 1
            yield from self._layers(manifest)

    def _layers(self, manifest: Manifest) -> Iterator[str]:
        """Whether the archives are those that the config lists."""
        config = ImageConfig.parse(self.layout.blob(manifest.config).read())
        if len(config.diff_ids) != len(manifest.layers):
            yield (
                f"{manifest.config.digest}: lists {len(config.diff_ids)} layers, "
                f"the manifest {len(manifest.layers)}"
            )
            return
        for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True):
            found = self._diff_id(layer)
            if found != diff_id:
                yield f"{layer.digest}: the archive's diff ID is {found}, the config says {diff_id}"

    def _content(self, descriptor: Descriptor) -> str | None:
        """What is wrong with one content; each is read once."""
        if self.sizes.get(descriptor.digest) == descriptor.size:
            return None
        try:
            for _ in self.layout.blob(descriptor).checked_blocks():
                pass
        except ImageError as error:
            return f"{descriptor.digest}: {error.message}"
        self.sizes[descriptor.digest] = descriptor.size
        return None

    def _diff_id(self, layer: Descriptor) -> Digest:
        if layer.digest not in self._diff_ids:
            blocks = self.layout.blob(layer).content.blocks()
            digest, _ = measure(decompressed(blocks, layer_compression(layer.media_type)))
            self._diff_ids[layer.digest] = digest
        return self._diff_ids[layer.digest]

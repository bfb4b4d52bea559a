"""Images put together: layers, a config and a manifest for each platform, an index over several.

Everything is a frozen value. What is built from the same parts has the same digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from truss.errors import ImageError
from truss.oci.config import History, ImageConfig
from truss.oci.descriptor import Blob, Descriptor, Platform
from truss.oci.digest import Digest
from truss.oci.layer import Layer
from truss.oci.manifest import Index, Manifest
from truss.oci.media_types import CONFIG, EMPTY, INDEX, MANIFEST, oci_layer

MAX_LAYERS = 127
"""How many layers engines can stack."""


@dataclass(frozen=True)
class Image:
    """An image for one platform.

    Attributes:
        manifest: The document that lists its parts.
        config: How a container of it starts.
        config_blob: The same, as it is stored.
        layers: Its layers, the lowest first.
    """

    manifest: Blob
    config: ImageConfig
    config_blob: Blob
    layers: tuple[Blob, ...]

    @property
    def digest(self) -> Digest:
        """What names exactly this image."""
        return self.manifest.digest

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return self.config.platform

    @property
    def descriptor(self) -> Descriptor:
        """What points at it, with its platform."""
        return replace(self.manifest.descriptor, platform=self.platform)

    @property
    def blobs(self) -> tuple[Blob, ...]:
        """All that a manifest needs to be there before it: layers, then the config."""
        return (*self.layers, self.config_blob)


@dataclass(frozen=True)
class ImageIndex:
    """The same image for several platforms.

    Attributes:
        manifest: The index, as a document.
        images: One for each platform.
    """

    manifest: Blob
    images: tuple[Image, ...]

    @property
    def digest(self) -> Digest:
        """What names exactly these images."""
        return self.manifest.digest

    @property
    def descriptor(self) -> Descriptor:
        """What points at it."""
        return self.manifest.descriptor


@dataclass(frozen=True)
class Artifact:
    """What is attached to an image: a bill of materials, a statement of how it was made, a signature.

    Attributes:
        manifest: The document that lists its parts and what it is attached to.
        blobs: Its parts.
        subject: What it is attached to.
    """

    manifest: Blob
    blobs: tuple[Blob, ...]
    subject: Descriptor

    @property
    def digest(self) -> Digest:
        """What names exactly this artifact."""
        return self.manifest.digest

    @property
    def descriptor(self) -> Descriptor:
        """What points at it, with what it is."""
        described = Manifest.parse(self.manifest.read())
        return replace(
            self.manifest.descriptor,
            artifact_type=described.artifact_type,
            annotations=described.annotations,
        )


def build_image(
    config: ImageConfig,
    layers: Sequence[Layer],
    *,
    base: Image | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Image:
    """An image of `layers` on top of `base`.

    Args:
        config: How a container starts. Its layers and history are found here; what else a base sets, it
            must take over itself: begin with `dataclasses.replace(base.config, ...)`.
        layers: What is added, the lowest first.
        base: What it stands on; its layers are used as they are.
        annotations: Names and texts about the image.

    Raises:
        ImageError: There are more layers than engines can stack, or `base` is for another platform.
    """
    below = base.config if base is not None else ImageConfig(config.platform)
    if not config.platform.runs(below.platform):
        raise ImageError(f"the base is for {below.platform}, the image for {config.platform}")
    stack = [
        *(_as_oci(blob) for blob in (base.layers if base is not None else ())),
        *(one.blob for one in layers),
    ]
    if len(stack) > MAX_LAYERS:
        raise ImageError(
            f"the image would have {len(stack)} layers; engines stack up to {MAX_LAYERS}",
            hint="put more files into one layer",
        )
    whole = replace(
        config,
        diff_ids=(*below.diff_ids, *(layer.diff_id for layer in layers)),
        history=(*_history(below), *(History(layer.created_by, config.created) for layer in layers)),
    )
    config_blob = Blob.of(whole.to_bytes(), CONFIG)
    document = Manifest(config_blob.descriptor, tuple(blob.descriptor for blob in stack), annotations or {})
    return Image(Blob.of(document.to_bytes(), MANIFEST), whole, config_blob, tuple(stack))


def build_index(images: Sequence[Image], *, annotations: Mapping[str, str] | None = None) -> ImageIndex:
    """An index over one image per platform, in the order of the platforms' names.

    Raises:
        ImageError: Two are for the same platform, or there are none.
    """
    ordered = sorted(images, key=lambda image: str(image.platform))
    platforms = [str(image.platform) for image in ordered]
    if not ordered or len(set(platforms)) != len(platforms):
        raise ImageError(f"an index needs one image per platform, not {platforms}")
    document = Index(tuple(image.descriptor for image in ordered), annotations or {})
    return ImageIndex(Blob.of(document.to_bytes(), INDEX), tuple(ordered))


def build_artifact(
    subject: Image | ImageIndex,
    artifact_type: str,
    blobs: Sequence[Blob],
    *,
    annotations: Mapping[str, str] | None = None,
) -> Artifact:
    """What is attached to `subject`: `blobs`, which are of the kind `artifact_type`."""
    nothing = Blob.of(b"{}", EMPTY)
    attached_to = subject.manifest.descriptor
    document = Manifest(
        nothing.descriptor,
        tuple(blob.descriptor for blob in blobs),
        annotations or {},
        artifact_type,
        attached_to,
    )
    return Artifact(Blob.of(document.to_bytes(), MANIFEST), (*blobs, nothing), attached_to)


def _as_oci(blob: Blob) -> Blob:
    """The layer under OCI's name for its type: some engines refuse a manifest that mixes names."""
    descriptor = replace(blob.descriptor, media_type=oci_layer(blob.descriptor.media_type))
    return replace(blob, descriptor=descriptor)


def _history(config: ImageConfig) -> tuple[History, ...]:
    """The history of a base, with a step for each layer: engines refuse an image where the numbers differ."""
    layers = sum(not step.empty for step in config.history)
    if layers == len(config.diff_ids):
        return config.history
    return tuple(History("base", config.created) for _ in config.diff_ids)

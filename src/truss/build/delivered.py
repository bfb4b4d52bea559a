"""What a finished image consists of, whoever built it: its digest and its layers.

Of an image that an engine built, the registry that got it knows, or the archive that the engine wrote.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from truss.errors import ImageError
from truss.oci import Image, ImageConfig, Platform, Reference
from truss.oci.pull import pull_image


@dataclass(frozen=True)
class LaidLayer:
    """A layer of a finished image.

    Attributes:
        digest: Its digest, as it lies in the registry or the archive.
        size: Its bytes there.
        created_by: What the image's history says of it.
    """

    digest: str
    size: int
    created_by: str


@dataclass(frozen=True)
class Delivered:
    """An image that an engine built and handed over.

    Attributes:
        digest: The digest of its manifest; empty where nobody says it.
        layers: Its layers, the lowest first; None where nobody says them.
    """

    digest: str
    layers: tuple[LaidLayer, ...] | None


def laid_layers(image: Image) -> tuple[LaidLayer, ...]:
    """The layers of an image, the lowest first."""
    sizes = [(str(layer.digest), layer.size) for layer in image.layers]
    return _with_history(sizes, image.config)


def in_registry(name: str, digest: str, platform: Platform) -> Delivered:
    """What the registry says of an image that an engine pushed.

    The engine may know the registry by settings that we do not read: then nothing is said of the layers.

    Args:
        name: What it was pushed as.
        digest: Its digest, as the engine says it; empty where it does not.
        platform: For which platform it is.
    """
    named = f"{name}@{digest}" if digest else name
    try:
        pulled = pull_image(Reference.parse(named), platform)
    except ImageError:
        return Delivered(digest, None)
    return Delivered(str(pulled.reference.digest), laid_layers(pulled.image))


def in_archive(file: Path) -> Delivered:
    """What an archive that an engine wrote (`docker save`) says of its one image.

    Docker's own `manifest.json` is in each; the digest of a manifest only in those that are OCI layouts too.
    Of an archive of another kind nothing is said.
    """
    try:
        return _archived(file)
    except (KeyError, TypeError, ValueError, tarfile.TarError, ImageError):
        return Delivered("", None)


def _archived(file: Path) -> Delivered:
    with tarfile.open(file) as archive:
        names = frozenset(archive.getnames())
        (described,) = _json(archive, "manifest.json")
        config = ImageConfig.parse(_read(archive, described["Config"]))
        sizes = list(_sizes(archive, described["Layers"], config))
        listed = _json(archive, "index.json")["manifests"] if "index.json" in names else []
    digest = str(listed[0]["digest"]) if len(listed) == 1 else ""
    return Delivered(digest, _with_history(sizes, config))


def _sizes(archive: tarfile.TarFile, paths: Sequence[str], config: ImageConfig) -> Iterator[tuple[str, int]]:
    """Digests and sizes of an archive's layers; those that it does not name by digest are not compressed."""
    for path, diff_id in zip(paths, config.diff_ids, strict=True):
        place = PurePosixPath(path)
        digest = f"{place.parent.name}:{place.name}" if place.parts[0] == "blobs" else str(diff_id)
        content = archive.extractfile(path)  # follows the links of older engines
        assert content is not None, path
        yield digest, content.seek(0, 2)


def _with_history(sizes: Sequence[tuple[str, int]], config: ImageConfig) -> tuple[LaidLayer, ...]:
    steps = [step.created_by for step in config.history if not step.empty]
    said = steps if len(steps) == len(sizes) else [""] * len(sizes)
    return tuple(LaidLayer(*measured, step) for measured, step in zip(sizes, said, strict=True))


def _json(archive: tarfile.TarFile, path: str) -> Any:
    return json.loads(_read(archive, path))


def _read(archive: tarfile.TarFile, path: str) -> bytes:
    content = archive.extractfile(path)
    assert content is not None, path
    return content.read()

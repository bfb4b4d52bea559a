"""Descriptors, which point at content by digest, and blobs: descriptors with their content at hand."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from truss.errors import BrokenImageError, ImageError
from truss.oci.content import Content, Memory
from truss.oci.digest import Digest, Meter
from truss.oci.files import written
from truss.oci.reference import Repository


def canonical_json(value: object) -> bytes:
    """`value` as JSON: sorted keys, no spaces, UTF-8; one value has one form.

    Raises:
        ImageError: It holds what UTF-8 cannot say, e.g. a variable of another encoding.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        shown = text[max(0, error.start - 20) : error.start + 20]
        raise ImageError(f"a document of the image would hold what is no valid text: {shown!r}") from error


def json_object(data: bytes, what: str) -> dict[str, Any]:
    """The JSON object that `data` is.

    Raises:
        BrokenImageError: It is none; `what` says what it should have been.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise BrokenImageError(f"{what} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise BrokenImageError(f"{what} is not a JSON object")
    return document


@dataclass(frozen=True)
class Platform:
    """What an image runs on.

    Attributes:
        architecture: In Go's words: `amd64`, `arm64`.
        os: The same: `linux`.
        variant: Of the architecture, where it has some: `v8`; empty when it does not matter.
    """

    architecture: str
    os: str = "linux"
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read `os/architecture[/variant]`, e.g. `linux/arm64`.

        Raises:
            BrokenImageError: It is of another form.
        """
        parts = text.split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise BrokenImageError(f"'{text}' is not a platform", hint="write it like linux/amd64")
        return cls(parts[1], parts[0], parts[2] if len(parts) == 3 else "")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Platform:
        """What a descriptor or a config says."""
        return cls(str(data.get("architecture", "")), str(data.get("os", "")), str(data.get("variant", "")))

    def to_json(self) -> dict[str, str]:
        """As descriptors and configs have it."""
        variant = {"variant": self.variant} if self.variant else {}
        return {"architecture": self.architecture, "os": self.os, **variant}

    def runs(self, other: Platform) -> bool:
        """Whether an image for `other` runs here: the same, or of a variant that one of both leaves open."""
        same = (self.os, self.architecture) == (other.os, other.architecture)
        return same and (self.variant == other.variant or not self.variant or not other.variant)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


@dataclass(frozen=True)
class Descriptor:
    """Points at content.

    Attributes:
        media_type: What the content is.
        digest: The hash of it.
        size: How many bytes it has.
        annotations: Names and texts that come with the pointer.
        platform: For manifests in an index: what the image runs on.
        artifact_type: For manifests of what is no image: what it is.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    artifact_type: str = ""

    @classmethod
    def from_json(cls, data: object) -> Descriptor:
        """What a manifest or an index says.

        Raises:
            BrokenImageError: It lacks a digest, a size or a media type, or one of them is not one.
        """
        if not isinstance(data, dict) or not isinstance(data.get("mediaType"), str):
            raise BrokenImageError("a descriptor without a media type")
        size = data.get("size")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise BrokenImageError(f"a descriptor's size is {size!r}", hint="it must be a number of bytes")
        platform = data.get("platform")
        return cls(
            data["mediaType"],
            Digest.parse(str(data.get("digest", ""))),
            size,
            dict(data.get("annotations") or {}),
            Platform.from_json(platform) if isinstance(platform, dict) else None,
            str(data.get("artifactType") or ""),
        )

    def to_json(self) -> dict[str, Any]:
        """As manifests and indexes have it; what is empty is left out."""
        data: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        if self.platform is not None:
            data["platform"] = self.platform.to_json()
        if self.artifact_type:
            data["artifactType"] = self.artifact_type
        return data

    def annotated(self, **annotations: str) -> Descriptor:
        """The same, with more annotations (`name` may hold dots: pass a mapping with `**`)."""
        return replace(self, annotations={**self.annotations, **annotations})


@dataclass(frozen=True)
class Blob:
    """Content that belongs to an image.

    Attributes:
        descriptor: What it is.
        content: Where its bytes are read.
        origin: Where a registry has it, so that another repository there can take it over without an upload.
    """

    descriptor: Descriptor
    content: Content
    origin: Repository | None = None

    @classmethod
    def of(cls, data: bytes, media_type: str) -> Blob:
        """`data` as a blob."""
        return cls(Descriptor(media_type, Digest.of(data), len(data)), Memory(data))

    @property
    def digest(self) -> Digest:
        """The hash of the content."""
        return self.descriptor.digest

    @property
    def size(self) -> int:
        """How many bytes the content has."""
        return self.descriptor.size

    def checked_blocks(self) -> Iterator[bytes]:
        """All of the content; the end is reached only if digest and size are what they should be.

        Raises:
            BrokenImageError: They are not.
        """
        meter = Meter(self.digest.algorithm)
        for block in self.content.blocks():
            meter.feed(block)
            yield block
        if (meter.digest, meter.size) != (self.digest, self.size):
            raise BrokenImageError(
                f"the content is not what its digest says: {meter.size} bytes of {meter.digest}",
                where=str(self.digest),
            )

    def read(self, limit: int = 32 << 20) -> bytes:
        """The whole content, for what is small: configs and manifests.

        Raises:
            BrokenImageError: It is larger than `limit`, or not what its digest says.
        """
        if self.size > limit:
            raise BrokenImageError(f"{self.size} bytes are too many for a document", where=str(self.digest))
        return b"".join(self.checked_blocks())


def write_file(blob: Blob, path: Path) -> None:
    """Write a blob's content to `path`, whole and checked or not at all.

    Raises:
        BrokenImageError: The content is not what its digest says.
        ImageError: It cannot be read or written.
    """
    with written(path) as file:
        for block in blob.checked_blocks():
            file.write(block)

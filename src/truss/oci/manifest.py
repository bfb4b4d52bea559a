"""Manifests, which list the parts of an image, and indexes, which list images: as documents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from truss.errors import BrokenImageError
from truss.oci.descriptor import Descriptor, Platform, canonical_json, json_object
from truss.oci.media_types import INDEX, INDEXES, MANIFEST, MANIFESTS


@dataclass(frozen=True)
class Manifest:
    """The parts of an image, or of what is attached to one.

    Attributes:
        config: The config.
        layers: The layers, the lowest first.
        annotations: Names and texts about the whole.
        artifact_type: What it is, when it is no image.
        subject: What it is attached to.
        media_type: OCI's, or Docker's older one.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    subject: Descriptor | None = None
    media_type: str = MANIFEST

    @classmethod
    def parse(cls, data: bytes) -> Manifest:
        """Read a manifest.

        Raises:
            BrokenImageError: It is none, or of a kind that was given up long ago.
        """
        document = json_object(data, "a manifest")
        if document.get("schemaVersion") != 2:
            raise BrokenImageError(
                f"the manifest is of version {document.get('schemaVersion')!r}; 2 is read",
                hint="push the image again with a current tool",
            )
        if "layers" not in document or "config" not in document:
            raise BrokenImageError("the manifest lists no config and layers")
        subject = document.get("subject")
        return cls(
            Descriptor.from_json(document["config"]),
            tuple(Descriptor.from_json(layer) for layer in document["layers"] or ()),
            dict(document.get("annotations") or {}),
            str(document.get("artifactType") or ""),
            Descriptor.from_json(subject) if subject is not None else None,
            _media_type(document, MANIFESTS, MANIFEST),
        )

    def to_bytes(self) -> bytes:
        """The one form that this manifest has as JSON."""
        data: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "config": self.config.to_json(),
            "layers": [layer.to_json() for layer in self.layers],
        }
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        if self.artifact_type:
            data["artifactType"] = self.artifact_type
        if self.subject is not None:
            data["subject"] = self.subject.to_json()
        return canonical_json(data)


@dataclass(frozen=True)
class Index:
    """Several images: one per platform, or what a folder holds, or what is attached to an image.

    Attributes:
        manifests: Which; each may say its platform.
        annotations: Names and texts about the whole.
        media_type: OCI's, or Docker's older one.
    """

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    media_type: str = INDEX

    @classmethod
    def parse(cls, data: bytes) -> Index:
        """Read an index.

        Raises:
            BrokenImageError: It is none.
        """
        document = json_object(data, "an index of images")
        if document.get("schemaVersion") != 2 or not isinstance(document.get("manifests"), list):
            raise BrokenImageError("the index lists no manifests")
        return cls(
            tuple(Descriptor.from_json(one) for one in document["manifests"]),
            dict(document.get("annotations") or {}),
            _media_type(document, INDEXES, INDEX),
        )

    def to_bytes(self) -> bytes:
        """The one form that this index has as JSON."""
        data: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": self.media_type,
            "manifests": [one.to_json() for one in self.manifests],
        }
        if self.annotations:
            data["annotations"] = dict(self.annotations)
        return canonical_json(data)

    def for_platform(self, platform: Platform) -> Descriptor:
        """The image that runs on `platform`; one of exactly its variant is preferred.

        Raises:
            BrokenImageError: None does; the hint lists those there are.
        """
        fitting = [one for one in self.manifests if one.platform is not None and platform.runs(one.platform)]
        fitting.sort(key=lambda one: one.platform != platform)
        if not fitting:
            platforms = {str(one.platform) for one in self.manifests if one.platform is not None}
            there = sorted(one for one in platforms if "unknown" not in one)  # not what is attached
            raise BrokenImageError(
                f"the image does not run on {platform}",
                hint=f"it is there for {', '.join(there) or 'no platform'}",
            )
        return fitting[0]


def _media_type(document: Mapping[str, Any], allowed: tuple[str, ...], default: str) -> str:
    found = document.get("mediaType") or default
    if found not in allowed:
        raise BrokenImageError(f"the media type is {found!r}", hint=f"expected: {' or '.join(allowed)}")
    return str(found)

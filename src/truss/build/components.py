"""What an image is made of, as bills of materials name it: each wheel, its digest and its licence."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from pathlib import Path
from urllib.parse import quote, unquote

from truss.build.pylock import MARK
from truss.oci import Image, Reference

_EXACT = re.compile(r"([A-Za-z0-9._-]+)==(\S+)")
_FILE = re.compile(r"(?:\S+ @ )?(?:\S*/)?([A-Za-z0-9._]+)-([^-/\s]+)-[^/\s]+\.whl")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_LONGEST_NAME = 100
"""Some wheels state the whole text of a licence where its name belongs."""


@dataclass(frozen=True)
class Licence:
    """What a wheel's metadata says of its licence.

    Attributes:
        text: An SPDX expression, or a name in words of its own.
        is_expression: Which of both.
    """

    text: str
    is_expression: bool


@dataclass(frozen=True)
class Component:
    """A wheel in an image.

    Attributes:
        name: The distribution's name in its normal form, `scikit-learn`.
        version: Its exact version.
        sha256: The digest of the wheel; empty where the lock names more than one file.
        licence: What its metadata says; None when it says nothing.
        from_source: Whether the digest is that of a source archive, which the wheel was made from.
    """

    name: str
    version: str
    sha256: str = ""
    licence: Licence | None = None
    from_source: bool = False

    @property
    def purl(self) -> str:
        """The package's address in the words of https://github.com/package-url/purl-spec."""
        return f"pkg:pypi/{self.name}@{quote(self.version, safe='.-_~')}"


@dataclass(frozen=True)
class Materials:
    """What an image for one platform was made of.

    Attributes:
        name: What the model is called.
        image: The image.
        base: The base's reference, without a digest.
        base_digest: The digest of the base for this platform.
        python: The version of Python, `3.11`.
        components: The wheels.
        truss_digest: What names exactly the Truss: its code, config and data.
    """

    name: str
    image: Image
    base: Reference
    base_digest: str
    python: str
    components: Sequence[Component]
    truss_digest: str


def components_of(lock: str, licences: Mapping[str, Licence]) -> tuple[Component, ...]:
    """The wheels of a resolution, by name.

    Args:
        lock: The resolution (see `truss.build.resolution`).
        licences: What is known of licences, by the distribution's normal name.
    """
    found = []
    for line in lock.replace("\\\n", " ").splitlines():
        stated = _EXACT.match(line) or _FILE.match(line)
        if stated is not None:
            name, version = normal(stated[1]), unquote(stated[2])
            digest, made = _only(_HASH.findall(line)), line.endswith(MARK)
            found.append(Component(name, version, digest, licences.get(name), made))
    return tuple(sorted(found, key=lambda one: (one.name, one.version)))


def base_purl(base: Reference, digest: str) -> str:
    """The address of a base image: its name and the digest of exactly what was built on."""
    name = base.repository.name.rpartition("/")[2]
    where = quote(f"{base.repository.registry}/{base.repository.name}", safe="")
    return f"pkg:oci/{name}@{quote(digest, safe='')}?repository_url={where}"


def normal(name: str) -> str:
    """A distribution's name in the one form that it has in indexes."""
    return re.sub(r"[-_.]+", "-", name).lower()


def licences_in(folder: Path) -> dict[str, Licence]:
    """The licences that installed wheels state, by the distribution's normal name."""
    found = dict(_licences(folder))
    return {name: found[name] for name in sorted(found)}


def to_text(licences: Mapping[str, Licence]) -> str:
    """Licences as a text that can be kept."""
    return json.dumps({name: [one.text, one.is_expression] for name, one in licences.items()})


def from_text(text: str) -> dict[str, Licence]:
    """What `to_text` wrote."""
    return {name: Licence(said, is_expression) for name, (said, is_expression) in json.loads(text).items()}


def _licences(folder: Path) -> Iterator[tuple[str, Licence]]:
    for file in folder.glob("*.dist-info/METADATA"):
        with file.open("rb") as opened:
            metadata = BytesParser(policy=compat32).parse(opened, headersonly=True)
        licence = _licence(metadata)
        if licence is not None:
            yield normal(str(metadata["Name"])), licence


def _licence(metadata: Message) -> Licence | None:
    """The expression, else the name, else the names of the classifiers.

    https://packaging.python.org/en/latest/specifications/core-metadata/#license-expression
    """
    if expression := str(metadata["License-Expression"] or "").strip():
        return Licence(expression, is_expression=True)
    name = str(metadata["License"] or "").strip()
    if name and "\n" not in name and len(name) <= _LONGEST_NAME and name != "UNKNOWN":
        return Licence(name, is_expression=False)
    classified = [
        text.rpartition(" :: ")[2]
        for text in map(str, metadata.get_all("Classifier") or ())
        if text.startswith("License :: ")
    ]
    return Licence(", ".join(classified), is_expression=False) if classified else None


def _only(hashes: list[str]) -> str:
    return hashes[0] if len(hashes) == 1 else ""

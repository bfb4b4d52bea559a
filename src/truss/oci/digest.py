"""Digests: what names content in an image, e.g. `sha256:9f86d081...`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from truss.errors import BrokenImageError

_LENGTHS = {"sha256": 64, "sha512": 128}
_FORM = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[0-9a-f]+")


@dataclass(frozen=True, order=True)
class Digest:
    """The hash of some content.

    Attributes:
        algorithm: `sha256`, or `sha512` where somebody else's image has it. Truss writes `sha256`.
        hex: The hash in lower-case hexadecimal.
    """

    algorithm: str
    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `algorithm:hex`.

        Raises:
            BrokenImageError: It is of another form, of an unknown algorithm or of the wrong length.
        """
        algorithm, _, value = text.partition(":")
        if _FORM.fullmatch(text) is None or _LENGTHS.get(algorithm) != len(value):
            raise BrokenImageError(
                f"'{text}' is not a digest",
                hint="a digest is `sha256:` and 64 hexadecimal digits in lower case",
            )
        return cls(algorithm, value)

    @classmethod
    def of(cls, content: bytes) -> Digest:
        """The SHA-256 digest of `content`."""
        return cls("sha256", hashlib.sha256(content).hexdigest())

    def __str__(self) -> str:
        return f"{self.algorithm}:{self.hex}"


class Meter:
    """Counts and hashes what passes by.

    Attributes:
        size: Bytes seen so far.
    """

    def __init__(self, algorithm: str = "sha256") -> None:
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self.size = 0

    def feed(self, block: bytes) -> None:
        """Count one block in."""
        self._hash.update(block)
        self.size += len(block)

    @property
    def digest(self) -> Digest:
        """The digest of what was seen so far."""
        return Digest(self._algorithm, self._hash.hexdigest())


def measure(blocks: Iterable[bytes], algorithm: str = "sha256") -> tuple[Digest, int]:
    """The digest and size of what `blocks` hold together; memory stays at one block."""
    meter = Meter(algorithm)
    for block in blocks:
        meter.feed(block)
    return meter.digest, meter.size

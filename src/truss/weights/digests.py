"""Digests of files, by the algorithms that stores tell them in."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

_BLOCK = 1 << 20


class Digests(dict[str, str]):
    """Digests of one file, in hexadecimal, by algorithm: `sha256`, `md5`, or `git` (as git names content)."""

    @classmethod
    def of(cls, path: Path, algorithms: Iterable[str]) -> Digests:
        """The digests of a file, read once."""
        running = {name: _new(name, path.stat().st_size) for name in algorithms}
        if running:
            with path.open("rb") as file:
                while block := file.read(_BLOCK):
                    for one in running.values():
                        one.update(block)
        return cls({name: one.hexdigest() for name, one in running.items()})


def _new(name: str, size: int) -> hashlib._Hash:
    if name == "git":
        return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
    return hashlib.new(name, usedforsecurity=False)

"""How far fetching has come, as lines for a log or a terminal."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from truss.weights.store import RemoteFile

if TYPE_CHECKING:
    from typing_extensions import Self


_SECONDS = 5.0
"""The pause between two lines."""


class Progress:
    """Counts what arrives of several files, and says so from time to time. Used by several threads.

    Args:
        name: What is fetched.
        files: Its files.
        say: Told in lines.
    """

    def __init__(self, name: str, files: Iterable[RemoteFile], say: Callable[[str], None]) -> None:
        sizes = [file.size for file in files]
        self._name, self._say = name, say
        self._files = len(sizes)
        self._total = None if None in sizes else sum(size or 0 for size in sizes)
        self._reached: dict[str, int] = {}
        self._whole = 0
        self._lock = threading.Lock()
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        total = "" if self._total is None else f", {_size(self._total)}"
        self._say(f"Fetching {self._name}: {self._files} {_plural(self._files)}{total}")
        return self

    def __exit__(self, kind: object, *rest: object) -> None:
        if kind is None:
            took = time.monotonic() - self._began
            self._say(f"Fetched {self._name}: {_size(self._sum())} in {took:.1f} s")

    def add(self, size: int) -> None:
        """Files, or parts of them, that were there already."""
        with self._lock:
            self._whole += size

    def at(self, path: str, reached: int) -> None:
        """So many bytes of a file have arrived."""
        with self._lock:
            self._reached[path] = reached
            now = time.monotonic()
            if now - self._said < _SECONDS:
                return
            self._said = now
        share = f" ({100 * self._sum() // self._total} %)" if self._total else ""
        self._say(f"Fetching {self._name}: {_size(self._sum())}{share}")

    def _sum(self) -> int:
        return self._whole + sum(self._reached.values())


def _plural(count: int) -> str:
    return "file" if count == 1 else "files"


def _size(count: float) -> str:
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"

"""Content: bytes of known size that can be read again from any place, wherever they are.

Uploads that are resumed, layers that are never written to disk and blobs that are still in a registry
all need the same thing, and nothing more: `size`, and `blocks(start)`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from truss.errors import ImageError

BLOCK_SIZE = 256 * 1024
"""How many bytes are held at a time, at most, of any content."""


class Content(Protocol):
    """Bytes of known size that can be read more than once, from more than one thread."""

    @property
    def size(self) -> int:
        """How many bytes there are."""
        ...

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` to the end, in blocks of at most `BLOCK_SIZE` bytes, none of them empty."""
        ...


@dataclass(frozen=True)
class Memory:
    """Content that is held in memory: configs, manifests, headers of archives."""

    data: bytes

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return len(self.data)

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` to the end."""
        for at in range(start, len(self.data), BLOCK_SIZE):
            yield self.data[at : min(at + BLOCK_SIZE, len(self.data))]


@dataclass(frozen=True)
class FileContent:
    """The content of a file, which must stay as it was when this was made.

    Attributes:
        path: The file.
        size: How many bytes it had, and must still have.
        modified_ns: When it was last written, in nanoseconds, and must still have been.
        mode: Its kind and permissions, as `os.stat` has them.
    """

    path: Path
    size: int
    modified_ns: int
    mode: int

    @classmethod
    def of(cls, path: Path) -> FileContent:
        """The content that `path` has now.

        Raises:
            ImageError: It is missing, no regular file, or may not be read.
        """
        try:
            state = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        if not stat.S_ISREG(state.st_mode):
            raise ImageError("only regular files can be read into an image", where=str(path))
        return cls(path, state.st_size, state.st_mtime_ns, state.st_mode)

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` to the end.

        Raises:
            ImageError: The file cannot be read, or was written since.
        """
        left = self.size - start
        try:
            with self.path.open("rb", buffering=0) as file:
                self._check(file.fileno())
                file.seek(start)
                while left > 0:
                    block = file.read(min(BLOCK_SIZE, left))
                    if not block:
                        break
                    left -= len(block)
                    yield block
                self._check(file.fileno())
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _check(self, descriptor: int) -> None:
        state = os.fstat(descriptor)
        if (state.st_size, state.st_mtime_ns) != (self.size, self.modified_ns):
            raise ImageError(
                "the file was written to while it was read into an image",
                where=str(self.path),
                hint="run this again when nothing writes to it",
            )


@dataclass(frozen=True)
class Joined:
    """Several contents, one after the other."""

    parts: Sequence[Content]
    size: int

    @classmethod
    def of(cls, parts: Sequence[Content]) -> Joined:
        """What `parts` are together."""
        return cls(tuple(parts), sum(part.size for part in parts))

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` to the end."""
        for part in self.parts:
            if start < part.size:
                yield from part.blocks(start)
            start = max(0, start - part.size)


def _unreadable(path: Path, error: OSError) -> ImageError:
    return ImageError(f"the file cannot be read: {error.strerror}", where=str(path))

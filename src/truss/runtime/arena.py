"""Memory that the front and its workers share, for bodies too large to be copied from hand to hand.

A large body is received from its connection straight into the arena, and the worker decodes it there: it
is neither gathered from pieces nor written to a socket and read from it again.

The front alone hands out places, by the buddy system (Knuth, The Art of Computer Programming, 2.5): a
place has a size that is a power of two and an offset that is a multiple of it; a free place is halved
until it fits, and two free halves become one place again. The lowest offset is taken first, so that few
pages are ever touched.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

from truss.errors import FrameError
from truss.runtime.shared_file import shared_file

SIZE = 1 << 28
"""The arena's size in bytes. Bodies that find no place go the way of small ones."""

SMALLEST = 1 << 16
"""The smallest place, and the smallest body worth one, in bytes."""

_KEPT = 1 << 25
"""So many bytes from the start stay in memory while nothing is in use."""


class Place(NamedTuple):
    """Where a body lies in the arena, in bytes."""

    offset: int
    length: int


class Lease:
    """A place that is in use for as long as somebody holds this object.

    Attributes:
        place: Where.
        memory: The place, to write to.
    """

    __slots__ = ("__weakref__", "_arena", "memory", "place")

    def __init__(self, arena: Arena, place: Place, memory: memoryview) -> None:
        self._arena = arena
        self.place = place
        self.memory = memory

    def __len__(self) -> int:
        """Bytes of the body."""
        return self.place.length

    def __del__(self) -> None:
        self._arena.give_back(self.place)


class Arena:
    """The front's side: hands out places.

    Args:
        size: In bytes, a power of two.

    Attributes:
        fd: The descriptor that workers inherit.
        in_use: How many bytes are handed out, places counted whole.
    """

    def __init__(self, size: int = SIZE) -> None:
        self.fd = shared_file("bodies", size)
        self._memory = mmap.mmap(self.fd, size)
        self._view = memoryview(self._memory)
        self._free: dict[int, set[int]] = {size: {0}}
        self._touched = 0
        self.in_use = 0

    def lease(self, length: int) -> Lease | None:
        """A place for a body of so many bytes; None when it is too small for one, or there is none.

        What the place holds is left over from an earlier body: all of it has to be written.
        """
        if length < SMALLEST:
            return None
        offset = self._take(_rounded(length))
        if offset is None:
            return None
        end = offset + length
        self._touched = max(self._touched, end)
        return Lease(self, Place(offset, length), self._view[offset:end])

    def give_back(self, place: Place) -> None:
        """Take a place back; its lease does so by itself."""
        size, offset = _rounded(place.length), place.offset
        self.in_use -= size
        while offset ^ size in self._free.get(size, ()):
            self._free[size].remove(offset ^ size)
            offset &= ~size
            size *= 2
        self._free.setdefault(size, set()).add(offset)
        if not self.in_use and self._touched > _KEPT:
            self._forget()

    def _take(self, size: int) -> int | None:
        """The lowest offset of a free place of this size, halved from a larger one if need be."""
        fitting = [(min(offsets), free) for free, offsets in self._free.items() if offsets and free >= size]
        if not fitting:
            return None
        offset, free = min(fitting)
        self._free[free].remove(offset)
        while free > size:
            free //= 2
            self._free.setdefault(free, set()).add(offset + free)
        self.in_use += size
        return offset

    def _forget(self) -> None:
        """Give the memory that a burst took back to the system."""
        if hasattr(mmap, "MADV_REMOVE"):
            end = -(-self._touched // mmap.PAGESIZE) * mmap.PAGESIZE
            self._memory.madvise(mmap.MADV_REMOVE, _KEPT, end - _KEPT)
        self._touched = _KEPT


def _rounded(length: int) -> int:
    """The size of the place for a body of so many bytes."""
    return max(SMALLEST, 1 << (length - 1).bit_length())


class ArenaReader:
    """A worker's side: looks at bodies.

    Args:
        fd: The descriptor that it inherited.
    """

    def __init__(self, fd: int) -> None:
        self._memory = mmap.mmap(fd, 0, access=mmap.ACCESS_READ)

    def view(self, place: Place) -> memoryview:
        """A body, in place: valid until its request is answered.

        Raises:
            FrameError: there is no such place.
        """
        end = place.offset + place.length
        if end > len(self._memory):
            raise FrameError(f"an arena of {len(self._memory)} bytes has no place that ends at {end}")
        return memoryview(self._memory)[place.offset : end]

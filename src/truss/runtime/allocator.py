"""Tell the C library's allocator to keep what large bodies were in, for the next ones.

glibc gives memory at the end of its heap back to the system as soon as a few hundred KiB of it are free,
and takes blocks above 128 KiB from the system directly. A server of large bodies then asks for the same
pages again with each request, and the system clears them each time: half of what a tensor of 600 KB cost.

https://man7.org/linux/man-pages/man3/mallopt.3.html
"""

from __future__ import annotations

import contextlib
import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_KEPT = 64 << 20
"""So many free bytes at the end of the heap are kept."""

_LARGE = 32 << 20
"""Blocks from this size on are taken from the system and given back: the largest that glibc allows here."""


def keep_freed_memory() -> None:
    """Let this process keep freed memory, up to 64 MiB; nothing happens if the C library is not glibc."""
    with contextlib.suppress(AttributeError, OSError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_TRIM_THRESHOLD, _KEPT)
        library.mallopt(_M_MMAP_THRESHOLD, _LARGE)


def give_back_freed_memory() -> None:
    """Give what is free at this moment back to the system, once: after loading, which needs most."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)

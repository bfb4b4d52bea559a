"""An anonymous file that several processes map: memory that they share, and that outlives each of them."""

from __future__ import annotations

import os
import tempfile


def shared_file(name: str, size: int) -> int:
    """A descriptor of a new file of so many bytes, all zero; pages take memory once they are written.

    Args:
        name: What the system shows it as.
        size: In bytes.
    """
    if hasattr(os, "memfd_create"):  # Linux: needs no writable file system, and no /dev/shm
        fd = os.memfd_create(f"truss-{name}", 0)
    else:
        with tempfile.TemporaryFile() as file:
            fd = os.dup(file.fileno())
    os.ftruncate(fd, size)
    return fd

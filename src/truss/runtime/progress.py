"""How far a worker has come, in memory that outlives it.

When a worker dies, the front must know which of the requests it had been given were begun: those may
have had effects, the others can go to another worker. The answer must survive the worker, so it is
written to shared memory: the number of the batch at hand, and how many of its requests were begun.
"""

from __future__ import annotations

import mmap
import os
import struct

from truss.runtime.shared_file import shared_file

_LAYOUT = struct.Struct("<QQ")


class Progress:
    """A view of the shared memory.

    Args:
        fd: Its descriptor; a new one is made by default. A worker inherits the front's.

    Attributes:
        fd: The descriptor to hand to the worker.
    """

    def __init__(self, fd: int | None = None) -> None:
        self.fd = shared_file("progress", _LAYOUT.size) if fd is None else fd
        self._memory = mmap.mmap(self.fd, _LAYOUT.size)

    def mark(self, batch: int, begun: int) -> None:
        """Note, in the worker, that so many requests of a batch have been begun."""
        _LAYOUT.pack_into(self._memory, 0, batch, begun)

    def had_begun(self, batch: int, position: int) -> bool:
        """Tell, in the front, whether a worker had begun the request at a position of a batch.

        Args:
            batch: The number of the batch, counted from 1 per worker process.
            position: Its place in the batch, from 0.
        """
        current, begun = _LAYOUT.unpack_from(self._memory)
        return bool(batch < current or (batch == current and position < begun))

    def close(self) -> None:
        """Let go of the memory; a second time does nothing."""
        if not self._memory.closed:
            self._memory.close()
            os.close(self.fd)

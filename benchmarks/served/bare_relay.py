"""What any process between a client and a server costs: `python bare_relay.py PORT SERVERS_PORT`.

It copies bytes from one connection to the other and looks at none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import cast

import uvloop


class End(asyncio.BufferedProtocol):
    """One end of a relay: what it reads, the other writes before it reads on."""

    def __init__(self) -> None:
        self.other: End | None = None
        self._memory = memoryview(bytearray(1 << 20))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Tell the other end to wait as soon as anything is left to be sent here."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.set_write_buffer_limits(0)

    def connection_lost(self, exc: Exception | None) -> None:  # however it broke, it is over
        """Close the other end."""
        if self.other is not None:
            self.other.transport.close()

    def get_buffer(self, sizehint: int) -> memoryview:  # all there is
        """Where to read to."""
        return self._memory

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what was read."""
        if self.other is not None:
            self.other.transport.write(self._memory[:nbytes])

    def pause_writing(self) -> None:
        """Take no more of the other end."""
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """Take more again."""
        if self.other is not None:
            self.other.transport.resume_reading()


class Client(End):
    """The client's end, which opens the other when its first bytes are there."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what was read, once there is where to."""
        if self.other is not None:
            super().buffer_updated(nbytes)
            return
        self.transport.pause_reading()
        self._opening = asyncio.get_running_loop().create_task(self._open(nbytes))

    async def _open(self, read: int) -> None:
        _, other = await asyncio.get_running_loop().create_connection(End, "127.0.0.1", self._port)
        self.other, other.other = other, self
        self.transport.resume_reading()
        super().buffer_updated(read)


async def main(port: int, server: int) -> None:
    """Relay for ever."""
    relay = await asyncio.get_running_loop().create_server(lambda: Client(server), "127.0.0.1", port)
    await relay.serve_forever()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))

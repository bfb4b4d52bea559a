"""Connections that speak HTTP/2 on the port of HTTP/1.1: passed on, byte by byte, to the gRPC server beside.

gRPC's server takes a port, never a connection. So it has a Unix socket too, and a connection whose first
bytes are those of HTTP/2 (https://www.rfc-editor.org/rfc/rfc9113.html#section-3.4) leads there. Nothing is
read of what passes.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import cast

from truss.errors import ServerStartError

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 sends first, and no client of HTTP/1.1."""

ALPN = ("http/1.1", "h2")
"""What TLS offers, best first: a client that knows both, as browsers do, finds all routes in HTTP/1.1."""


class Passages:
    """The connections that are passed on.

    Attributes:
        place: The Unix socket that they lead to, in a folder that only this user may open.

    Raises:
        ServerStartError: there is no place for that folder.
    """

    def __init__(self) -> None:
        self._folder = _own_folder()
        self.place = Path(self._folder) / "grpc"
        self._open: set[asyncio.Future[None]] = set()
        self._opening: set[asyncio.Task[None]] = set()

    def take(self, transport: asyncio.Transport, first: bytes) -> None:
        """Pass a connection on from now on.

        Args:
            transport: The client's.
            first: What has been read of it.
        """
        loop = asyncio.get_running_loop()
        client = _End(loop.create_future())
        transport.pause_reading()  # until there is where to write to
        client.connection_made(transport)
        transport.set_protocol(client)
        self._open.add(client.closed)
        client.closed.add_done_callback(self._open.discard)
        opening = loop.create_task(self._connect(client, transport, first))
        self._opening.add(opening)  # the event loop itself keeps no reference to a task
        opening.add_done_callback(self._opening.discard)

    async def _connect(self, client: _End, transport: asyncio.Transport, first: bytes) -> None:
        loop = asyncio.get_running_loop()
        server = _End(loop.create_future())
        server.lead_to(client)  # gRPC's server speaks first
        try:
            await loop.create_unix_connection(lambda: server, str(self.place))
        except OSError:  # the server has ended
            transport.abort()
            return
        server.write(first)
        client.lead_to(server)
        client.read(go_on=True)

    async def close(self, seconds: float) -> None:
        """Wait until what the server has written last has gone on, for so long at most, and end."""
        if self._open:
            await asyncio.wait(set(self._open), timeout=seconds)
        shutil.rmtree(self._folder, ignore_errors=True)


def _own_folder() -> str:
    """A new folder; where a container's files are read-only, the memory that processes share has a place."""
    for parent in (None, "/dev/shm"):  # noqa: S108  # mkdtemp makes a folder of a name that nobody can foresee
        with contextlib.suppress(OSError):
            return tempfile.mkdtemp(prefix="truss-", dir=parent)
    raise ServerStartError(
        "gRPC needs a folder for a Unix socket, and none can be made in /tmp, nor in /dev/shm",
        hint="mount a folder at /tmp that this user may write to, or set `TMPDIR`",
    )


class _End(asyncio.Protocol):
    """One end of a passage: what it reads, the other writes, no faster than that is taken.

    Attributes:
        closed: Done when the connection is.
    """

    def __init__(self, closed: asyncio.Future[None]) -> None:
        self.closed = closed
        self._other: _End | None = None

    def lead_to(self, other: _End) -> None:
        """Write to that end from now on; if this one is closed already, so is that."""
        self._other = other
        if self.closed.done():
            other.close()

    def write(self, data: bytes) -> None:
        self._transport.write(data)

    def read(self, *, go_on: bool) -> None:
        if self._transport.is_closing():
            return
        (self._transport.resume_reading if go_on else self._transport.pause_reading)()

    def close(self) -> None:
        self._transport.close()  # what is written goes out first

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if self._other is not None:
            self._other.write(data)

    def pause_writing(self) -> None:
        if self._other is not None:
            self._other.read(go_on=False)

    def resume_writing(self) -> None:
        if self._other is not None:
            self._other.read(go_on=True)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # however it broke, it is over
        if not self.closed.done():
            self.closed.set_result(None)
        if self._other is not None:
            self._other.close()

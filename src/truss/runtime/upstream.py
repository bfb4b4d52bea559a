"""Connections to a wrapped server: opened when needed, used again while they are fresh."""

from __future__ import annotations

import asyncio
import contextlib
from time import monotonic
from typing import Protocol, cast

import httptools

_FRESH_SECONDS = 1.0
"""A connection that was idle longer is not used again: the server may be closing it just now, and a request
that goes into a closing connection is lost."""

_LARGE = 1 << 18
"""Bytes from which on the rest of a body is read around the parser."""

_READ = 1 << 20
"""Bytes of it that are read at once."""

_KEPT = 8
"""Pieces of so much memory that are kept for the next large bodies."""

Headers = list[tuple[bytes, bytes]]


class Receiver(Protocol):
    """Who takes what the server answers."""

    def on_head(self, status: int, reason: bytes, headers: Headers) -> None:
        """Status and headers are there; several times when some are informational (1xx)."""

    def on_part(self, data: bytes) -> None:
        """A part of the body is there."""

    def on_turn(self) -> None:
        """All that has come for now was passed on."""

    def takes_views(self) -> bool:
        """Whether the rest of a large body may come by `on_view`."""

    def on_view(self, data: memoryview) -> None:
        """A part of the body, in memory that is used again as soon as the transport reads on."""

    def on_end(self) -> None:
        """The response is complete."""

    def on_raw(self, data: bytes) -> None:
        """After a change of protocol: bytes as they come."""

    def on_broken(self) -> None:
        """The connection closed before the response was complete."""

    def pause_request(self) -> None:
        """The server does not take more for now."""

    def resume_request(self) -> None:
        """It does again."""


class Upstream(asyncio.Protocol):
    """One connection to the server; it carries one request at a time.

    Attributes:
        transport: What to write to.
        receiver: Who takes the answer at hand; None while it is idle.
        used: How many requests it has carried.
        idle_since: When it became idle, by `time.monotonic`.
    """

    transport: asyncio.Transport

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.receiver: Receiver | None = None
        self.used = 0
        self.idle_since = 0.0
        self._raw = self._keeps = False
        self._start()

    def _start(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._headers: Headers = []
        self._until_close = False
        self._missing = 0

    def carry(self, receiver: Receiver) -> None:
        """Carry a request from here on."""
        self.receiver = receiver
        self.used += 1

    def close(self) -> None:
        """Close it; nobody is told."""
        self.receiver = None
        self.transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Hand the bytes to the parser, or through."""
        receiver = self.receiver
        if receiver is None:  # it says something that nobody asked for
            self.transport.abort()
        elif self._raw:
            receiver.on_raw(data)
        else:
            self._feed(data, receiver)

    def _feed(self, data: bytes, receiver: Receiver) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as change:
            if self._raw and change.args[0] < len(data):
                receiver.on_turn()  # the head goes first
                receiver.on_raw(data[change.args[0] :])
        except httptools.HttpParserError:
            self.transport.abort()
        receiver.on_turn()
        if self._missing >= _LARGE and self.receiver is receiver and receiver.takes_views():
            self._read_by(_Rest(self, receiver, self._missing, self._memory.take()))

    def _read_by(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol read from here on; there must be nothing that this one has read on its way."""
        reads = self.transport.is_reading()
        self.transport.pause_reading()
        self.transport.set_protocol(protocol)
        if reads:
            self.transport.resume_reading()

    def rest_read(self, memory: bytearray | None) -> None:
        """The rest of a large body was passed on: the response is complete.

        Args:
            memory: What it was read into, if nothing of it is still on its way.
        """
        if memory is not None:
            self._memory.give_back(memory)
        self._read_by(self)
        self.on_message_complete()
        self._start()  # the parser still waits for the body

    def connection_lost(self, exc: Exception | None) -> None:  # how it broke changes nothing
        """Tell whom it concerns."""
        receiver, self.receiver = self.receiver, None
        if receiver is None:
            return
        if self._until_close and exc is None:
            receiver.on_end()
            receiver.on_turn()
        else:
            receiver.on_broken()

    def pause_writing(self) -> None:
        """The other end does not take more for now."""
        if self.receiver is not None:
            self.receiver.pause_request()

    def resume_writing(self) -> None:
        """It does again."""
        if self.receiver is not None:
            self.receiver.resume_request()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A message begins."""
        self._reason = b""
        self._headers = []

    def on_status(self, status: bytes) -> None:
        """A part of the reason phrase."""
        self._reason += status

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        if self.receiver is None:
            return
        status = self._parser.get_status_code()
        self._raw = status == 101
        lengths = dict(self._headers)
        chunked = b"transfer-encoding" in lengths
        bounded = b"content-length" in lengths or chunked
        self._until_close = not bounded and status >= 200 and status not in (204, 304)
        self._missing = 0 if chunked else int(lengths.get(b"content-length", 0))
        self.receiver.on_head(status, self._reason, self._headers)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._missing -= len(body)
        if self.receiver is not None:
            self.receiver.on_part(body)

    def on_message_complete(self) -> None:
        """The message is complete."""
        self._keeps = self._parser.should_keep_alive()
        if self.receiver is not None and self._parser.get_status_code() >= 200:
            self.receiver.on_end()

    @property
    def reusable(self) -> bool:
        """Whether the server keeps the connection after the response that has just ended."""
        return not self._raw and not self._until_close and self._keeps


class _Rest(asyncio.BufferedProtocol):
    """A connection while the rest of a large body comes: from one socket's memory to the other's by ours.

    The parser would copy it twice, and pieces of it are smaller than what can be read at once.

    Args:
        upstream: The protocol that the connection has before and afterwards.
        receiver: Who takes the body.
        size: How many bytes are to come.
        memory: Where to put them.
    """

    def __init__(self, upstream: Upstream, receiver: Receiver, size: int, memory: bytearray) -> None:
        self._upstream = upstream
        self._receiver = receiver
        self._missing = size
        self._memory = memory
        self._view = memoryview(memory)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # never more than what is missing
        return self._view[: self._missing]

    def buffer_updated(self, nbytes: int) -> None:
        self._missing -= nbytes
        self._receiver.on_view(self._view[:nbytes])
        if not self._missing and self._upstream.receiver is self._receiver:
            reads = self._upstream.transport.is_reading()  # else the client has not taken all of it yet
            self._upstream.rest_read(self._memory if reads else None)

    def eof_received(self) -> bool | None:
        return self._upstream.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._upstream.connection_lost(exc)

    def pause_writing(self) -> None:
        self._upstream.pause_writing()

    def resume_writing(self) -> None:
        self._upstream.resume_writing()


class Memory:
    """Memory that large bodies pass through, used again."""

    def __init__(self) -> None:
        self._free: list[bytearray] = []

    def take(self) -> bytearray:
        """As much as is read at once."""
        return self._free.pop() if self._free else bytearray(_READ)

    def give_back(self, memory: bytearray) -> None:
        """Nothing of it is needed any more."""
        if len(self._free) < _KEPT:
            self._free.append(memory)


class Upstreams:
    """The connections to a server that are idle, and the making of new ones.

    Args:
        port: Where it listens, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Upstream] = []
        self._memory = Memory()

    def take(self) -> Upstream | None:
        """An idle connection, the freshest; None when there is none."""
        while self._idle:
            upstream = self._idle.pop()
            if upstream.transport.is_closing():
                continue
            if monotonic() - upstream.idle_since > _FRESH_SECONDS:
                upstream.close()
                continue
            return upstream
        return None

    async def connect(self) -> Upstream:
        """A new connection.

        Raises:
            OSError: the server does not listen.
        """
        loop = asyncio.get_running_loop()
        _, upstream = await loop.create_connection(lambda: Upstream(self._memory), "127.0.0.1", self._port)
        return upstream

    def give_back(self, upstream: Upstream) -> None:
        """Keep a connection for the next request."""
        upstream.receiver = None
        upstream.idle_since = monotonic()
        self._idle.append(upstream)

    def close(self) -> None:
        """Close those that are idle."""
        while self._idle:
            with contextlib.suppress(OSError):
                self._idle.pop().close()

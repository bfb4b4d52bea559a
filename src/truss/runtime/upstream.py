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

Headers = list[tuple[bytes, bytes]]


class Receiver(Protocol):
    """Who takes what the server answers."""

    def on_head(self, status: int, reason: bytes, headers: Headers) -> None:
        """Status and headers are there; several times when some are informational (1xx)."""

    def on_part(self, data: bytes) -> None:
        """A part of the body is there."""

    def on_turn(self) -> None:
        """All that has come for now was passed on."""

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

    def __init__(self) -> None:
        self.receiver: Receiver | None = None
        self.used = 0
        self.idle_since = 0.0
        self._start()
        self._raw = False

    def _start(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._reason = b""
        self._headers: Headers = []
        self._until_close = False

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
        lengths = {name for name, _ in self._headers}
        bounded = b"content-length" in lengths or b"transfer-encoding" in lengths
        self._until_close = not bounded and status >= 200 and status not in (204, 304)
        self.receiver.on_head(status, self._reason, self._headers)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self.receiver is not None:
            self.receiver.on_part(body)

    def on_message_complete(self) -> None:
        """The message is complete."""
        if self.receiver is not None and self._parser.get_status_code() >= 200:
            self.receiver.on_end()

    @property
    def reusable(self) -> bool:
        """Whether the server keeps the connection after the response that has just ended."""
        return not self._raw and not self._until_close and self._parser.should_keep_alive()


class Upstreams:
    """The connections to a server that are idle, and the making of new ones.

    Args:
        port: Where it listens, on this machine.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Upstream] = []

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
        _, upstream = await loop.create_connection(Upstream, "127.0.0.1", self._port)
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

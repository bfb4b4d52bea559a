"""Clients' connections to a wrapped server: each request passed on as it comes, each answer as it comes.

Nothing is collected: what one side does not take, the other is not asked for. Connections to the server
are kept and used again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from time import perf_counter
from typing import Any, cast

import httptools

from truss.errors import (
    DeadlineExceededError,
    HeadTooLargeError,
    InvalidInputError,
    MalformedBodyError,
    MethodNotAllowedError,
    ServerLostError,
    TrussError,
)
from truss.runtime import head as request_head
from truss.runtime.gateway import Gateway, Target
from truss.runtime.predictions import Reply, error_reply
from truss.runtime.upstream import Headers, Upstream
from truss.runtime.workers import State

_PER_CONNECTION = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"x-request-id"}
)
"""Headers that concern one connection only, or that we set ourselves."""

_KEYS = frozenset({b"authorization", b"x-api-key", b"api-key"})

_SAFE = frozenset({b"GET", b"HEAD", b"OPTIONS"})
"""Methods of requests that may be sent twice."""

_SMALL = 1 << 14
"""Bytes up to which parts are put together before they are sent: one part costs the system less."""

_MOST_WAITING = 1 << 18
"""Bytes of a request that are kept while the connection to the server is made; then the client waits."""


class Passage:
    """One request on its way to the server, and its answer back.

    Args:
        client: The client's connection.
        gateway: What all connections share.
        target: Where it goes.
        method: Its method.
        request_id: What it is called.
        keep_alive: Whether the client's connection stays open after it.
        version: The client's version of HTTP; 1.0 knows no chunks.
    """

    def __init__(
        self,
        client: ClientConnection,
        gateway: Gateway,
        target: Target,
        method: bytes,
        request_id: bytes,
        *,
        keep_alive: bool,
        version: str,
    ) -> None:
        self._client = client
        self._gateway = gateway
        self._target = target
        self._method = method
        self._waiting: list[bytes] = []
        self._waiting_size = 0
        self._sent = 0
        self._first = b""
        self._knows_chunks = version != "1.0"
        self._parts: list[bytes] = []
        self._chunked_answer = False
        self._chunked_request = False
        self._begun = perf_counter()
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._upstream: Upstream | None = None
        self._span: Any = None
        self.status = 0
        self.request_id = request_id
        self.keep_alive = keep_alive
        self.request_done = False
        self.done = False
        self.tunnel = False
        # While the server is not there, some of its routes are answered here as well.
        there = target.path is not None and gateway.supervisor.state is State.READY
        self.local = target.answer is not None and not there
        gateway.running += 1

    # --- the request ---

    def begin(self, url: bytes, headers: Headers, *, upgrade: bytes) -> None:
        """Its head is there.

        Raises:
            TrussError: it is refused.
        """
        if self._target.readiness:
            self._gateway.check_ready()
        length = dict(headers).get(b"content-length", b"")
        self._gateway.check_size(int(length) if length.isdigit() else 0)
        self._chunked_request = any(name == b"transfer-encoding" for name, _ in headers)
        self._set_timer(_timeout(headers), self._gateway.settings.timeouts.request)
        self._first = self._head(url, headers, upgrade)
        self._send(self._first)
        upstream = self._gateway.upstreams.take()
        if upstream is not None:
            self._attach(upstream)
        else:
            self._connecting = asyncio.get_running_loop().create_task(self._connect())

    def trace(self, headers: Headers) -> None:
        """Begin its span, where traces are taken."""
        tracing = self._gateway.tracing
        if tracing is not None:
            self._span = tracing.begin(headers, self._target.label, self.request_id)

    def _head(self, url: bytes, headers: Headers, upgrade: bytes) -> bytes:
        lines = [b"%b %b HTTP/1.1\r\n" % (self._method, url)]
        dropped = _PER_CONNECTION | _KEYS if self._gateway.keys is not None else _PER_CONNECTION
        forwarded = b""
        for name, value in headers:
            if name == b"x-forwarded-for":
                forwarded = value + b", "
            elif name not in dropped and not (self._span is not None and name == b"traceparent"):
                lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(b"x-request-id: %b\r\n" % self.request_id)
        lines.append(b"x-forwarded-for: %b\r\n" % (forwarded + self._client.address))
        lines.append(b"x-forwarded-proto: %b\r\n" % self._client.scheme)
        if self._span is not None:
            lines.append(b"traceparent: %b\r\n" % self._span.traceparent.encode())
        if self._chunked_request:
            lines.append(b"transfer-encoding: chunked\r\n")
        if upgrade:
            lines.append(b"connection: upgrade\r\nupgrade: %b\r\n" % upgrade)
        lines.append(b"\r\n")
        return b"".join(lines)

    def body(self, data: bytes) -> None:
        """A part of its body is there.

        Raises:
            BodyTooLargeError: it has become too large.
        """
        if self.done or self.local:
            return
        self._sent += len(data)
        self._gateway.check_size(self._sent)
        self._send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_request else data)

    def end_request(self) -> None:
        """Its body is complete."""
        self.request_done = True
        if self._chunked_request and not self.done and not self.local:
            self._send(b"0\r\n\r\n")

    def raw(self, data: bytes) -> None:
        """After a change of protocol: bytes of the client."""
        self._send(data)
        self.turn()

    def _send(self, data: bytes) -> None:
        self._waiting.append(data)
        if self._upstream is None:
            self._waiting_size += len(data)
            if self._waiting_size > _MOST_WAITING:
                self._client.pause_reading()

    def turn(self) -> None:
        """Send what has come: all that the client has sent for now was taken."""
        if self._upstream is not None and self._waiting:
            parts, self._waiting = self._waiting, []
            _write(self._upstream.transport, parts)

    async def _connect(self) -> None:
        try:
            upstream = await self._gateway.upstreams.connect()
        except OSError:
            self.fail(self._gateway.not_ready())
            return
        if self.done:
            upstream.close()
        else:
            self._attach(upstream)
            self.turn()
            self._client.resume_reading()

    def _attach(self, upstream: Upstream) -> None:
        self._upstream = upstream
        upstream.carry(self)
        if self._client.full:  # of the answer before
            self.pause_answer()

    def _set_timer(self, *seconds: float | None) -> None:
        limits = [limit for limit in seconds if limit is not None]
        if limits:
            self._timer = asyncio.get_running_loop().call_later(min(limits), self._expire, min(limits))

    def _expire(self, seconds: float) -> None:
        hint = "raise the request's X-Request-Timeout or `runtime.timeouts.request`"
        self.fail(
            DeadlineExceededError(f"the server has not begun to answer within {seconds:g} s", hint=hint)
        )

    # --- the answer: what the upstream calls ---

    def on_head(self, status: int, reason: bytes, headers: Headers) -> None:
        """Pass on status and headers."""
        self._stop_timer()
        names = {name for name, _ in headers}
        bodiless = status < 200 or status in (204, 304) or self._method == b"HEAD"
        lines = [b"HTTP/1.1 %d %b\r\n" % (status, reason)]
        lines += [b"%b: %b\r\n" % header for header in headers if header[0] not in _PER_CONNECTION]
        if status == 101:
            self.tunnel = True
            upgrade = dict(headers).get(b"upgrade", b"websocket")
            lines.append(b"connection: upgrade\r\nupgrade: %b\r\n" % upgrade)
            self._client.changed(self)
        elif status >= 200:
            unbounded = not bodiless and b"content-length" not in names
            self._chunked_answer = unbounded and self._knows_chunks
            if unbounded and not self._knows_chunks:
                self.keep_alive = False
            self.status = status
            if self._gateway.draining or not self.request_done:
                self.keep_alive = False
            lines.append(b"x-request-id: %b\r\n" % self.request_id)
            lines += [b"transfer-encoding: chunked\r\n"] if self._chunked_answer else []
            lines += [] if self.keep_alive else [b"connection: close\r\n"]
        self._parts += (*lines, b"\r\n")
        if self._method == b"HEAD" and status >= 200:
            self.on_end()

    def on_part(self, data: bytes) -> None:
        """Pass on a part of the body, at the end of the turn."""
        self._parts += (b"%x\r\n" % len(data), data, b"\r\n") if self._chunked_answer else (data,)

    def on_turn(self) -> None:
        """Send what has come."""
        parts, self._parts = self._parts, []
        if parts:
            self._client.write(parts)

    def takes_views(self) -> bool:
        """Not where parts are put into chunks or encrypted."""
        return not self._chunked_answer and self._client.takes_views()

    def on_view(self, data: memoryview) -> None:
        """Pass on a part of a large body at once."""
        self._client.write([data])

    def on_end(self) -> None:
        """Keep the connection for the next request; this one is answered."""
        if self.done:
            return
        if self._chunked_answer:
            self._parts.append(b"0\r\n\r\n")
        self.on_turn()
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            if upstream.reusable and self.request_done and self._method != b"HEAD":
                if self._client.full:
                    upstream.transport.resume_reading()
                self._gateway.upstreams.give_back(upstream)
            else:
                upstream.close()
        self._finish()

    def on_raw(self, data: bytes) -> None:
        """Pass on bytes of another protocol."""
        self._client.write([data])

    def on_broken(self) -> None:
        """Say so, or cut the answer where it has begun; send a safe request again if it was never read."""
        upstream, self._upstream = self._upstream, None
        if self.done:
            return
        if self.tunnel or self.status:
            self.keep_alive = False  # what has been sent cannot be taken back: the end tells that it is cut
            self._finish(cut=True)
        elif upstream is not None and upstream.used > 1 and self._method in _SAFE and not self._sent:
            self._waiting = [self._first]  # the connection was closing: the server has not read it
            self._connecting = asyncio.get_running_loop().create_task(self._connect())
        else:
            running = self._gateway.supervisor.pid
            message = "the server closed the connection without an answer" if running else "the server ended"
            self.fail(ServerLostError(f"{message} while it was answering this request", hint="send it again"))

    def pause_request(self) -> None:
        """Read no more from the client for now."""
        self._client.pause_reading()

    def resume_request(self) -> None:
        """Read on."""
        self._client.resume_reading()

    # --- the end ---

    def fail(self, error: TrussError) -> None:
        """Answer with an error, unless an answer has begun."""
        if self.done:
            return
        if self.status:
            self._finish(cut=True)
            return
        self.reply(error_reply(error, self.request_id, debug=self._gateway.settings.debug))

    def reply(self, reply: Reply) -> None:
        """Answer from here."""
        self.status = reply.status
        self.keep_alive = self.keep_alive and self.request_done and not reply.close
        close = self._gateway.draining or not self.keep_alive
        self.keep_alive = not close
        self._client.write([_rendered(reply, self.request_id, self._method, close=close)])
        self._finish()

    def abandon(self) -> None:
        """The client has left: the server sees that nobody reads its answer."""
        if not self.done:
            self.status = self.status or 499
            self._finish(cut=True)

    def answer_here(self) -> None:
        """Answer a route that is not the server's."""
        answer = self._target.answer
        assert answer is not None  # such a route has one
        self.reply(answer())

    def pause_answer(self) -> None:
        """The client does not take more for now."""
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_answer(self) -> None:
        """It does again."""
        if self._upstream is not None:
            self._upstream.transport.resume_reading()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish(self, *, cut: bool = False) -> None:
        self.done = True
        self._stop_timer()
        self._waiting = []
        if self._upstream is not None:
            self._upstream.close()
            self._upstream = None
        gateway = self._gateway
        gateway.running -= 1
        gateway.metrics.count_request(self.status, perf_counter() - self._begun, self._target.label)
        if self._span is not None:
            self._span.end(self.status)
        self._client.finished(self, cut=cut)


class ClientConnection(asyncio.Protocol):
    """A client's connection.

    Args:
        gateway: What all connections share.
        connections: The open connections, which this one is one of.
        idle_seconds: How long it may be idle.

    Attributes:
        address: The client's address, for `X-Forwarded-For`.
        scheme: `http` or `https`.
        full: Whether the client does not take more for now.
    """

    def __init__(self, gateway: Gateway, connections: set[ClientConnection], idle_seconds: float) -> None:
        self._gateway = gateway
        self._connections = connections
        self._idle_seconds = idle_seconds
        self._passage: Passage | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._early: bytes | None = None  # what came after a request to change the protocol
        self._overrun = False  # more came than the request at hand: it is not read, the connection closes
        self._alive = True
        self._head = request_head.COMPLETE  # how much has come of the head that is not complete
        self._strict = False
        self.full = False
        self.address = b""
        self.scheme = b"http"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]).encode() if peer else b"unknown"
        self.scheme = b"https" if transport.get_extra_info("ssl_object") is not None else b"http"
        self._connections.add(self)
        self._look = asyncio.get_running_loop().call_later(self._idle_seconds, self._close_when_idle)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # how it broke changes nothing
        """Tell whom it concerns."""
        self._look.cancel()
        self._connections.discard(self)
        if self._passage is not None:
            self._passage.abandon()

    def _close_when_idle(self) -> None:
        if self._passage is None and not self._alive:
            self._transport.close()
            return
        self._alive = False
        self._look = asyncio.get_running_loop().call_later(self._idle_seconds, self._close_when_idle)

    def close_if_idle(self) -> None:
        """Close it unless a request is on its way."""
        if self._passage is None:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        """Hand the bytes to the parser, or through."""
        self._alive = True
        passage = self._passage
        if passage is not None and passage.tunnel:
            passage.raw(data)
        elif self._early is not None:
            self._keep_early(data)
        elif not self._overrun:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as change:
                self._keep_early(data[change.args[0] :])
            except httptools.HttpParserError as error:
                self._refuse_unreadable(f"the request is not HTTP: {error}")
            if self._head != request_head.COMPLETE:
                try:
                    self._head = request_head.grown(self._head, len(data))
                except HeadTooLargeError as error:
                    self._refuse(error)
            if self._passage is not None:
                self._passage.turn()

    def _keep_early(self, data: bytes) -> None:
        """Keep what follows a request to change the protocol until the server has agreed to it.

        Passed on before, it could be another request, that nobody has checked.
        """
        self._early = (self._early or b"") + data
        if len(self._early) > _MOST_WAITING:
            self._transport.abort()

    def changed(self, passage: Passage) -> None:
        """The server has agreed to another protocol."""
        early, self._early = self._early, None
        if early:
            passage.raw(early)

    def _refuse_unreadable(self, message: str) -> None:
        if self._passage is None:
            self._refuse(InvalidInputError(message))
        else:
            self._passage.fail(MalformedBodyError(message))
            self._transport.close()

    def _refuse(self, error: TrussError) -> None:
        """Answer what never becomes a request, and close."""
        self._head = request_head.COMPLETE
        if not self._transport.is_closing():
            request_id = self._gateway.new_id()
            reply = error_reply(error, request_id, debug=False)
            self._transport.write(_rendered(reply, request_id, b"GET", close=True))
        self._transport.close()

    # What the parser calls.

    def on_message_begin(self) -> None:
        """A message begins."""
        if self._passage is not None:
            self._overrun = True
            self._passage.keep_alive = False
            return
        self._url = b""
        self._headers: Headers = []
        self._head = 0

    def on_url(self, url: bytes) -> None:
        """A part of the URL."""
        if not self._overrun:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        if not self._overrun:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head = request_head.COMPLETE
        if self._overrun:
            return
        path, question, query = self._url.partition(b"?")
        target = self._gateway.target(path.decode("latin-1"))
        headers = dict(self._headers)
        request_id = headers.get(b"x-request-id", b"")[:128] or self._gateway.new_id()
        keep_alive = self._parser.should_keep_alive() and not self._gateway.draining
        method = self._parser.get_method()
        self._passage = passage = Passage(
            self,
            self._gateway,
            target,
            method,
            request_id,
            keep_alive=keep_alive,
            version=self._parser.get_http_version(),
        )
        try:
            if method == b"CONNECT":
                raise MethodNotAllowedError(
                    "this is no proxy to other places", allowed=(), hint="ask for a path"
                )
            checked = not target.open or method not in _SAFE
            if self._gateway.keys is not None and checked:
                self._gateway.keys.check(self._headers)
            passage.trace(self._headers)
            if not passage.local:
                url = (target.path or "").encode("latin-1") + question + query
                changes = self._parser.should_upgrade() and (checked or self._gateway.keys is None)
                upgrade = headers.get(b"upgrade", b"") if changes else b""
                passage.begin(url, self._headers, upgrade=upgrade)
        except TrussError as error:
            passage.fail(error)

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        passage = self._passage
        if passage is not None and not self._overrun:
            try:
                passage.body(body)
            except TrussError as error:
                passage.fail(error)

    def on_message_complete(self) -> None:
        """The message is complete."""
        passage = self._passage
        if passage is None or self._overrun:
            return
        passage.end_request()
        if passage.local and not passage.done:
            passage.answer_here()

    # What a passage calls.

    def takes_views(self) -> bool:
        """Whether it says that it is full as long as anything waits to be sent; it does so from now on."""
        if self.scheme == b"https":
            return False
        self._strict = True
        self._transport.set_write_buffer_limits(0)
        return True

    def write(self, parts: Sequence[bytes | memoryview]) -> None:
        """Send to the client."""
        if not self._transport.is_closing():
            _write(self._transport, parts)

    def pause_reading(self) -> None:
        """Read no more of the request for now."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def finished(self, passage: Passage, *, cut: bool) -> None:
        """The request at hand is answered, or never will be."""
        self._passage = None
        if self._strict:
            self._strict = False
            self._transport.set_write_buffer_limits()
        if cut or not passage.keep_alive or self._overrun or self._early is not None:
            self._transport.close()
        else:
            self._transport.resume_reading()

    # What the event loop calls when the client is slow.

    def pause_writing(self) -> None:
        """The other end does not take more for now."""
        self.full = True
        if self._passage is not None:
            self._passage.pause_answer()

    def resume_writing(self) -> None:
        """It does again."""
        self.full = False
        if self._passage is not None:
            self._passage.resume_answer()


def _write(transport: asyncio.Transport, parts: Sequence[bytes | memoryview]) -> None:
    if sum(map(len, parts)) <= _SMALL:
        transport.write(b"".join(parts))
    else:
        transport.writelines(parts)


def _timeout(headers: Headers) -> float | None:
    for name, value in headers:
        if name == b"x-request-timeout":
            try:
                seconds = float(value)
            except ValueError:
                seconds = 0.0
            if not 0 < seconds < float("inf"):
                raise InvalidInputError(
                    f"X-Request-Timeout is {value.decode('latin-1')!r}",
                    hint="send a positive number of seconds, e.g. X-Request-Timeout: 2.5",
                )
            return seconds
    return None


def _rendered(reply: Reply, request_id: bytes, method: bytes, *, close: bool) -> bytes:
    """A whole response."""
    lines = [
        b"HTTP/1.1 %d %b\r\n" % (reply.status, _PHRASES.get(reply.status, b"")),
        b"content-type: %b\r\ncontent-length: %d\r\n" % (reply.content_type, len(reply.body)),
        b"x-request-id: %b\r\n" % request_id,
        *[b"%b: %b\r\n" % header for header in reply.headers],
        b"connection: close\r\n" if close else b"",
        b"\r\n",
    ]
    return b"".join(lines) + (b"" if method == b"HEAD" else bytes(reply.body))


_PHRASES = {int(status): status.phrase.encode() for status in HTTPStatus}

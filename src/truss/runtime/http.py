"""The HTTP protocol under the application: uvicorn's, with a short way for predict requests.

uvicorn runs an ASGI application as a task per request, which exchanges messages with the connection; that
costs more than all the rest of the front. So a predict request in its usual form goes from the parser
straight to the pool, and its answer in one write to the socket. Whatever is unusual about a request
(pipelined behind another, `Expect: 100-continue`, HTTP/1.0, a query, another route) takes the general way,
which ends in the same `Predictions`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol, cast

from truss.errors import ClientClosedRequestError, HeadTooLargeError, InvalidInputError, TrussError
from truss.runtime import head as request_head
from truss.runtime.arena import SMALLEST, Lease
from truss.runtime.frames import WINDOW, Answer, Chunk, cost_of_chunk
from truss.runtime.jobs import Job
from truss.runtime.passage import PREFACE, Passages
from truss.runtime.predictions import Headers, Predictions, Reply, Request

_LARGE = 1 << 16
"""Bodies from this many bytes on are not copied to be sent in one piece with their head."""
_CREDIT = WINDOW // 4
"""Credit for a stream is given in pieces of so much."""
_START = {int(status): b"HTTP/1.1 %d %b\r\n" % (status, status.phrase.encode()) for status in HTTPStatus}


class GatheringTransport:
    """A transport that hands on what was written at the end of the event loop's turn, in one piece.

    uvicorn writes an answer's head when the application sends it, and the body when that follows: two
    system calls, and with Nagle's algorithm off two packets, for what is commonly a few hundred bytes.

    Everything but writing and closing is the wrapped transport's own.
    """

    __slots__ = ("_loop", "_parts", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> None:
        """Keep the bytes for the end of this turn."""
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def close(self) -> None:
        """Write what was kept, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        if parts:
            self._transport.write(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _NoEvent:
    """uvicorn wakes the task of a request by an event; here is none to wake."""

    def set(self) -> None:
        pass


class _Connection(Protocol):
    """What carries an exchange."""

    def start(self, exchange: Exchange, reply: Reply) -> None:
        """Send the head of a response whose parts follow."""

    def pass_on(self, part: bytes) -> bool:
        """Send a part of a response; tells whether the client reads fast enough for more."""

    def finish(self, exchange: Exchange, last: bytes) -> None:
        """Send the last part of a response, and its end."""

    def break_off(self, exchange: Exchange) -> None:
        """Close the connection in the middle of a response, which tells the client that it is not whole."""

    def respond(self, exchange: Exchange, reply: Reply) -> None:
        """Send the response to it."""


class _BodyReceiver(asyncio.BufferedProtocol):
    """A connection while the rest of a large body arrives: it goes from the socket to its place in memory.

    Args:
        exchange: Whose body it is.
        done: Called when all of it is there.
        connection: The protocol that the connection has before and afterwards.
    """

    def __init__(self, exchange: Exchange, done: Callable[[], None], connection: asyncio.Protocol) -> None:
        self._exchange = exchange
        self._rest = exchange.rest()
        self._done = done
        self._connection = connection

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # never more than what is missing
        return self._rest

    def buffer_updated(self, nbytes: int) -> None:
        self._exchange.received(nbytes)
        self._rest = self._rest[nbytes:]
        if not self._rest:
            self._done()

    def eof_received(self) -> bool | None:
        return self._connection.eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connection.connection_lost(exc)

    def pause_writing(self) -> None:
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        self._connection.resume_writing()


class Exchange:
    """A predict request on a connection and its way back: what the pool calls when it is answered.

    The attributes without an underscore, other than `request`, are those that uvicorn's protocol reads
    and writes on its own object for a request and its response.
    """

    __slots__ = (
        "_body",
        "_connection",
        "_job",
        "_lease",
        "_predictions",
        "_size",
        "_stream",
        "_unread",
        "disconnected",
        "keep_alive",
        "request",
        "response_complete",
    )

    message_event = _NoEvent()

    def __init__(
        self, connection: _Connection, predictions: Predictions, request: Request, *, keep_alive: bool
    ) -> None:
        self._connection = connection
        self._predictions = predictions
        self._body: list[bytes] = []
        self._size = 0
        self._lease: Lease | None = None
        self._job: Job | None = None
        self._stream = 0
        self._unread = 0
        self.request = request
        self.keep_alive = keep_alive
        self.disconnected = False
        self.response_complete = False

    def begin(self, headers: list[tuple[bytes, bytes]]) -> None:
        """The headers are there."""
        try:
            self.request.read(headers)
            self._predictions.admit(self.request, headers)
            self._predictions.check_size(self.request.length)
        except TrussError as error:
            self.failed(error)
            return
        envelope = self.request.envelope
        if self.request.length >= SMALLEST:
            self._lease = self._predictions.lease(len(envelope) + self.request.length)
        if envelope:
            self.receive(envelope)

    def receive(self, chunk: bytes) -> None:
        """A part of the body is there."""
        if self._lease is not None:
            self.rest()[: len(chunk)] = chunk
            self._size += len(chunk)
            return
        self._body.append(chunk)
        self._size += len(chunk)
        if self._size > self._predictions.max_body:
            try:
                self._predictions.check_size(self._size - len(self.request.envelope))
            except TrussError as error:
                self.failed(error)

    def rest(self) -> memoryview:
        """Where to put what is still missing of the body: nowhere, if it does not go into the arena."""
        return memoryview(b"") if self._lease is None else self._lease.memory[self._size :]

    def received(self, size: int) -> None:
        """So many bytes have been put there."""
        self._size += size

    def end(self) -> None:
        """The whole body is there."""
        body = self._lease or (self._body[0] if len(self._body) == 1 else b"".join(self._body))
        self._body, self._lease = [], None
        try:
            self._job = self._predictions.submit(self.request, body, self)
        except TrussError as error:
            self.failed(error)

    @property
    def arriving(self) -> bool:
        """Whether it has not come to its end yet."""
        return self._job is None and not self.response_complete

    def leave(self) -> None:
        """The client has closed the connection."""
        self.disconnected = True
        if self._job is None:  # it left while it was sending
            self.failed(ClientClosedRequestError("the client left while sending its request"))
        elif not self._job.settled:
            self._predictions.abandon(self._job)

    # What the pool calls.

    def chunk(self, chunk: Chunk) -> None:
        """Send a part of the answer."""
        if not self._stream:
            self._stream = chunk.codec
            self._connection.start(self, self._predictions.head(chunk))
        self._unread += cost_of_chunk(chunk.body)
        if self._connection.pass_on(chunk.body) and self._unread >= _CREDIT:
            self.drained()

    def drained(self) -> None:
        """The client has taken what was sent of a stream: more may come."""
        if self._unread and self._job is not None:
            self._predictions.credit(self._job, self._unread)
            self._unread = 0

    def answered(self, answer: Answer) -> None:
        """Send the answer."""
        if self._stream:
            self._end(answer)
            return
        self._job = None  # the job knows its caller: a cycle that would wait for the garbage collector
        self._connection.respond(self, self._predictions.answer(self.request, answer))

    def failed(self, error: TrussError) -> None:
        """Send the error; what has come of a body until then is of no use."""
        if self._stream:
            self._end(error)
            return
        self._job = self._lease = None
        self._connection.respond(self, self._predictions.refuse(self.request, error))

    def _end(self, found: Answer | TrussError) -> None:
        """End a stream."""
        self._job = None
        last = self._predictions.end(self.request, self._stream, found)
        if last is None:
            self._connection.break_off(self)
        else:
            self._connection.finish(self, last)


def http_protocol(predictions: Predictions, passages: Passages | None = None) -> Any:
    """The protocol class that uvicorn is to use.

    Args:
        predictions: Where requests go.
        passages: Where connections of HTTP/2 go; None: nowhere, they are bad requests.

    Without httptools it is uvicorn's own, on h11, and every request takes the general way.
    """
    try:
        import httptools
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        return "h11"

    head_lines = _HeaderLines()
    routes = {path.encode(): (make, path) for path, make in predictions.routes.items()}

    class Connection(HttpToolsProtocol):
        """A client's connection."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._exchange: Exchange | None = None  # the last one that took the short way
            self._receiving: Exchange | None = None  # the one whose body is being read, if it takes that way
            self._large = False  # whether that body goes into the arena
            self._head = request_head.COMPLETE  # how much has come of the head that is not complete
            self._declined = False  # whether the request at hand asks for a protocol that is not spoken here
            self._alive = True

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self._direct = cast("asyncio.Transport", transport)
            super().connection_made(cast("Any", GatheringTransport(self._direct, self.loop)))
            self._look = self.loop.call_later(self.timeout_keep_alive, self._close_when_idle)

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._exchange is not None and not self._exchange.response_complete:
                self._exchange.leave()
            # A timer would keep the connection for over a minute yet, and cycles until a full collection.
            self._look.cancel()
            self._exchange = self._receiving = None
            self.parser = cast("Any", None)

        def data_received(self, data: bytes) -> None:
            self._alive = True
            size = len(data)
            while data:
                try:
                    self.parser.feed_data(data)
                    break
                except httptools.HttpParserUpgrade as change:
                    data = self._change_protocol(data[change.args[0] :])
                except httptools.HttpParserError as error:
                    self._refuse_unreadable(_unreadable(error))
                    break
            if self._head != request_head.COMPLETE:
                try:
                    self._head = request_head.grown(self._head, size)
                except HeadTooLargeError as error:
                    self._refuse_unreadable(error)
            if self._large:
                self._large = False
                self._receive_the_rest()

        def _change_protocol(self, rest: bytes) -> bytes:
            """Become a websocket, or decline any other protocol by answering in this one.

            Java's own client offers HTTP/2 with each request, and so does `curl --http2`. The parser takes
            what follows such a head for the other protocol, so it reads the head again, without the offer.

            Returns:
                What is to be read next.
            """
            if not self._declined:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                return b""
            self._declined = False
            lines = _lines([header for header in self.headers if header[0] != b"upgrade"])
            head = b"%b %b HTTP/1.1\r\n%b\r\n" % (self.parser.get_method(), self.url, lines)
            self.parser = _parser(self)
            return head + rest

        def _refuse_unreadable(self, refused: TrussError) -> None:
            """Answer what is no HTTP, or too long, and close: where the next request begins is not known."""
            self._head = request_head.COMPLETE
            exchange = self._receiving
            if exchange is not None and exchange.arriving:
                exchange.keep_alive = False
                exchange.failed(refused)
            elif not self.transport.is_closing():
                request = predictions.request(Request)
                reply = predictions.refuse(request, refused)
                defaults = head_lines.of(self.server_state.default_headers)
                self.transport.write(_head(reply, request.id, defaults, keep_alive=False) + bytes(reply.body))
            self.transport.close()

        def _receive_the_rest(self) -> None:
            """Read what is missing of a large body around the parser, which would copy it."""
            exchange = self._receiving
            if exchange is None or exchange.response_complete or not exchange.rest():
                return
            self._read_by(_BodyReceiver(exchange, self._rest_received, self))

        def _rest_received(self) -> None:
            self._alive = True
            self.parser = _parser(self)  # the one before still waits for the body
            self._read_by(self)
            self.on_message_complete()

        def _read_by(self, protocol: asyncio.BaseProtocol) -> None:
            self._direct.pause_reading()  # uvloop looks at what it reads for when it begins to read
            self._direct.set_protocol(protocol)
            self._direct.resume_reading()

        def _close_when_idle(self) -> None:
            """Close the connection when nothing has happened since this was called last.

            uvicorn sets a timer after each response, and cancels it when the next request begins; looking
            now and then costs nothing per request.
            """
            if self.transport.is_closing():
                return
            waiting = self.cycle is not None and not self.cycle.response_complete
            if not self._alive and not waiting:
                self.transport.close()
                return
            self._alive = False
            self._look = self.loop.call_later(self.timeout_keep_alive, self._close_when_idle)

        def handle_websocket_upgrade(self) -> None:
            self._look.cancel()  # from here on the connection is another protocol's
            super().handle_websocket_upgrade()

        # What the parser calls.

        def on_message_begin(self) -> None:
            # What uvicorn prepares here is for the general way only: `_take_general_way`.
            self.url = b""
            self.headers = []
            self.expect_100_continue = False
            self._head = 0

        def on_headers_complete(self) -> None:
            self._head = request_head.COMPLETE
            known = routes.get(self.url)
            if known is None or not self._is_usual():
                self._receiving = None
                self._declined = self._declines()
                if not self._declined:
                    self._take_general_way()
                return
            request = predictions.request(*known)
            exchange = Exchange(self, predictions, request, keep_alive=self.parser.should_keep_alive())
            self._exchange = self._receiving = exchange
            self.cycle = cast("Any", exchange)
            exchange.begin(self.headers)
            self._large = request.length >= SMALLEST

        def _is_usual(self) -> bool:
            return (
                (self.cycle is None or self.cycle.response_complete)
                and not self.expect_100_continue
                and self.parser.get_method() == b"POST"
                and self.parser.get_http_version() == "1.1"
                and not self.parser.should_upgrade()
            )

        def _declines(self) -> bool:
            """Whether the request asks for another protocol, other than websockets."""
            asks = self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"
            return asks and not self._should_upgrade()

        def _take_general_way(self) -> None:
            url, headers, expects = self.url, self.headers, self.expect_100_continue
            super().on_message_begin()
            self.url, self.expect_100_continue = url, expects
            self.headers.extend(headers)  # the list is in the scope already
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            if self._receiving is None:
                super().on_body(body)
            elif not self._receiving.response_complete:
                self._receiving.receive(body)

        def on_message_complete(self) -> None:
            if self._receiving is None:
                if not self._declined:  # else it comes again
                    super().on_message_complete()
            elif not self._receiving.response_complete:
                self._receiving.end()

        # What follows a response.

        def respond(self, exchange: Exchange, reply: Reply) -> None:
            exchange.response_complete = True
            if not exchange.disconnected:
                keep_alive = exchange.keep_alive and not predictions.draining and not reply.close
                defaults = head_lines.of(self.server_state.default_headers)
                self._write(_head(reply, exchange.request.id, defaults, keep_alive=keep_alive), reply.body)
                if not keep_alive:
                    self._direct.close()
            self.on_response_complete()

        def start(self, exchange: Exchange, reply: Reply) -> None:
            if not exchange.disconnected:
                defaults = head_lines.of(self.server_state.default_headers)
                keep_alive = exchange.keep_alive and not predictions.draining
                self._direct.write(_stream_head(reply, exchange.request.id, defaults, keep_alive=keep_alive))

        def pass_on(self, part: bytes) -> bool:
            if not self._direct.is_closing():
                self._alive = True
                self._direct.writelines((b"%x\r\n" % len(part), part, b"\r\n"))
            return not self.flow.write_paused

        def finish(self, exchange: Exchange, last: bytes) -> None:
            exchange.response_complete = True
            if not exchange.disconnected:
                end = b"%x\r\n%b\r\n0\r\n\r\n" % (len(last), last) if last else b"0\r\n\r\n"
                self._direct.write(end)
                if not exchange.keep_alive or predictions.draining:
                    self._direct.close()
            self.on_response_complete()

        def break_off(self, exchange: Exchange) -> None:
            exchange.response_complete = True
            if self.flow.write_paused:
                self._direct.abort()  # closing would wait for a client that does not read
            elif not exchange.disconnected:
                self._direct.close()
            self.on_response_complete()

        def resume_writing(self) -> None:
            super().resume_writing()
            if self._exchange is not None and not self._exchange.response_complete:
                self._exchange.drained()

        def _write(self, head: bytes, body: bytes | memoryview) -> None:
            if len(body) < _LARGE:
                self._direct.write(head + body)
            else:
                self._direct.writelines((head, body))

        def on_response_complete(self) -> None:
            self.server_state.total_requests += 1
            if self._direct.is_closing():
                return
            self._alive = True
            self.flow.resume_reading()
            if self.pipeline:
                self._start_asgi_task(*self.pipeline.pop())

    return Connection if passages is None else _choosing(Connection, passages)


def _choosing(connection: Any, passages: Passages) -> Any:
    """Connections of HTTP/1.1 that become passages when their first bytes are HTTP/2's."""

    class Choosing(connection):  # type: ignore[misc]  # made of a class that is made in a function
        """A client's connection, nothing read of it yet."""

        _first: bytes | None = b""  # what has come that may be either

        def data_received(self, data: bytes) -> None:
            if self._first is None:
                super().data_received(data)
                return
            self._first += data
            if self._first.startswith(PREFACE):
                self._look.cancel()  # from here on the connection is another protocol's
                self.connections.discard(self)
                self.parser = None
                passages.take(self._direct, self._first)
            elif not PREFACE.startswith(self._first):
                data, self._first = self._first, None
                super().data_received(data)

    return Choosing


def _unreadable(error: Exception) -> InvalidInputError:
    hint = "look at its first line, its headers, and whether Content-Length is what was sent"
    return InvalidInputError(f"the request is not HTTP: {error}", hint=hint)


def _parser(protocol: Any) -> Any:
    """A parser as uvicorn makes one for a new connection."""
    import httptools

    parser = httptools.HttpRequestParser(protocol)
    with contextlib.suppress(AttributeError):  # httptools before 0.6.3
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


class _HeaderLines:
    """The headers that uvicorn adds to each response (the date), as bytes made once for each date."""

    def __init__(self) -> None:
        self._headers: Headers = ()
        self._lines = b""

    def of(self, headers: Headers) -> bytes:
        if headers is not self._headers:
            self._headers = headers
            self._lines = _lines(headers)
        return self._lines


def _lines(headers: Headers) -> bytes:
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def _stream_head(reply: Reply, request_id: bytes, defaults: bytes, *, keep_alive: bool) -> bytes:
    """As `_head`, of a response whose length nobody knows yet."""
    return b"%bcontent-type: %b\r\ntransfer-encoding: chunked\r\nx-request-id: %b\r\n%b%b%b\r\n" % (
        _START[reply.status],
        reply.content_type,
        request_id,
        defaults,
        _lines(reply.headers),
        b"" if keep_alive else b"connection: close\r\n",
    )


def _head(reply: Reply, request_id: bytes, defaults: bytes, *, keep_alive: bool) -> bytes:
    """Status line and headers of a response, with the empty line after them."""
    return b"%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b%b\r\n" % (
        _START.get(reply.status) or b"HTTP/1.1 %d \r\n" % reply.status,
        reply.content_type,
        len(reply.body),
        request_id,
        defaults,
        _lines(reply.headers) if reply.headers else b"",
        b"" if keep_alive else b"connection: close\r\n",
    )

"""A worker whose model is async: requests run side by side on one event loop."""

from __future__ import annotations

import asyncio
import functools
import itertools
import socket
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import msgspec

from truss.errors import ClientClosedRequestError, FrameError
from truss.model import Steps
from truss.runtime import context, frames
from truss.runtime.arena import ArenaReader
from truss.runtime.chunks import Form
from truss.runtime.conversation import Conversation
from truss.runtime.execution import error_answer, run_one_async
from truss.runtime.frames import Answers, Codec, Kind
from truss.runtime.progress import Progress
from truss.runtime.streaming import AsyncStream

if TYPE_CHECKING:
    from truss.runtime.renewal import Renewal
    from truss.runtime.tracing import Tracing

_TOGETHER = 8
"""How many answers of one turn of the event loop are sent in one frame. Requests that began together end
together; a frame for each costs both sides more than the answer itself, and one frame for all leaves the
front idle until then."""


async def answer_side_by_side(
    connection: socket.socket,
    steps: Steps,
    progress: Progress,
    arena: ArenaReader,
    tracing: Tracing | None = None,
    renewal: Renewal | None = None,
) -> None:
    """Answer until the front closes the connection; it never sends more at once than the reported capacity.

    Raises:
        FrameError: the front sent something that is no frame.
    """
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    protocol = _Requests(connection, steps, progress, arena, tracing, renewal)
    await loop.create_connection(lambda: protocol, sock=connection)
    await protocol.closed


class _Requests(asyncio.Protocol):
    """The connection to the front: starts what comes, sends what is answered.

    Attributes:
        closed: Done when the front has closed the connection.
    """

    def __init__(
        self,
        connection: socket.socket,
        steps: Steps,
        progress: Progress,
        arena: ArenaReader,
        tracing: Tracing | None,
        renewal: Renewal | None,
    ) -> None:
        self._tracing = tracing
        self._renewal = renewal
        self._beside: set[asyncio.Task[None]] = set()
        self._connection = connection
        self._loop = asyncio.get_running_loop()
        self._steps = steps
        self._progress = progress
        self._arena = arena
        self._splitter = frames.FrameReader()
        self._batches = itertools.count(1)
        self._running: dict[int, asyncio.Task[None]] = {}
        self._streams: dict[int, AsyncStream | Conversation] = {}
        self._answered: list[Answers] = []
        self.closed: asyncio.Future[None] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # how it broke changes nothing
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        try:
            for kind, payload in self._splitter.feed(data):
                if kind is Kind.BATCH:
                    self._start(frames.decode_batch(payload, self._arena.view))
                elif kind is Kind.CREDIT:
                    self._credit(*frames.decode_credit(payload))
                elif kind is Kind.CHUNK:
                    self._take(frames.decode_chunk(payload))
                elif kind is Kind.CANCEL:
                    self._cancel(frames.decode_cancel(payload))
                elif kind is Kind.HEALTH:
                    self._do_beside(self._tell_health())
                elif kind is Kind.RENEW and self._renewal is not None:
                    self._do_beside(self._renew(self._renewal))
        except FrameError as error:
            self.closed.set_exception(error)
            self._transport.abort()

    def _start(self, requests: Sequence[frames.Request]) -> None:
        self._progress.mark(next(self._batches), len(requests))
        for request in requests:
            self._running[request.id] = self._loop.create_task(self._answer(request))

    def _do_beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._beside.add(task)  # the event loop itself keeps no reference to a task
        task.add_done_callback(self._beside.discard)

    async def _tell_health(self) -> None:
        self._send_now(frames.encode(Kind.HEALTH, (await self._steps.health()).encode()))

    async def _renew(self, renewal: Renewal) -> None:
        """Take up changed code in a thread: its `load` may be a coroutine of this loop."""
        report = await self._loop.run_in_executor(None, renewal.run)
        self._steps = renewal.steps
        self._send_now(frames.encode(Kind.RENEWED, msgspec.json.encode(report)))

    async def _answer(self, request: frames.Request) -> None:
        if request.codec == Codec.WEBSOCKET:
            answers = Answers([await self._converse(request)], 0, 0, 0, 0)
        else:
            answers = await run_one_async(self._steps, request, self._tracing, self._stream)
        del self._running[request.id]
        self._send(answers)

    async def _stream(
        self, request: frames.Request, form: Form, chunks: Iterator[Any] | AsyncIterator[Any]
    ) -> frames.Answer:
        stream = self._streams[request.id] = AsyncStream(self._send_now)
        try:
            return await stream.run(request, form, chunks)
        finally:
            del self._streams[request.id]

    async def _converse(self, request: frames.Request) -> frames.Answer:
        context.run((request.context,))
        talk = self._streams[request.id] = Conversation(request.id, self._send_now)
        try:
            return await talk.run(self._steps, context.request_of(request.context, request.body))
        finally:
            del self._streams[request.id]

    def _take(self, chunk: frames.Chunk) -> None:
        talk = self._streams.get(chunk.id)
        if isinstance(talk, Conversation):
            talk.take(chunk)

    def _send_now(self, frame: Sequence[bytes | memoryview]) -> None:
        frames.send_now(self._connection, self._transport, frame)

    def _credit(self, request_id: int, size: int) -> None:
        stream = self._streams.get(request_id)
        if stream is not None:
            stream.give(size)

    def _cancel(self, request_ids: Sequence[int]) -> None:
        for request_id in request_ids:
            task = self._running.get(request_id)
            if task is not None:
                task.add_done_callback(functools.partial(self._cancelled, request_id))
                task.cancel()

    def _cancelled(self, request_id: int, task: asyncio.Task[None]) -> None:
        if task.cancelled():  # an answer all the same: the front counts what is running here
            del self._running[request_id]
            gone = error_answer(request_id, ClientClosedRequestError("cancelled"))
            self._send(Answers([gone], 0, 0, 0, 0))

    def _send(self, answers: Answers) -> None:
        """Send answers soon: those of one turn of the event loop in few frames."""
        if not self._answered:
            self._loop.call_soon(self._flush)
        self._answered.append(answers)
        if len(self._answered) == _TOGETHER:
            self._flush()

    def _flush(self) -> None:
        answered, self._answered = self._answered, []
        if answered:
            frame = frames.encode_answers(frames.merge(answered))
            frames.send_now(self._connection, self._transport, frame)

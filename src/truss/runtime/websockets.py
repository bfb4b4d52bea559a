"""The front's side of websockets: a client's connection, and the model's method that talks to it.

The protocol itself is the `websockets` package's, under uvicorn; here messages go to a worker and come back.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from truss.errors import NotReadyError, RouteNotFoundError, TrussError
from truss.model.websocket import FAILED, GONE
from truss.runtime.frames import WINDOW, Answer, Chunk, Codec, cost_of_chunk
from truss.runtime.jobs import Job
from truss.runtime.pool import Pool
from truss.runtime.predictions import Predictions, Reply, Request, error_reply

PATH = "/v1/websocket"
MAX_MESSAGE = 100 << 20
"""The largest message in bytes."""
PING_SECONDS = 20.0
"""Between two pings, and for the answer to one, unless the config says otherwise."""
_LEAVE_SECONDS = 10.0
"""How long a model may go on when its client has left, before it is cancelled."""
_LONGEST_REASON = 123
"""Bytes that a close has room for."""


def protocol() -> Any:
    """What uvicorn is to make of a connection that changes to websocket: loaded when the first does."""
    if importlib.util.find_spec("websockets") is None:
        return "none"
    return _connection


def _connection(**arguments: Any) -> Any:
    from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

    return WebSocketsSansIOProtocol(**arguments)


class Talk:
    """One client's connection, and what has come from the worker for it.

    Args:
        receive: Gives the next event of the connection, as ASGI has it.
        send: Sends one.

    Attributes:
        gone: Whether the client has left. The model is told, and has a moment to end by itself.
        disconnected: Whether nobody waits for that any more.
    """

    def __init__(self, receive: Any, send: Any) -> None:
        self._receive = receive
        self._send = send
        self._chunks: deque[Chunk] = deque()
        self._ended: Answer | TrussError | None = None
        self._news = asyncio.Event()
        self._left = WINDOW
        self._room = asyncio.Event()
        self.disconnected = False
        self.gone = False

    # What the pool calls.

    def chunk(self, chunk: Chunk) -> None:
        """The model sends a message; the first tells that it has begun."""
        self._chunks.append(chunk)
        self._news.set()

    def credit(self, size: int) -> None:
        """The model has read so much."""
        self._left += size
        if self._left > 0:
            self._room.set()

    def answered(self, answer: Answer) -> None:
        """The model's method has returned."""
        self._ended = answer
        self._news.set()

    def failed(self, error: TrussError) -> None:
        """It will not return."""
        self._ended = error
        self._news.set()

    # What the connection's coroutine calls.

    async def begin(self) -> Answer | TrussError | None:
        """Wait until the model has begun; gives the end, if that came first."""
        await self._news.wait()
        if self._chunks:
            self._chunks.popleft()
            return None
        return self._ended

    async def run(self, pool: Pool, job: Job) -> Answer | TrussError:
        """Pass messages on in both directions; gives how it ended."""
        reading = asyncio.ensure_future(self._read(pool, job))
        try:
            await self._write(pool, job)
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading
        assert self._ended is not None  # what `_write` waits for
        return self._ended

    async def _read(self, pool: Pool, job: Job) -> None:
        while True:
            event = await self._receive()
            if event["type"] == "websocket.disconnect":
                self.gone = True
                ending = (event.get("code") or GONE, event.get("reason") or "")
                pool.tell(job, Chunk(job.id, Codec.CLOSE, msgspec.json.encode(ending)))
                await asyncio.sleep(_LEAVE_SECONDS)
                self.disconnected = True
                pool.abandon(job)
                return
            text = event.get("text")
            codec, body = (Codec.CHUNKS, event["bytes"]) if text is None else (Codec.TEXT, text.encode())
            pool.tell(job, Chunk(job.id, codec, body))
            self._left -= cost_of_chunk(body)
            while self._left <= 0:
                self._room.clear()
                await self._room.wait()

    async def _write(self, pool: Pool, job: Job) -> None:
        while True:
            while self._chunks:
                chunk = self._chunks.popleft()
                await self._pass_on(chunk)
                pool.credit(job, cost_of_chunk(chunk.body))
            if self._ended is not None:
                return
            self._news.clear()
            await self._news.wait()

    async def _pass_on(self, chunk: Chunk) -> None:
        if self.gone:
            return
        key, data = ("text", chunk.body.decode()) if chunk.codec == Codec.TEXT else ("bytes", chunk.body)
        with contextlib.suppress(OSError):  # the client has left: `_read` tells the model
            await self._send({"type": "websocket.send", key: data})


class Websockets:
    """Answers connections at `/v1/websocket`.

    Args:
        pool: Where they go.
        predictions: Who may ask, and how answers are counted.
        debug: Whether clients may see tracebacks.
    """

    def __init__(self, pool: Pool, predictions: Predictions, *, debug: bool = False) -> None:
        self._pool = pool
        self._predictions = predictions
        self._debug = debug

    async def answer(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Answer one connection, from its request to its end."""
        request = self._predictions.request(_request, PATH)
        await receive()  # that it connects
        try:
            job, talk = await self._open(request, scope, receive, send)
        except TrussError as error:
            await _refuse(send, error_reply(error, request.id, debug=self._debug))
            self._predictions.settle(request, error.status)
            return
        await send({"type": "websocket.accept", "headers": [(b"x-request-id", request.id)]})
        ended = await talk.run(self._pool, job)
        code, reason = self._ending(request, ended)
        if not talk.gone:
            shown = reason.encode()[:_LONGEST_REASON].decode(errors="ignore")
            with contextlib.suppress(OSError):
                await send({"type": "websocket.close", "code": code, "reason": shown})

    async def _open(
        self, request: Request, scope: Mapping[str, Any], receive: Any, send: Any
    ) -> tuple[Job, Talk]:
        """A connection that the model has begun to answer.

        Raises:
            TrussError: it is not to be answered, or could not.
        """
        if scope["path"].rstrip("/") != PATH:
            raise RouteNotFoundError(f"no websocket is at {scope['path']}", hint=f"connect to {PATH}")
        request.read(scope["headers"])
        self._predictions.admit(request, scope["headers"])
        if self._predictions.draining:
            raise NotReadyError("the server is stopping", hint="connect to another instance")
        if self._pool.ready and not self._pool.talks:
            raise RouteNotFoundError(
                "this model has no method `websocket`, which answers here",
                hint="add `async def websocket(self, websocket)` to the model class",
            )
        request.codec, request.delivery = Codec.WEBSOCKET, 0
        request.method, request.query, request.headers = "GET", scope["query_string"], scope["headers"]
        talk = Talk(receive, send)
        job = self._predictions.submit(request, b"", talk)
        ended = await talk.begin()
        if ended is not None:
            raise self._predictions.error(ended)
        if job.timer is not None:
            job.timer.cancel()  # it has begun in time; how long it goes on is the two sides' to say
        return job, talk

    def _ending(self, request: Request, ended: Answer | TrussError) -> tuple[int, str]:
        if isinstance(ended, Answer) and ended.codec == Codec.CLOSE:
            self._predictions.settle(request, 200)
            code, reason = msgspec.json.decode(ended.body, type=tuple[int, str])
            return code, reason
        error = self._predictions.error(ended)
        self._predictions.refuse(request, error)
        return FAILED, error.message


def _request(id_: bytes) -> Request:
    return Request(id_, Codec.JSON)


async def _refuse(send: Any, reply: Reply) -> None:
    """Answer a request to change to websocket with an HTTP response instead."""
    headers = [
        (b"content-type", reply.content_type),
        (b"content-length", str(len(reply.body)).encode()),
        *reply.headers,
    ]
    start = {"type": "websocket.http.response.start", "status": reply.status, "headers": headers}
    await send(start)
    await send({"type": "websocket.http.response.body", "body": bytes(reply.body)})

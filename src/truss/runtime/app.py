"""The HTTP side of the front: routes, request bodies to the pool, answers to the client.

A small ASGI application. It never looks inside a body: it moves bytes between the socket and the
pool. https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import os
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any, cast

import msgspec

from truss.config import Runtime, parse_size
from truss.errors import (
    BodyTooLargeError,
    ClientClosedRequestError,
    InvalidInputError,
    MethodNotAllowedError,
    NotReadyError,
    QueueFullError,
    RouteNotFoundError,
    TrussError,
)
from truss.runtime import metrics as metrics_module
from truss.runtime.frames import Answer, Codec
from truss.runtime.jobs import Client
from truss.runtime.metrics import Metrics
from truss.runtime.pool import Pool

logger = logging.getLogger("truss.front")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

MODEL_NAME = "model"

_CONTENT_TYPES = {Codec.JSON: b"application/json", Codec.MSGPACK: b"application/octet-stream"}
_BINARY_TYPES = (b"application/octet-stream", b"application/msgpack", b"application/x-msgpack")


@dataclass(slots=True)
class Exchange:
    """A request and the way to answer it, with what its headers say as far as the front cares.

    Attributes:
        request_id: The client's `X-Request-Id`, or one of ours.
        timeout: Seconds the client waits (`X-Request-Timeout`), if it said so.
        binary: Whether the body is announced as msgpack.
        length: The announced length of the body in bytes, 0 when it is not announced.
    """

    receive: Receive
    send: Send
    request_id: bytes
    timeout: float | None = None
    binary: bool = False
    length: int = 0

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take over what the headers say.

        Raises:
            InvalidInputError: the timeout is not a positive number.
        """
        for name, value in headers:
            if name == b"content-length":
                self.length = int(value) if value.isdigit() else 0
            elif name == b"content-type":
                self.binary = value.partition(b";")[0].strip().lower() in _BINARY_TYPES
            elif name == b"x-request-id":
                self.request_id = value[:128]
            elif name == b"x-request-timeout":
                self.timeout = _seconds(value)


@dataclass(frozen=True)
class Route:
    """What answers a path, and under which method."""

    method: str
    answer: Callable[[Exchange], Awaitable[None]]


class App:
    """The ASGI application over a pool.

    Args:
        pool: Where predict requests go.
        settings: The config's `runtime`.
        metrics: What `/metrics` shows.

    Attributes:
        draining: Set when the server is about to stop: readiness fails, connections close after their
            answer, requests are still answered.
    """

    def __init__(self, pool: Pool, settings: Runtime, metrics: Metrics) -> None:
        self._pool = pool
        self._metrics = metrics
        self._debug = settings.debug
        self._max_body = parse_size(settings.max_body)
        prefix = os.urandom(4).hex().encode()
        self._request_ids = (b"%b-%x" % (prefix, number) for number in itertools.count(1))
        self.draining = False
        self._routes = self._table()
        metrics.describe_gauge("truss_queue_depth", "Requests waiting.", lambda: [("", pool.waiting)])
        metrics.describe_gauge("truss_requests_running", "Requests in workers.", lambda: [("", pool.running)])
        metrics.describe_gauge("truss_workers", "Workers by state.", self._worker_states)
        metrics.describe_gauge(
            "truss_batch_cost_seconds",
            "The fitted cost of a batch: fixed, and per row.",
            lambda: [('part="fixed"', pool.cost.fixed), ('part="per_row"', pool.cost.per_row)],
        )

    def _table(self) -> dict[str, Route]:
        model = f"/v1/models/{MODEL_NAME}"
        predict = Route("POST", self._predict)
        ready, live = Route("GET", self._readiness), Route("GET", self._liveness)
        return {
            "/": live,
            "/livez": live,
            "/healthz": live,
            "/readyz": ready,
            "/ping": ready,
            "/v1/models": Route("GET", self._models),
            model: ready,
            f"{model}/loaded": ready,
            f"{model}:predict": predict,
            f"{model}:predict_binary": Route("POST", self._predict_binary),
            "/invocations": predict,
            "/metrics": Route("GET", self._show_metrics),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI entry point)."""
        if scope["type"] != "http":
            raise RuntimeError(f"unexpected ASGI scope {scope['type']!r}: the server is set up for HTTP only")
        exchange = Exchange(receive, send, next(self._request_ids))
        try:
            exchange.read(scope["headers"])
            await self._find(scope).answer(exchange)
        except ClientClosedRequestError:
            pass  # nobody is there to be told
        except TrussError as error:
            await self._send_error(exchange, error)

    def _find(self, scope: Scope) -> Route:
        path: str = scope["path"]
        route = self._routes.get(path) or self._routes.get(path.rstrip("/"))
        if route is None:
            raise RouteNotFoundError(
                f"there is no route {path}",
                hint=f"predict: POST /v1/models/{MODEL_NAME}:predict; all routes: {', '.join(self._routes)}",
            )
        method = scope["method"]
        if method != route.method and not (method == "HEAD" and route.method == "GET"):
            raise MethodNotAllowedError(
                f"{path} takes {route.method}, not {method}", hint=f"send {route.method}"
            )
        return route

    # --- predictions ---

    async def _predict(self, exchange: Exchange) -> None:
        await self._run(exchange, Codec.MSGPACK if exchange.binary else Codec.JSON)

    async def _predict_binary(self, exchange: Exchange) -> None:
        await self._run(exchange, Codec.MSGPACK)

    async def _run(self, exchange: Exchange, codec: Codec) -> None:
        started = perf_counter()
        status = 500
        try:
            body = await self._read_body(exchange)
            client = _client(exchange.receive)
            pending = self._pool.submit(body, codec, client, exchange.timeout)
            if self._pool.interruptible:
                await self._watch(exchange, pending)
            answer = await pending
            if answer.codec == Codec.ERROR:
                raise _worker_error(answer)
            status = answer.status
            await self._send(exchange, status, _CONTENT_TYPES[codec], bytes(answer.body))
        except TrussError as error:
            status = error.status
            raise
        finally:
            self._metrics.count_request(status, perf_counter() - started)

    async def _watch(self, exchange: Exchange, pending: asyncio.Future[Answer]) -> None:
        """Wait for the answer or for the client to leave; tell the pool when it leaves."""
        leaving: asyncio.Future[Any] = asyncio.ensure_future(exchange.receive())
        waiting: set[asyncio.Future[Any]] = {pending, leaving}
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not pending.done():
            self._pool.abandon(pending)
        leaving.cancel()

    async def _read_body(self, exchange: Exchange) -> bytes:
        if exchange.length > self._max_body:
            raise self._too_large(exchange.length)
        chunks: list[bytes] = []
        size = 0
        while True:
            message = await exchange.receive()
            if message["type"] == "http.disconnect":
                raise ClientClosedRequestError("the client left while sending its request")
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            if size > self._max_body:
                raise self._too_large(size)
            if not message.get("more_body", False):
                return b"".join([*chunks, chunk]) if chunks else chunk
            chunks.append(chunk)

    def _too_large(self, size: int) -> BodyTooLargeError:
        return BodyTooLargeError(
            f"the body has {size} bytes or more; the limit is {self._max_body}",
            hint="send less, or raise `runtime.max_body` in config.yaml",
        )

    # --- health and information ---

    async def _liveness(self, exchange: Exchange) -> None:
        await self._send_json(exchange, 200, {"status": "alive", "ready": self._pool.ready})

    async def _readiness(self, exchange: Exchange) -> None:
        if self.draining:
            raise NotReadyError("the server is stopping", hint="send requests to another instance")
        if not self._pool.ready:
            error = self._pool.load_error
            if error is not None:
                raise NotReadyError(
                    f"the model cannot be loaded: {error.message}", where=error.where, hint=error.hint
                )
            raise NotReadyError("the model is loading", hint="ask again in a few seconds")
        await self._send_json(exchange, 200, {"name": MODEL_NAME, "ready": True})

    async def _models(self, exchange: Exchange) -> None:
        await self._send_json(exchange, 200, {"models": [MODEL_NAME]})

    async def _show_metrics(self, exchange: Exchange) -> None:
        content_type = metrics_module.CONTENT_TYPE.encode()
        await self._send(exchange, 200, content_type, self._metrics.render())

    def _worker_states(self) -> Iterable[tuple[str, float]]:
        for index, state in self._pool.states():
            yield f'worker="{index}",state="{state.value}"', 1

    # --- answers ---

    async def _send_json(self, exchange: Exchange, status: int, content: Any) -> None:
        await self._send(exchange, status, b"application/json", msgspec.json.encode(content))

    async def _send_error(self, exchange: Exchange, error: TrussError) -> None:
        trace = getattr(error, "remote_traceback", "")
        if error.status >= 500 and error.status != 503:
            logger.error("request %s: %s\n%s", exchange.request_id.decode("latin-1"), error, trace)
        content: dict[str, Any] = {"type": error.type, "message": _located(error, self._debug)}
        if error.hint:
            content["hint"] = error.hint
        content["request_id"] = exchange.request_id.decode("latin-1")
        if self._debug and trace:
            content["traceback"] = trace
        extra: Headers = []
        if isinstance(error, QueueFullError):
            extra = [(b"retry-after", str(error.retry_after).encode())]
        elif error.status == 503:
            extra = [(b"retry-after", b"1")]
        elif isinstance(error, BodyTooLargeError):
            extra = [(b"connection", b"close")]  # the rest of the body is not worth reading
        body = json.dumps({"error": content}).encode()
        await self._send(exchange, error.status, b"application/json", body, extra)

    async def _send(
        self, exchange: Exchange, status: int, content_type: bytes, body: bytes, extra: Headers | None = None
    ) -> None:
        headers = [
            (b"content-type", content_type),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", exchange.request_id),
        ]
        if extra:
            headers += extra
        if self.draining:
            headers.append((b"connection", b"close"))
        await exchange.send({"type": "http.response.start", "status": status, "headers": headers})
        await exchange.send({"type": "http.response.body", "body": body})


def _seconds(value: bytes) -> float:
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < float("inf"):
        raise InvalidInputError(
            f"X-Request-Timeout is {value.decode('latin-1')!r}",
            hint="send a positive number of seconds, e.g. X-Request-Timeout: 2.5",
        )
    return seconds


@dataclass
class _Unknown:
    """Stands for a client that the server under us tells nothing about."""

    disconnected: bool = False


def _client(receive: Receive) -> Client:
    """The connection's own flag of whether the client has left.

    uvicorn's `receive` is a method of the object that knows. Asking that object costs nothing; waiting
    for a disconnect message, as the specification has it, costs a task per request.
    """
    cycle = getattr(receive, "__self__", None)
    return cast("Client", cycle) if hasattr(cycle, "disconnected") else _Unknown()


def _worker_error(answer: Answer) -> TrussError:
    """The error that a worker sent, as the kind of error it was."""
    facts = json.loads(bytes(answer.body))
    kind = type("_WorkerError", (TrussError,), {"status": answer.status, "type": facts["type"]})
    error: TrussError = kind(facts["message"], where=facts["where"], hint=facts["hint"])
    error.remote_traceback = facts["traceback"]  # type: ignore[attr-defined]  # read by `_send_error`
    return error


def _located(error: TrussError, debug: bool) -> str:
    """The message; with the place in the model's code where that concerns the client, or is asked for."""
    show = error.where and (debug or error.status < 500 or error.type == "prediction_failed")
    return f"{error.message} ({error.where})" if show else error.message

"""The HTTP side of the front: routes, and the general way from a request to its response.

A small ASGI application. It never looks inside a body: it moves bytes between the socket and the pool.
Most predict requests take a shorter way, `truss.runtime.http`.
https://asgi.readthedocs.io/en/latest/specs/www.html
"""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

import msgspec

from truss.errors import (
    ClientClosedRequestError,
    MethodNotAllowedError,
    NotReadyError,
    RouteNotFoundError,
    TrussError,
)
from truss.runtime import metrics as metrics_module
from truss.runtime.documents import Documents
from truss.runtime.frames import Answer, Chunk, Codec, Delivery, cost_of_chunk
from truss.runtime.jobs import Job
from truss.runtime.metrics import Metrics
from truss.runtime.pool import Pool
from truss.runtime.predictions import (
    MODEL_NAME,
    Predictions,
    Reply,
    Request,
    error_reply,
)
from truss.runtime.protocols import open_inference
from truss.runtime.protocols.routes import LIVE_PATHS, READY_PATHS, ProtocolRequest, Service
from truss.runtime.websockets import Websockets
from truss.runtime.workers import State
from truss.version import __version__

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


@dataclass(slots=True)
class Exchange:
    """A request and the way to answer it."""

    receive: Receive
    send: Send
    request: Request
    scope: Scope
    begun: bool = False

    async def start(self, reply: Reply, *, close: bool) -> None:
        """Send the head of a response whose parts follow."""
        self.begun = True
        headers = [(b"content-type", reply.content_type), (b"x-request-id", self.request.id), *reply.headers]
        if close:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": reply.status, "headers": headers})

    async def pass_on(self, part: bytes, *, more: bool) -> None:
        """Send a part of it; returns when the client reads fast enough for the next."""
        await self.send({"type": "http.response.body", "body": part, "more_body": more})

    async def respond(self, reply: Reply, *, close: bool) -> None:
        """Send the response; with `close` the connection closes after it."""
        headers = [
            (b"content-type", reply.content_type),
            (b"content-length", str(len(reply.body)).encode()),
            (b"x-request-id", self.request.id),
            *reply.headers,
        ]
        if close or reply.close:
            headers.append((b"connection", b"close"))
        await self.send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": reply.body})


class Waiting:
    """A caller of the pool that a coroutine awaits.

    Attributes:
        answer: The answer, or what ends a stream.
        chunks: The parts of a stream that are there and have not been passed on.
        news: Set when something has come.
    """

    def __init__(self) -> None:
        self.disconnected = False
        self.answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.chunks: deque[Chunk] = deque()
        self.news = asyncio.Event()

    def chunk(self, chunk: Chunk) -> None:
        """Take a part of a streamed answer."""
        self.chunks.append(chunk)
        self.news.set()

    def answered(self, answer: Answer) -> None:
        """Take the answer."""
        if not self.answer.done():
            self.answer.set_result(answer)
            self.news.set()

    def failed(self, error: TrussError) -> None:
        """Take the error that is there in place of an answer."""
        if not self.answer.done():
            self.answer.set_exception(error)
            self.news.set()


Routes = dict[str, Callable[[Exchange], Awaitable[Reply]]]
"""Method -> what answers there; errors are responses as well."""


class App:
    """The ASGI application over a pool.

    Args:
        pool: Where predict requests go.
        predictions: The way there.
        metrics: What `/metrics` shows.
        service: What the model is called, and where platforms look for it.
        documents: What clients read about the model.
        debug: Whether clients may see tracebacks.
    """

    def __init__(
        self,
        pool: Pool,
        predictions: Predictions,
        metrics: Metrics,
        service: Service,
        documents: Documents,
        *,
        debug: bool = False,
    ) -> None:
        self._service = service
        self._pool = pool
        self._predictions = predictions
        self._metrics = metrics
        self._documents = documents
        self._websockets = Websockets(pool, predictions, debug=debug)
        self._debug = debug
        self._routes = self._table()
        self._open = (self._liveness, self._readiness, self._one_model)  # health needs no key
        metrics.describe_gauge("truss_queue_depth", "Requests waiting.", lambda: [("", pool.waiting)])
        metrics.describe_gauge("truss_requests_running", "Requests in workers.", lambda: [("", pool.running)])
        metrics.describe_gauge("truss_workers", "Workers by state.", self._worker_states)
        metrics.describe_gauge(
            "truss_batch_cost_seconds",
            "The fitted cost of a batch: fixed, and per row.",
            lambda: [('part="fixed"', pool.cost.fixed), ('part="per_row"', pool.cost.per_row)],
        )

    def _table(self) -> dict[str, Routes]:
        """Path -> method -> what answers."""
        service = self._service
        table: dict[str, Routes] = {}

        def get(answer: Callable[[Exchange], Awaitable[Reply]], *paths: str | None) -> None:
            for path in paths:
                if path is not None:
                    table.setdefault(path, {})["GET"] = answer

        get(self._liveness, *LIVE_PATHS)
        get(self._readiness, *READY_PATHS, service.health_path)
        get(self._models, "/v1/models")
        for path, _ in service.model_paths("/v1/models"):
            get(self._one_model, path)
            get(self._readiness, f"{path}/loaded")
            get(self._schema, f"{path}/schema")
        get(self._server_metadata, "/v2")
        for path, _ in service.versioned_paths():
            get(self._model_metadata, path)
            get(self._readiness, f"{path}/ready")
        get(self._show_metrics, "/metrics")
        get(self._openapi, "/openapi.json")
        get(self._page, "/docs")
        for path, make in self._predictions.routes.items():
            methods = table.setdefault(path, {})
            methods["POST"] = self._predict
            if "GET" not in methods and make(b"").codec == Codec.JSON:
                methods["GET"] = self._predict_events
        return table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (the ASGI entry point)."""
        if scope["type"] == "websocket":
            await self._websockets.answer(scope, receive, send)
            return
        if scope["type"] != "http":
            raise RuntimeError(f"unexpected ASGI scope {scope['type']!r}: the server is set up for HTTP only")
        path = scope["path"]
        route = path if path in self._routes else path.rstrip("/")
        known = self._routes.get(route)
        request = self._predictions.request(self._maker(path), "other" if known is None else route)
        request.method, request.query = scope["method"], scope["query_string"]
        exchange = Exchange(receive, send, request, scope)
        try:
            request.read(scope["headers"])
            answer = known.get("GET") if known and scope["method"] in ("GET", "HEAD") else None
            if answer not in self._open:
                self._predictions.admit(request, scope["headers"])
            reply = await self._find(scope)(exchange)
        except TrussError as error:
            reply = error_reply(error, request.id, debug=self._debug, codec=request.codec)
        self._predictions.settle(request, reply.status)
        if exchange.begun:
            return
        await exchange.respond(reply, close=self._predictions.draining)

    def _maker(self, path: str) -> Callable[[bytes], Request]:
        """What makes a request of a path; of a wrong one, so that its error has its protocol's shape."""
        routes = self._predictions.routes
        make = routes.get(path) or routes.get(path.rstrip("/"))
        if make is not None:
            return make
        return functools.partial(ProtocolRequest, codec=Codec.OPEN_INFERENCE) if _is_v2(path) else Request

    def _find(self, scope: Scope) -> Callable[[Exchange], Awaitable[Reply]]:
        path: str = scope["path"]
        routes = self._routes.get(path) or self._routes.get(path.rstrip("/"))
        if routes is None:
            raise RouteNotFoundError(
                f"there is no route {path}",
                hint=f"predict: POST /v1/models/{MODEL_NAME}:predict; all routes: {', '.join(self._routes)}",
            )
        method = scope["method"]
        answer = routes.get("GET" if method == "HEAD" else method)
        if answer is None:
            known = " or ".join(routes)
            allowed = ("HEAD", *routes) if "GET" in routes else tuple(routes)
            raise MethodNotAllowedError(
                f"{path} takes {known}, not {method}", allowed=allowed, hint=f"send {known}"
            )
        return answer

    # --- predictions ---

    async def _predict(self, exchange: Exchange) -> Reply:
        request = exchange.request
        try:
            body = await self._read_body(exchange)
            return self._predictions.answer(request, await self._ask(exchange, body))
        except TrussError as error:
            return self._predictions.refuse(request, error)

    async def _predict_events(self, exchange: Exchange) -> Reply:
        """As `_predict`, with the body in the query: a browser's `EventSource` sends none."""
        request = exchange.request
        asked = parse_qs(exchange.scope["query_string"].decode("latin-1")).get("request")
        if asked is None or request.delivery != Delivery.EVENTS:
            raise MethodNotAllowedError(
                f"{exchange.scope['path']} takes POST",
                allowed=("POST", "GET"),
                hint="send POST; GET ...?request=JSON is for clients that accept text/event-stream only",
            )
        request.codec = Codec.JSON
        try:
            await self._read_body(exchange)  # none is expected; what comes next is that the client leaves
            return self._predictions.answer(request, await self._ask(exchange, asked[0].encode()))
        except TrussError as error:
            return self._predictions.refuse(request, error)

    async def _ask(self, exchange: Exchange, body: bytes) -> Answer:
        """The pool's answer; the request is dropped when its client leaves."""
        waiting = Waiting()
        job = self._predictions.submit(exchange.request, body, waiting)
        leaving: asyncio.Future[Any] = asyncio.ensure_future(exchange.receive())

        def leave(_: object) -> None:
            if not waiting.answer.done():
                waiting.disconnected = True
                self._predictions.abandon(job)

        leaving.add_done_callback(leave)
        try:
            await waiting.news.wait()
            if waiting.chunks:
                await self._pass_on(exchange, waiting, job)
            return await waiting.answer
        finally:
            leaving.remove_done_callback(leave)
            leaving.cancel()

    async def _pass_on(self, exchange: Exchange, waiting: Waiting, job: Job) -> None:
        """Send a stream as it comes, and its end."""
        first = waiting.chunks[0]
        await exchange.start(self._predictions.head(first), close=self._predictions.draining)
        while True:
            while waiting.chunks:
                part = waiting.chunks.popleft().body
                await exchange.pass_on(part, more=True)
                self._predictions.credit(job, cost_of_chunk(part))
            if waiting.answer.done():
                break
            waiting.news.clear()
            await waiting.news.wait()
        last = self._predictions.end(exchange.request, first.codec, await _settled(waiting.answer))
        if last is not None:
            await exchange.pass_on(last, more=False)

    async def _read_body(self, exchange: Exchange) -> bytes:
        self._predictions.check_size(exchange.request.length)
        chunks: list[bytes] = [exchange.request.envelope]
        size = 0
        while True:
            message = await exchange.receive()
            if message["type"] == "http.disconnect":
                raise ClientClosedRequestError("the client left while sending its request")
            chunk: bytes = message.get("body", b"")
            size += len(chunk)
            self._predictions.check_size(size)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return b"".join(chunks)

    # --- health and information ---

    async def _liveness(self, _: Exchange) -> Reply:
        return _json({"status": "alive", "ready": self._pool.ready})

    async def _readiness(self, _: Exchange) -> Reply:
        if self._predictions.draining:
            raise NotReadyError("the server is stopping", hint="send requests to another instance")
        if not self._pool.ready:
            raise self._pool.not_ready()
        complaint = await self._pool.complaint()
        if complaint:
            raise NotReadyError(
                f"the model is not well: {complaint}", hint="send requests to another instance"
            )
        return _json({"name": MODEL_NAME, "ready": True})

    async def _one_model(self, exchange: Exchange) -> Reply:
        """Whether the model is ready, as KServe says it, and what it is, as OpenAI does."""
        await self._readiness(exchange)
        return _json({"name": MODEL_NAME, "ready": True, **_model(MODEL_NAME)})

    async def _schema(self, _: Exchange) -> Reply:
        return Reply(200, *await self._documents.schema())

    async def _openapi(self, exchange: Exchange) -> Reply:
        return Reply(200, *await self._documents.openapi(exchange.scope.get("root_path", "")))

    async def _page(self, exchange: Exchange) -> Reply:
        headers = dict(exchange.scope["headers"])
        # Behind a proxy that ends TLS, clients ask by https.
        scheme = "https" if headers.get(b"x-forwarded-proto") == b"https" else exchange.scope["scheme"]
        host, prefix = headers.get(b"host", b"").decode("latin-1"), exchange.scope.get("root_path", "")
        return Reply(200, *await self._documents.page(host, scheme, prefix))

    async def _models(self, _: Exchange) -> Reply:
        """The models, as KServe lists them and as OpenAI does."""
        names = self._service.names
        return _json({"models": names, "object": "list", "data": [_model(name) for name in names]})

    async def _server_metadata(self, _: Exchange) -> Reply:
        return _json({"name": "truss", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def _model_metadata(self, _: Exchange) -> Reply:
        return _json(open_inference.metadata(self._service.names[-1], self._service.signature))

    async def _show_metrics(self, _: Exchange) -> Reply:
        return Reply(200, self._metrics.render(), metrics_module.CONTENT_TYPE.encode())

    def _worker_states(self) -> Iterable[tuple[str, float]]:
        for index, state in self._pool.states():
            yield from ((f'worker="{index}",state="{one.value}"', int(state is one)) for one in State)


async def _settled(answer: asyncio.Future[Answer]) -> Answer | TrussError:
    try:
        return await answer
    except TrussError as error:
        return error


def _is_v2(path: str) -> bool:
    return path == "/v2" or path.startswith("/v2/")


def _model(name: str) -> dict[str, Any]:
    """A model as OpenAI's API describes one."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "truss"}


def _json(content: Any) -> Reply:
    return Reply(200, msgspec.json.encode(content))

"""Predict requests as the front sees them: what their headers say, and how they are answered.

A body is never looked into here. The two ways in, the short one of `truss.runtime.http` and the general
one of `truss.runtime.app`, share what is below.
"""

from __future__ import annotations

import functools
import itertools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from truss.config import Runtime, parse_size
from truss.errors import (
    BodyTooLargeError,
    InvalidInputError,
    MethodNotAllowedError,
    QueueFullError,
    TrussError,
    UnauthorizedError,
    UnsupportedBodyError,
)
from truss.runtime.arena import Arena, Lease
from truss.runtime.authentication import ApiKeys
from truss.runtime.context import pack, with_facts
from truss.runtime.frames import Answer, Chunk, Codec, Delivery
from truss.runtime.jobs import Caller, Job
from truss.runtime.logs import note_access
from truss.runtime.metrics import Metrics
from truss.runtime.pool import Pool
from truss.runtime.protocols import replies

if TYPE_CHECKING:
    from truss.runtime.tracing import Span, Tracing

logger = logging.getLogger("truss.front")

Headers = Sequence[tuple[bytes, bytes]]

MODEL_NAME = "model"

_JSON_TYPE = b"application/json"
_CONTENT_TYPES = {int(Codec.JSON): _JSON_TYPE, int(Codec.MSGPACK): b"application/octet-stream"} | {
    int(Codec.OPEN_INFERENCE_GRPC): b"application/grpc",
    int(Codec.EVENTS): b"text/event-stream",
    int(Codec.CHUNKS): b"application/octet-stream",
}
_CODECS: dict[bytes, int] = {
    b"application/octet-stream": Codec.MSGPACK,
    b"application/msgpack": Codec.MSGPACK,
    b"application/x-msgpack": Codec.MSGPACK,
    b"text/csv": Codec.CSV,
    b"application/csv": Codec.CSV,
    b"application/vnd.apache.parquet": Codec.PARQUET,
    b"application/x-parquet": Codec.PARQUET,
    b"application/x-npy": Codec.NPY,
    b"application/vnd.apache.arrow.stream": Codec.ARROW,
    **{b"image/%b" % kind: Codec.IMAGE for kind in (b"png", b"jpeg", b"webp", b"bmp", b"gif", b"tiff")},
}
"""Content type -> format of the body; whatever else a client says, it is read as JSON."""
_DELIVERIES = {_JSON_TYPE: Delivery.WHOLE, b"text/event-stream": Delivery.EVENTS}
_NOT_KEPT = ((b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no"))
"""Proxies between here and a browser are to pass events on as they come."""
_COMPRESSIONS = frozenset({b"gzip", b"x-gzip", b"deflate", b"br", b"zstd", b"compress"})
"""Of `Content-Encoding`; clients that name a character set there mean the body as it is."""
_OPENAI = (Codec.CHAT, Codec.COMPLETIONS, Codec.EMBEDDINGS)


@dataclass(slots=True)
class Request:
    """What the headers of a predict request say, as far as the front cares.

    Attributes:
        id: The client's `X-Request-Id`, or one of ours.
        codec: The format of the body, and of the answer.
        timeout: Seconds the client waits (`X-Request-Timeout`), if it said so.
        length: The announced length of the body in bytes, 0 when it is not announced.
        arrived: When the request was there, in seconds of `time.perf_counter`.
        envelope: What is put before its body for the worker.
        route: Its path, as the table of routes has it.
        delivery: How it wants the answer of a model that streams.
        query: What follows its path.
        method: Its method.
        headers: All its headers, where the model asks for them.
        settled: Whether its answer was counted.
        span: Its span, where it is traced.
    """

    id: bytes
    codec: int = Codec.JSON
    timeout: float | None = None
    length: int = 0
    arrived: float = 0.0
    envelope: bytes = b""
    route: str = "other"
    delivery: int = Delivery.CHUNKS
    query: bytes = b""
    method: str = "POST"
    headers: Iterable[tuple[bytes, bytes]] = ()
    settled: bool = False
    span: Span | None = None

    def read(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take over what the headers say; their names are in lower case.

        Raises:
            InvalidInputError: the timeout is not a positive number.
            UnsupportedBodyError: the body comes in several parts, or compressed.
        """
        for name, value in headers:
            if name == b"content-length":
                self.length = int(value) if value.isdigit() else 0
            elif name == b"content-type":
                if value != _JSON_TYPE:
                    media_type = value.partition(b";")[0].strip().lower()
                    self.codec = _CODECS.get(media_type, self.codec)
                    if media_type.startswith(b"multipart/"):
                        raise _no_multipart()
            elif name == b"x-request-id":
                self.id = value[:128]
            elif name == b"accept":
                self.delivery = _delivery(value)
            elif name == b"x-request-timeout":
                self.timeout = _seconds(value)
            elif name == b"content-encoding" and value.strip().lower() in _COMPRESSIONS:
                raise _no_compression(value)

    def facts(self) -> dict[str, Any]:
        """What was sent besides the body."""
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.headers]
        query = self.query.decode("latin-1")
        return {"method": self.method, "path": self.route, "query": query, "headers": headers}


# A named tuple, as in `frames`: one is made per request.
class Reply(NamedTuple):
    """An HTTP response.

    Attributes:
        headers: Those besides content type, length and request id.
        close: Whether the connection must close after it.
    """

    status: int
    body: bytes | memoryview
    content_type: bytes = _JSON_TYPE
    headers: Headers = ()
    close: bool = False


class Predictions:
    """Passes predict requests to the pool, and counts and words what comes back.

    Args:
        pool: Where predict requests go.
        arena: Where large bodies are received.
        settings: The config's `runtime`.
        metrics: Where answers are counted.
        routes: Path -> what makes a request of a POST there, given its id.
        keys: The API keys, if clients need one.
        tracing: Where spans go, if traces are taken.

    Attributes:
        max_body: The largest body taken, in bytes.
        draining: Set when the server is about to stop: connections close after their answer.
    """

    def __init__(
        self,
        pool: Pool,
        arena: Arena,
        settings: Runtime,
        metrics: Metrics,
        routes: Mapping[str, Callable[[bytes], Request]],
        keys: ApiKeys | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self._keys = keys
        self._tracing = tracing
        self._access_log = settings.logging.access
        self.routes = routes
        self._pool = pool
        self._arena = arena
        self._metrics = metrics
        self._debug = settings.debug
        self.max_body = parse_size(settings.max_body)
        self.draining = False
        self._request_ids = _request_ids()

    def request(self, make: Callable[[bytes], Request], route: str = "other") -> Request:
        """A new request of a route, nothing read of it yet."""
        request = make(next(self._request_ids))
        request.route = route
        return request

    def admit(self, request: Request, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Begin the trace of a request whose headers are there, and see whether it may ask.

        Raises:
            UnauthorizedError: it may not.
        """
        if self._tracing is not None:
            request.span = self._tracing.begin(headers, request.route, request.id)
        if self._keys is not None:
            self._keys.check(headers)
        if self._pool.wants_request:
            request.headers = headers

    def lease(self, length: int) -> Lease | None:
        """Where to receive a body of so many bytes; None when it is small, or there is no room."""
        return self._arena.lease(length)

    def submit(self, request: Request, body: bytes | Lease, caller: Caller) -> Job:
        """Queue a request whose body is there.

        Raises:
            NotReadyError: no worker has ever loaded the model.
            QueueFullError: too many requests wait.
        """
        request.arrived = perf_counter()
        span = request.span
        context = request.id if span is None else pack(request.id, span.traceparent, request.arrived)
        if self._pool.wants_request or request.codec == Codec.WEBSOCKET:
            context = with_facts(context, request.facts())
        return self._pool.submit(body, request.codec | request.delivery, caller, request.timeout, context)

    def abandon(self, job: Job) -> None:
        """Drop a request whose client left, or stop it where it can be stopped."""
        self._pool.abandon(job)

    def credit(self, job: Job, size: int) -> None:
        """So much of a stream has gone on to its reader (`frames.cost_of_chunk`)."""
        self._pool.credit(job, size)

    def end(self, request: Request, codec: int, found: Answer | TrussError) -> bytes | None:
        """What is still to send of a stream; None: it failed, which only closing the connection tells.

        Args:
            request: What was asked.
            codec: What the parts of the stream are.
            found: The answer that ends it, or why it ends.
        """
        if isinstance(found, Answer) and found.codec != Codec.ERROR:
            self.settle(request, found.status)
            return bytes(found.body)
        reply = self.refuse(request, self.error(found))
        if codec != Codec.EVENTS:
            return None
        name = b"" if request.codec in _OPENAI else b"event: failure\n"
        return b"%bdata: %b\n\n" % (name, bytes(reply.body))

    def error(self, found: Answer | TrussError) -> TrussError:
        """The error that a worker sent, or that is there in place of its answer."""
        return _worker_error(found) if isinstance(found, Answer) else found

    def check_size(self, size: int) -> None:
        """Refuse a body, or the announcement of one, that is too large.

        Raises:
            BodyTooLargeError: it is.
        """
        if size > self.max_body:
            raise BodyTooLargeError(
                f"the body has {size} bytes or more; the limit is {self.max_body}",
                hint="send less, or raise `runtime.max_body` in config.yaml",
            )

    def answer(self, request: Request, answer: Answer) -> Reply:
        """The response to a request that a worker answered, be it with an error."""
        if answer.codec == Codec.ERROR:
            return self.refuse(request, _worker_error(answer))
        self.settle(request, answer.status)
        body = bytes(answer.body)
        content_type = _CONTENT_TYPES.get(answer.codec)
        if content_type is None:
            return Reply(answer.status, *replies.open_inference(body))
        return Reply(answer.status, body, content_type)

    def head(self, chunk: Chunk) -> Reply:
        """The head of a streamed response, whose first part is there."""
        return Reply(200, b"", _CONTENT_TYPES[chunk.codec], _NOT_KEPT if chunk.codec == Codec.EVENTS else ())

    def refuse(self, request: Request, error: TrussError) -> Reply:
        """The response to a request that failed."""
        self.settle(request, error.status)
        return error_reply(error, request.id, debug=self._debug, codec=request.codec)

    def settle(self, request: Request, status: int) -> None:
        """Count an answer, and note it where that is asked for; once per request."""
        if request.settled:
            return
        request.settled = True
        seconds = perf_counter() - request.arrived if request.arrived else None
        self._metrics.count_request(status, seconds, request.route)
        if request.span is not None:
            request.span.end(status)
        if self._access_log:
            note_access(request.route, status, seconds, request.id)


def _request_ids() -> Iterator[bytes]:
    """Ids that no two servers share: a random number for the process, and a count."""
    prefix = os.urandom(4).hex().encode()
    return (b"%b-%x" % (prefix, number) for number in itertools.count(1))


def error_reply(error: TrussError, request_id: bytes, *, debug: bool, codec: int = Codec.JSON) -> Reply:
    """An error as an HTTP response; what the operator must see is logged as well.

    Args:
        error: What went wrong.
        request_id: What the client calls the request, or what we do.
        debug: Whether the client may see tracebacks and places in the model's code.
        codec: The request's, which says in what shape its protocol has errors.
    """
    trace = getattr(error, "remote_traceback", "")
    if error.status >= 500 and error.status != 503:
        name = request_id.decode("latin-1")
        logger.error("request %s: %s\n%s", name, error, trace, extra={"request_id": name})
    content: dict[str, Any] = {"type": error.type, "message": _located(error, debug)}
    if error.hint:
        content["hint"] = error.hint
    content["request_id"] = request_id.decode("latin-1")
    if debug and trace:
        content["traceback"] = trace
    return Reply(
        error.status,
        json.dumps(replies.error_content(codec, error.status, content)).encode(),
        headers=_headers_of(error),
        close=isinstance(error, BodyTooLargeError),  # the rest of the body is not worth reading
    )


def _headers_of(error: TrussError) -> Headers:
    if isinstance(error, UnauthorizedError):
        return [(b"www-authenticate", b'Bearer realm="truss"')]
    if isinstance(error, MethodNotAllowedError):
        return [(b"allow", ", ".join(error.allowed).encode())]
    if isinstance(error, QueueFullError):
        return [(b"retry-after", str(error.retry_after).encode())]
    return [(b"retry-after", b"1")] if error.status == 503 else ()


def _worker_error(answer: Answer) -> TrussError:
    """The error that a worker sent, as the kind of error it was."""
    facts = json.loads(bytes(answer.body))
    kind = type("_WorkerError", (TrussError,), {"status": answer.status, "type": facts["type"]})
    error: TrussError = kind(facts["message"], where=facts["where"], hint=facts["hint"])
    error.remote_traceback = facts["traceback"]  # type: ignore[attr-defined]  # read by `error_reply`
    return error


def _located(error: TrussError, debug: bool) -> str:
    """The message; with the place in the model's code where that concerns the client, or is asked for."""
    show = error.where and (debug or error.status < 500 or error.type == "prediction_failed")
    return f"{error.message} ({error.where})" if show else error.message


def _no_multipart() -> UnsupportedBodyError:
    return UnsupportedBodyError(
        "bodies in several parts (multipart/form-data) are not read",
        hint='send one JSON body, with files in base64: {"inputs": ["..."]}; or the bytes of one file as they'
        " are, with their own Content-Type, such as image/png, application/x-npy or text/csv",
    )


def _no_compression(encoding: bytes) -> UnsupportedBodyError:
    return UnsupportedBodyError(
        f"compressed bodies (Content-Encoding: {encoding.decode('latin-1')}) are not read",
        hint="send the body as it is, without Content-Encoding",
    )


@functools.lru_cache(64)
def _delivery(accept: bytes) -> int:
    """How a client that accepts these media types wants a stream: the first of them that says it counts."""
    for part in accept.split(b","):
        delivery = _DELIVERIES.get(part.partition(b";")[0].strip().lower())
        if delivery is not None:
            return delivery
    return Delivery.CHUNKS


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

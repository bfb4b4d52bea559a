"""The Open Inference Protocol over gRPC, and gRPC's own health service.

Messages pass through here as bytes: those of inference are read and written in the worker, and go the same
way as requests over HTTP. gRPC brings its own HTTP/2, which takes a port rather than a connection; what comes
for it on the port of HTTP comes here by a Unix socket (`truss.runtime.passage`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.errors import (
    ClientClosedRequestError,
    DeadlineExceededError,
    MissingExtraError,
    NotReadyError,
    RouteNotFoundError,
    ServerStartError,
    TrussError,
    UnauthorizedError,
)
from truss.runtime.app import Waiting
from truss.runtime.arena import SMALLEST, Lease
from truss.runtime.frames import Codec
from truss.runtime.pool import Pool
from truss.runtime.predictions import Predictions, Reply, Request
from truss.runtime.protocols import envelope, wire
from truss.runtime.protocols import open_inference_grpc as messages
from truss.runtime.protocols.open_inference import VERSION
from truss.runtime.protocols.routes import Service
from truss.version import __version__

if TYPE_CHECKING:
    from truss.runtime.tls import Tls

SERVICE = "inference.GRPCInferenceService"
HEALTH = "grpc.health.v1.Health"
_UNKNOWN, _SERVING, _NOT_SERVING, _NO_SUCH_SERVICE = range(4)
_LOOK_SECONDS = 0.5
"""How often a watched health is looked at."""

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    413: "RESOURCE_EXHAUSTED",
    415: "INVALID_ARGUMENT",
    422: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

Handler = Callable[[bytes, Any], Awaitable[bytes]]


_CLOCKS_DIFFER = 0.1
"""Seconds. A client counts from before its call is on its way: it ends the call when time is left here."""


class GrpcServer:
    """The services over a pool.

    Args:
        pool: Where predict requests go.
        predictions: The way there.
        service: What the model is called.

    Raises:
        MissingExtraError: grpcio is not installed.
    """

    def __init__(self, pool: Pool, predictions: Predictions, service: Service) -> None:
        try:
            import grpc
        except ImportError as error:
            raise MissingExtraError("grpcio", "grpc", "serving gRPC") from error
        self._grpc = grpc
        self._pool = pool
        self._predictions = predictions
        self._service = service
        self._names = ",".join(service.names)
        self._server: Any = None
        self._stopping = asyncio.Event()
        self._credentials: Any = None  # the server does not keep them, and asks them for renewed certificates
        self._renewed: Any = None

    async def start(self, host: str, port: int | None, tls: Tls | None, beside: Path) -> int | None:
        """Listen.

        Args:
            host: The address of the port.
            port: The port; 0 picks a free one, None: there is none.
            tls: How connections to it are encrypted, if they are.
            beside: The Unix socket to listen on as well; whoever passes connections on has decrypted them.

        Returns:
            The port.

        Raises:
            ServerStartError: the address cannot be listened on.
        """
        options = [
            ("grpc.max_receive_message_length", self._predictions.max_body),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ]
        self._server = self._grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers(
            (self._handlers(SERVICE, self._inference()), self._handlers(HEALTH, self._health()))
        )
        self._server.add_insecure_port(f"unix:{beside}")
        bound = None if port is None else self._bind(host, port, tls)
        await self._server.start()
        return bound

    def _bind(self, host: str, port: int, tls: Tls | None) -> int:
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if tls is None:
                bound = self._server.add_insecure_port(address)
            else:
                self._credentials = self._credentials_of(tls)
                bound = self._server.add_secure_port(address, self._credentials)
        except RuntimeError as error:
            raise ServerStartError(
                f"cannot listen for gRPC on {address}", hint="choose another port with `runtime.grpc.port`"
            ) from error
        return int(bound)

    async def stop(self, grace: float) -> None:
        """Take no more requests, and finish those that have begun, for so many seconds at most.

        Streams that wait for their client's next request end, and so do those that tell of health. A second
        call may shorten the time.
        """
        self._stopping.set()
        await self._server.stop(grace)

    def renew(self, tls: Tls) -> None:
        """Take up a renewed certificate, for connections from now on.

        Raises:
            OSError: a file cannot be read.
        """
        self._renewed = self._certificates(tls)

    def _credentials_of(self, tls: Tls) -> Any:
        return self._grpc.dynamic_ssl_server_credentials(
            self._certificates(tls), self._take_renewed, tls.client_ca is not None
        )

    def _certificates(self, tls: Tls) -> Any:
        pairs = [((tls.key or tls.certificate).read_bytes(), tls.certificate.read_bytes())]
        roots = None if tls.client_ca is None else tls.client_ca.read_bytes()
        return self._grpc.ssl_server_certificate_configuration(pairs, roots)

    def _take_renewed(self) -> Any:
        """What gRPC asks at each connection, in threads of its own: what is to replace the certificate."""
        renewed, self._renewed = self._renewed, None
        return renewed

    def _handlers(self, service: str, methods: dict[str, Any]) -> Any:
        return self._grpc.method_handlers_generic_handler(service, methods)

    def _inference(self) -> dict[str, Any]:
        unary = self._grpc.unary_unary_rpc_method_handler
        methods: dict[str, Handler] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ModelReady": self._model_ready,
            "ServerMetadata": self._server_metadata,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }
        handlers = {name: unary(self._answering(method)) for name, method in methods.items()}
        handlers["ModelStreamInfer"] = self._grpc.stream_stream_rpc_method_handler(self._model_stream_infer)
        return handlers

    def _health(self) -> dict[str, Any]:
        return {
            "Check": self._grpc.unary_unary_rpc_method_handler(self._answering(self._check)),
            "Watch": self._grpc.unary_stream_rpc_method_handler(self._watch),
        }

    def _answering(self, method: Handler) -> Handler:
        """The method, its errors as gRPC's."""

        async def answer(message: bytes, call: Any) -> bytes:
            try:
                return await method(message, call)
            except TrussError as error:
                hint = f"; {error.hint}" if error.hint else ""
                await call.abort(self._code(error.status), error.message + hint)
                raise

        return answer

    def _code(self, status: int) -> Any:
        return getattr(self._grpc.StatusCode, _CODES.get(status, "INTERNAL"))

    # --- health and information ---

    @property
    def _ready(self) -> bool:
        return self._pool.ready and not (self._predictions.draining or self._stopping.is_set())

    async def _server_live(self, _: bytes, __: Any) -> bytes:
        return messages.yes(value=True)

    async def _server_ready(self, _: bytes, __: Any) -> bytes:
        return messages.yes(self._ready)

    async def _model_ready(self, message: bytes, _: Any) -> bytes:
        self._known(message)
        return messages.yes(self._ready)

    async def _server_metadata(self, _: bytes, call: Any) -> bytes:
        with self._counted(call, "ServerMetadata"):
            return messages.server_metadata(__version__)

    async def _model_metadata(self, message: bytes, call: Any) -> bytes:
        with self._counted(call, "ModelMetadata"):
            return messages.model_metadata(self._known(message), self._service.signature)

    @contextlib.contextmanager
    def _counted(self, call: Any, method: str) -> Iterator[None]:
        """Count a request for information, and see whether it may be asked; health is for everybody."""
        request = self._predictions.request(Request, f"/{SERVICE}/{method}")
        status = 200
        try:
            self._predictions.admit(request, _headers(call))
            yield
        except TrussError as error:
            status = error.status
            raise
        finally:
            self._predictions.settle(request, status)

    def _known(self, message: bytes) -> str:
        name, version = messages.name_and_version(message)
        if name not in self._service.names or version not in ("", VERSION):
            raise RouteNotFoundError(
                f"there is no model {name!r} of version {version or VERSION!r}",
                hint=f"it is called {' or '.join(self._service.names)}",
            )
        return name

    async def _check(self, message: bytes, _: Any) -> bytes:
        status = self._status(message)
        if status == _NO_SUCH_SERVICE:
            raise RouteNotFoundError("there is no such service", hint=f"ask for {SERVICE}, or for none")
        return wire.number_field(1, status)

    def _status(self, message: bytes) -> int:
        name, _ = messages.name_and_version(message)
        if name not in ("", SERVICE, HEALTH, *self._service.names):
            return _NO_SUCH_SERVICE
        return _SERVING if self._ready else _NOT_SERVING

    async def _watch(self, message: bytes, _: Any) -> AsyncIterator[bytes]:
        """The health now, and each time it changes, until the server stops: that it does is told last."""
        told = _UNKNOWN
        while True:
            stopping = self._stopping.is_set()
            status = self._status(message)
            if status != told:
                told = status
                yield wire.number_field(1, status)
            if stopping:
                return
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), _LOOK_SECONDS)

    # --- inference ---

    async def _model_infer(self, message: bytes, call: Any) -> bytes:
        reply = await self._ask(message, call)
        if reply.status == 200:
            return bytes(reply.body)
        await call.abort(self._code(reply.status), _said(reply))
        raise AssertionError("unreachable: abort raises")

    async def _model_stream_infer(self, _: AsyncIterator[bytes], call: Any) -> AsyncIterator[bytes]:
        """Answers in the order of their requests; one that fails says why, and the stream goes on.

        A wrong API key ends it, since every request of it has the same; so does the end of the server.
        """
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            while (message := await self._next(call, stopping)) is not None:
                reply = await self._ask(message, call)
                if reply.status == UnauthorizedError.status:
                    await call.abort(self._code(reply.status), _said(reply))
                if reply.status == 200:
                    yield messages.stream_answer(bytes(reply.body))
                else:
                    yield messages.stream_answer(None, _said(reply))
        finally:
            stopping.cancel()

    async def _next(self, call: Any, stopping: asyncio.Future[Any]) -> bytes | None:
        """A stream's next request; None when its client has sent all."""
        reading = asyncio.ensure_future(call.read())
        try:
            await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not reading.done():
                reading.cancel()
        if reading.cancelled() or not reading.done():
            # Not the good end of a stream: the client may have sent something that nobody has read.
            await call.abort(self._code(NotReadyError.status), "the server is stopping; ask another instance")
        message = reading.result()
        return None if message is self._grpc.aio.EOF else message

    async def _ask(self, message: bytes, call: Any) -> Reply:
        predictions = self._predictions
        request = predictions.request(self._maker(call), f"/{SERVICE}/ModelInfer")
        waiting = Waiting()
        try:
            predictions.admit(request, _headers(call))
            predictions.check_size(len(message))
            job = predictions.submit(request, self._sealed(message), waiting)
        except TrussError as error:
            return predictions.refuse(request, error)
        try:
            return predictions.answer(request, await waiting.answer)
        except TrussError as error:
            return predictions.refuse(request, error)
        except asyncio.CancelledError:  # the client has left, or its time is up
            waiting.disconnected = True
            predictions.abandon(job)
            remaining = call.time_remaining()
            late = remaining is not None and remaining < _CLOCKS_DIFFER
            predictions.settle(request, (DeadlineExceededError if late else ClientClosedRequestError).status)
            raise

    def _maker(self, call: Any) -> Callable[[bytes], Request]:
        remaining = call.time_remaining()
        timeout = None if remaining is None else max(remaining, 0.001)
        return lambda id_: Request(id_, Codec.OPEN_INFERENCE_GRPC, timeout)

    def _sealed(self, message: bytes) -> bytes | Lease:
        """The message in its envelope, in memory that the worker sees when it is large."""
        head = envelope.seal(self._names, None)
        if len(message) >= SMALLEST:
            lease = self._predictions.lease(len(head) + len(message))
            if lease is not None:
                lease.memory[: len(head)] = head
                lease.memory[len(head) : len(head) + len(message)] = message
                return lease
        return head + message


def _headers(call: Any) -> Sequence[tuple[bytes, bytes]]:
    return [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in call.invocation_metadata()
    ]


def _said(reply: Reply) -> str:
    """What an error's response says."""
    with contextlib.suppress(ValueError, KeyError):
        return str(json.loads(bytes(reply.body))["error"])
    return ""

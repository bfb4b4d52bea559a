"""Serve a Truss over HTTP: bind, start workers, answer until told to stop, drain, exit.

The order is chosen for a quick start: the socket is bound first, so that a taken port is known at
once; the worker processes start next, since loading the model takes longest; only then is the HTTP
server imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from truss.config import DockerServer, Transport, TrussConfig, read_config
from truss.errors import MissingExtraError, ServerStartError, TrussError
from truss.model.installed import unmet
from truss.runtime import logs, watching
from truss.runtime.allocator import keep_freed_memory
from truss.runtime.arena import Arena
from truss.runtime.devices import worker_environment
from truss.runtime.forked import starters
from truss.runtime.listener import BACKLOG, address, listen
from truss.runtime.platform import GRPC_VARIABLE, PLAIN, Platform
from truss.runtime.process import Spawned
from truss.runtime.stopping import Stop
from truss.runtime.tls import Tls

if TYPE_CHECKING:
    from truss.runtime.passage import Passages
    from truss.runtime.pool import Pool
    from truss.runtime.predictions import Predictions
    from truss.runtime.protocols.grpc_server import GrpcServer
    from truss.runtime.protocols.routes import Service

logger = logging.getLogger("truss.serve")

_LOOK_SECONDS = 0.02
"""How often is looked whether the model is loaded, where nothing may connect before."""

_LEAST_SECONDS = 1.0
"""For writing what was answered last, however little is left of the grace."""

_LAST_BYTES_SECONDS = 1.0
"""For what gRPC has written last to go on to its clients."""

KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 s after which common load balancers drop idle connections: the side that closes
first should be theirs, or a request may be sent into a closing connection."""


def serve(
    truss_dir: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    workers: int | None = None,
    on_listening: Callable[[str], None] | None = None,
    platform: Platform = PLAIN,
    tls: Tls | None = None,
    watch: bool = False,
) -> int:
    """Serve a Truss until SIGTERM or SIGINT.

    Args:
        truss_dir: The Truss.
        host: The address to listen on; `0.0.0.0` for all IPv4 interfaces.
        port: The TCP port; 0 picks a free one (the log says which).
        workers: Copies of the model; default: the config's `runtime.workers`, else one per GPU, else 1.
        on_listening: Called with the server's URL once it takes connections; by default it is logged.
        platform: What the place it runs at asks of it.
        tls: How connections are encrypted; default: not at all.
        watch: Take up edits of the model's code while it is served.

    Returns:
        The exit status: 0 after a signal, 1 when the model could not be loaded and that ends the server.

    Raises:
        NotATrussError, ConfigError: the folder or its config is not right.
        ServerStartError: the address cannot be listened on.
        MissingExtraError: the packages of the `runtime` extra are not installed.
    """
    keep_freed_memory()
    truss_dir = truss_dir.resolve()
    config = read_config(truss_dir)
    if platform.on_load_failure is not None:
        config = replace(config, runtime=replace(config.runtime, exit_on_load_failure=True))
    listener = listen(host, port, silent=platform.listen_when_ready)
    context = None if tls is None else tls.context()
    greet = on_listening or _log_url

    def listening() -> None:
        greet(address(listener, "http" if tls is None else "https"))

    if watch and config.docker_server is not None:
        raise ServerStartError(
            "edits of another program's code cannot be taken up", hint="serve without --watch"
        )
    if platform.grpc_port is not None and config.docker_server is not None:
        raise ServerStartError(
            "gRPC is served for model classes, not for a server of somebody else's",
            where=f"--grpc_port or {GRPC_VARIABLE}",
            hint="leave it out; clients reach the gRPC port that the server opens itself",
        )
    if config.docker_server is not None:
        return _serve_wrapped(config, config.docker_server, truss_dir, listener, listening, platform, tls)
    count = workers or config.runtime.workers or 0
    environments = worker_environment(count, dict(os.environ))
    edits = None
    if watch:
        environments = [{**environment, watching.VARIABLE: "1"} for environment in environments]
        look = functools.partial(watching.code_state, truss_dir, config)
        edits = functools.partial(watching.watch, look, look())
    arena = Arena()
    with starters(truss_dir, arena.fd, environments) as start:
        spawned = [start_one() for start_one in start]
        try:
            logs.set_up(config)
            say_what_is_not_installed(config)
            return run(
                _serve(
                    truss_dir,
                    config,
                    listener,
                    spawned,
                    start,
                    arena,
                    listening,
                    platform,
                    tls,
                    context,
                    edits,
                )
            )
        except BaseException:
            for one in spawned:
                one.process.kill()
            raise


def _serve_wrapped(
    config: TrussConfig,
    server: DockerServer,
    truss_dir: Path,
    listener: socket.socket,
    on_listening: Callable[[], None],
    platform: Platform,
    tls: Tls | None,
) -> int:
    try:
        from truss.runtime.wrapped import serve_wrapped
    except ImportError as error:
        raise MissingExtraError("httptools", "runtime", "serving") from error
    logs.set_up(config)
    say_what_is_not_installed(config)
    return run(serve_wrapped(config, server, truss_dir, listener, on_listening, platform=platform, tls=tls))


def say_what_is_not_installed(config: TrussConfig) -> None:
    """While workers start: should the model not load, or answer otherwise than it did, this is why."""
    for complaint in unmet(config.requirements, gpus=config.resources.use_gpu):
        logger.warning(
            "requirement not met here: %s; install it, or serve with --isolated, in its own environment",
            complaint,
        )


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a server's coroutine, on uvloop where it is installed; returns its exit status."""
    try:
        import uvloop
    except ImportError:  # not on every platform; asyncio's own loop does
        return asyncio.run(main)
    return int(uvloop.run(main))


async def _serve(
    truss_dir: Path,
    config: TrussConfig,
    listener: socket.socket,
    spawned: list[Spawned],
    start: Sequence[Callable[[], Spawned]],
    arena: Arena,
    on_listening: Callable[[], None],
    platform: Platform,
    tls: Tls | None,
    context: ssl.SSLContext | None,
    edits: Callable[[Callable[[], Awaitable[None]]], Coroutine[Any, Any, None]] | None,
) -> int:
    from truss.runtime.front import front_of
    from truss.runtime.http import http_protocol
    from truss.runtime.passage import ALPN

    front = front_of(truss_dir, config, start, arena, platform.model_name)
    pool, predictions = front.pool, front.predictions
    grpc = _grpc(config, platform, (pool, predictions, front.service))
    http = http_protocol(predictions, None if grpc is None else grpc.passages)
    server = http_server(front.app, http, config.runtime.transport, context)
    if grpc is not None and context is not None:
        context.set_alpn_protocols(ALPN)
    if tls is not None and context is not None:
        tls.take_up_renewals(context, None if grpc is None else grpc.server.renew)
    ending = platform.ending(config.runtime.timeouts)
    stop = HttpStop(server, predictions, listener, ending, platform.on_load_failure)
    pool.on_fatal = stop.fail
    await pool.open(spawned)
    watcher = None if edits is None else asyncio.get_running_loop().create_task(edits(pool.renew))
    gc.freeze()  # what is there now stays: collections need not look through it while requests wait
    with stop.on_signals():
        if platform.listen_when_ready:
            await _loaded(pool, server)
        if not server.should_exit:
            async with contextlib.nullcontext() if grpc is None else grpc.beside(listener, tls, stop):
                on_listening()
                await server.serve(sockets=[listener])
    if watcher is not None:
        watcher.cancel()
    await front.close()
    return stop.exit_status


@dataclass(frozen=True)
class _Grpc:
    """gRPC beside HTTP: its port, and what comes for it on the port of HTTP."""

    server: GrpcServer
    port: int
    passages: Passages

    @contextlib.asynccontextmanager
    async def beside(self, listener: socket.socket, tls: Tls | None, stop: Stop) -> AsyncIterator[None]:
        """Serve it for as long as HTTP, and finish what was begun within the same grace."""
        host, http_port = listener.getsockname()[:2]
        own = None if self.port == http_port else self.port
        try:
            port = await self.server.start(host, own, tls, self.passages.place)
        except TrussError:
            await self.passages.close(0.0)
            raise
        if port is not None:
            logger.info("listening for gRPC on %s:%d", host, port)

        async def drain() -> None:
            await stop.exiting.wait()
            await self.server.stop(stop.left)

        async def cut() -> None:
            await stop.forced.wait()
            await self.server.stop(0.0)

        loop = asyncio.get_running_loop()
        draining = loop.create_task(drain())  # HTTP finishes from then on, too
        cutting = loop.create_task(cut())
        try:
            yield
        finally:
            stop.exiting.set()
            await draining
            await self.passages.close(_LAST_BYTES_SECONDS)
            cutting.cancel()


def _grpc(config: TrussConfig, platform: Platform, parts: tuple[Pool, Predictions, Service]) -> _Grpc | None:
    """gRPC, where a port is given for it."""
    port = config.runtime.grpc.port if platform.grpc_port is None else platform.grpc_port
    if port is None:
        return None
    from truss.runtime.passage import Passages
    from truss.runtime.protocols.grpc_server import GrpcServer

    return _Grpc(GrpcServer(*parts), port, Passages())


def _log_url(url: str) -> None:
    logger.info("listening on %s", url)


async def _loaded(pool: Pool, server: Any) -> None:
    """Wait until the model is loaded, or the server is to end."""
    while not (pool.ready or server.should_exit):
        await asyncio.sleep(_LOOK_SECONDS)


def http_server(
    app: Any,
    http: Any,
    transport: Transport,
    context: ssl.SSLContext | None,
) -> Any:
    """The server of HTTP.

    Args:
        app: The ASGI application.
        http: uvicorn's protocol class of connections, or what it calls one.
        transport: The config's, for websockets.
        context: How connections are encrypted, if they are.

    Raises:
        MissingExtraError: the packages of the `runtime` extra are not installed.
    """
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("uvicorn", "runtime", "serving") from error
    from truss.runtime import websockets

    class Server(uvicorn.Server):
        """uvicorn's server, with our signal handling in place of its own, which ends by the signal."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    settings = uvicorn.Config(
        app,
        loop="none",
        http=http,
        ws=websockets.protocol(),
        ws_max_size=websockets.MAX_MESSAGE,
        ws_per_message_deflate=False,  # sounds and images are compressed already, tokens are too short
        ws_ping_interval=transport.ping_interval_seconds or websockets.PING_SECONDS,
        ws_ping_timeout=transport.ping_timeout_seconds or websockets.PING_SECONDS,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here looks at a client's address
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        backlog=BACKLOG,
    )
    settings.load()
    settings.ssl = context
    return Server(settings)


class HttpStop(Stop):
    """Ends uvicorn's server by the same signals.

    Args:
        server: It.
        others: As `Stop` takes them.
    """

    def __init__(self, server: Any, *others: Any) -> None:
        super().__init__(*others)
        self._server = server

    def exit(self) -> None:
        """Accept nothing more, and finish what was accepted."""
        self._server.config.timeout_graceful_shutdown = max(_LEAST_SECONDS, self.left)
        self._server.should_exit = True
        super().exit()

    def force(self) -> None:
        """Do not wait for what was accepted."""
        self._server.force_exit = True
        super().force()

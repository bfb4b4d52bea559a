"""Serve a Truss over HTTP: bind, start workers, answer until told to stop, drain, exit.

The order is chosen for a quick start: the socket is bound first, so that a taken port is known at
once; the worker processes start next, since loading the model takes longest; only then is the HTTP
server imported.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.config import TrussConfig, read_config
from truss.errors import MissingExtraError, ServerStartError, TrussError
from truss.runtime.devices import worker_environment
from truss.runtime.process import Spawned, spawn

if TYPE_CHECKING:
    from truss.runtime.app import App

logger = logging.getLogger("truss.serve")

DRAIN_SECONDS = 1.0
"""How long new connections are still taken after readiness fails on SIGTERM: load balancers need a
moment to notice. SIGINT comes from a person, who does not want to wait."""

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
) -> int:
    """Serve a Truss until SIGTERM or SIGINT.

    Args:
        truss_dir: The Truss.
        host: The address to listen on; `0.0.0.0` for all IPv4 interfaces.
        port: The TCP port; 0 picks a free one (the log says which).
        workers: Copies of the model; default: the config's `runtime.workers`, else one per GPU, else 1.
        on_listening: Called with the server's URL once it takes connections; by default it is logged.

    Returns:
        The exit status: 0 after a signal, 1 when the model could not be loaded and that ends the server.

    Raises:
        NotATrussError, ConfigError: the folder or its config is not right.
        ServerStartError: the address cannot be listened on.
        MissingExtraError: the packages of the `runtime` extra are not installed.
    """
    truss_dir = truss_dir.resolve()
    config = read_config(truss_dir)
    listener = listen(host, port)
    count = workers or config.runtime.workers or 0
    environments = worker_environment(count, dict(os.environ))
    start = [functools.partial(spawn, truss_dir, environment) for environment in environments]
    spawned = [start_one() for start_one in start]
    try:
        _set_up_logging()
        return _run(_serve(config, listener, spawned, start, on_listening or _log_url))
    except BaseException:
        for one in spawned:
            one.process.kill()
        raise


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ServerStartError: the port is taken, not allowed, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise ServerStartError(
            f"cannot listen on {host}:{port}: {error.strerror or error}", hint=_listen_hint(error, port)
        ) from error
    except OverflowError as error:
        listener.close()
        raise ServerStartError(f"there is no port {port}", hint="ports are 0 to 65535") from error
    listener.setblocking(False)
    return listener


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _listen_hint(error: OSError, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"another program uses the port: stop it, or choose another with --port {port + 1}"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges: choose a higher one with --port"
    return "choose an address of this machine with --host, e.g. 127.0.0.1 or 0.0.0.0"


def _set_up_logging() -> None:
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)


def _run(main: Coroutine[Any, Any, int]) -> int:
    try:
        import uvloop
    except ImportError:  # not on every platform; asyncio's own loop does
        return asyncio.run(main)
    return int(uvloop.run(main))


async def _serve(
    config: TrussConfig,
    listener: socket.socket,
    spawned: list[Spawned],
    start: Sequence[Callable[[], Spawned]],
    on_listening: Callable[[str], None],
) -> int:
    try:
        import uvicorn
    except ImportError as error:
        raise MissingExtraError("uvicorn", "runtime", "serving") from error
    from truss.runtime.app import App
    from truss.runtime.metrics import Metrics
    from truss.runtime.pool import Pool

    metrics = Metrics()
    pool = Pool(config.runtime, lambda index: start[index](), metrics)
    app = App(pool, config.runtime, metrics)
    server = _server(uvicorn, app, config)
    stop = _Stop(server, app)
    pool.on_fatal = stop.fail
    await pool.open(spawned)
    with stop.on_signals():
        on_listening(_address(listener))
        await server.serve(sockets=[listener])
    await pool.close()
    return stop.exit_status


def _log_url(url: str) -> None:
    logger.info("listening on %s", url)


def _server(uvicorn: Any, app: App, config: TrussConfig) -> Any:
    class Server(uvicorn.Server):  # type: ignore[misc]  # imported late, so it has no static type
        """uvicorn's server, with our signal handling in place of its own, which ends by the signal."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    settings = uvicorn.Config(
        app,
        loop="none",
        http="auto",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int(config.runtime.timeouts.grace)),
        backlog=2048,
    )
    return Server(settings)


class _Stop:
    """Turns signals, and a model that cannot be loaded, into an orderly end."""

    def __init__(self, server: Any, app: App) -> None:
        self._server = server
        self._app = app
        self.exit_status = 0

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._drain, DRAIN_SECONDS)
        loop.add_signal_handler(signal.SIGINT, self._drain, 0.0)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)

    def fail(self, error: TrussError) -> None:
        self.exit_status = error.exit_code
        self._exit()

    def _drain(self, seconds: float) -> None:
        if self._app.draining:
            self._server.force_exit = True  # asked twice: do not wait
            self._exit()
            return
        logger.info("stopping: answering what was accepted")
        self._app.draining = True
        asyncio.get_running_loop().call_later(seconds, self._exit)

    def _exit(self) -> None:
        self._server.should_exit = True

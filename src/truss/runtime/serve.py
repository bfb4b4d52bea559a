"""Serve a Truss over HTTP: bind, start workers, answer until told to stop, drain, exit.

The order is chosen for a quick start: the socket is bound first, so that a taken port is known at
once; the worker processes start next, since loading the model takes longest; only then is the HTTP
server imported.
"""

from __future__ import annotations

import asyncio
import contextlib
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
from truss.errors import MissingExtraError, TrussError
from truss.runtime.devices import worker_environment
from truss.runtime.listener import BACKLOG, address, listen, take_no_more
from truss.runtime.process import Spawned, spawn

if TYPE_CHECKING:
    from truss.runtime.app import App

logger = logging.getLogger("truss.serve")

DRAIN_SECONDS = 1.0
"""How long new connections are still taken after readiness fails on SIGTERM: load balancers need a
moment to notice. SIGINT comes from a person, who does not want to wait."""

ACCEPT_SECONDS = 0.05
"""Time for the event loop to accept what the kernel has completed when no new connection may begin."""

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
    stop = _Stop(server, app, listener)
    pool.on_fatal = stop.fail
    await pool.open(spawned)
    with stop.on_signals():
        on_listening(address(listener))
        await server.serve(sockets=[listener])
    await pool.close()
    return stop.exit_status


def _log_url(url: str) -> None:
    logger.info("listening on %s", url)


def _server(uvicorn: Any, app: App, config: TrussConfig) -> Any:
    from truss.runtime.http import gathering_protocol

    class Server(uvicorn.Server):  # type: ignore[misc]  # imported late, so it has no static type
        """uvicorn's server, with our signal handling in place of its own, which ends by the signal."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    settings = uvicorn.Config(
        app,
        loop="none",
        http=gathering_protocol(),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here looks at a client's address
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int(config.runtime.timeouts.grace)),
        backlog=BACKLOG,
    )
    return Server(settings)


class _Stop:
    """Turns signals, and a model that cannot be loaded, into an orderly end."""

    def __init__(self, server: Any, app: App, listener: socket.socket) -> None:
        self._server = server
        self._app = app
        self._listener = listener
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
        asyncio.get_running_loop().call_later(seconds, self._stop_accepting)

    def _stop_accepting(self) -> None:
        take_no_more(self._listener)
        asyncio.get_running_loop().call_later(ACCEPT_SECONDS, self._exit)

    def _exit(self) -> None:
        self._server.should_exit = True

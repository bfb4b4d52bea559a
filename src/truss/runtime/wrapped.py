"""Serve a server of somebody else's: `docker_server` names its command, port and routes.

It takes the place of the workers: this process owns the public port, starts the server, passes requests on
to it, and sees to it that it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from truss.config import DockerServer, TrussConfig
from truss.errors import TrussError
from truss.runtime.authentication import api_keys
from truss.runtime.gateway import Gateway
from truss.runtime.listener import BACKLOG, take_no_more
from truss.runtime.metrics import Metrics
from truss.runtime.platform import PLAIN, PORT_VARIABLES, Platform
from truss.runtime.protocols.routes import Service
from truss.runtime.proxy import ClientConnection
from truss.runtime.supervisor import Supervisor
from truss.runtime.tls import Tls
from truss.runtime.tracing import tracing_of
from truss.runtime.usage import describe_processes
from truss.runtime.workers import State

logger = logging.getLogger("truss.serve")

DRAIN_SECONDS = 1.0
ACCEPT_SECONDS = 0.05
KEEP_ALIVE_SECONDS = 75.0

_LOOK_SECONDS = 0.02
"""How often is looked whether the server is ready, where nothing may connect before."""


async def serve_wrapped(
    config: TrussConfig,
    server: DockerServer,
    truss_dir: Path,
    listener: socket.socket,
    on_listening: Callable[[], None],
    *,
    platform: Platform = PLAIN,
    tls: Tls | None = None,
) -> int:
    """Run the server and pass requests on to it, until a signal.

    Args:
        config: The Truss's config.
        server: Its `docker_server`.
        truss_dir: The Truss, where the server runs.
        listener: The public listening socket.
        on_listening: Called once connections are taken.
        platform: What the place it runs at asks of it. The seconds for finishing requests, and then for the
            server to end, after a signal are the config's, or less where the platform waits less.
        tls: How connections are encrypted, if they are.

    Returns:
        The exit status: 0 after a signal.

    Raises:
        ServerStartError: the command cannot be run, or there is no API key where one is asked for.
    """
    loop = asyncio.get_running_loop()
    context = tls.context() if tls is not None else None
    grace = platform.grace(config.runtime.timeouts.grace)
    metrics = Metrics()
    supervisor = Supervisor(
        server,
        truss_dir,
        _environment(config),
        grace=max(1.0, grace),
        exit_early=config.runtime.exit_on_load_failure,
    )
    tracing = tracing_of(config)
    service = Service.of(config, os.environ, platform.model_name)
    gateway = Gateway(server, service, config.runtime, supervisor, metrics, api_keys(config), tracing)
    _describe(metrics, supervisor)
    connections: set[ClientConnection] = set()
    await supervisor.start()
    stop = _Stop(gateway, listener, platform.on_load_failure)
    supervisor.on_fatal = stop.fail

    def lost() -> None:
        metrics.worker_restarts += 1
        gateway.upstreams.close()

    supervisor.on_lost = lost
    try:
        if tls is not None and isinstance(context, ssl.SSLContext):
            tls.take_up_renewals(context)
        with stop.on_signals():
            if platform.listen_when_ready:
                await _ready(supervisor, stop)
            if not stop.asked.is_set():
                accepting = await loop.create_server(
                    lambda: ClientConnection(gateway, connections, KEEP_ALIVE_SECONDS),
                    sock=listener,
                    ssl=context,
                    backlog=BACKLOG,
                )
                on_listening()
                await stop.asked.wait()
                accepting.close()
                await _finish(gateway, connections, grace, stop)
    finally:
        await supervisor.stop()
        if tracing is not None:
            tracing.close()
    return stop.exit_status


async def _ready(supervisor: Supervisor, stop: _Stop) -> None:
    """Wait until the server is ready, or everything is to end."""
    while not (supervisor.state is State.READY or stop.asked.is_set()):
        await asyncio.sleep(_LOOK_SECONDS)


async def _finish(gateway: Gateway, connections: set[ClientConnection], grace: float, stop: _Stop) -> None:
    """Wait for what was accepted."""
    end = asyncio.get_running_loop().time() + grace
    while asyncio.get_running_loop().time() < end and not stop.forced:
        for connection in list(connections):
            connection.close_if_idle()
        if not gateway.running and not connections:
            return
        await asyncio.sleep(0.01)


def _environment(config: TrussConfig) -> dict[str, str]:
    """The server's variables: this process's and the config's; its programs may be those of this Python."""
    own = {**os.environ, **config.environment_variables}
    # A server's own port is in its command; what platforms say by these is the public one.
    for name in PORT_VARIABLES:
        own.pop(name, None)
    folder = str(Path(sys.executable).parent)
    own["PATH"] = f"{folder}{os.pathsep}{own.get('PATH', os.defpath)}"
    return own


def _describe(metrics: Metrics, supervisor: Supervisor) -> None:
    def states() -> Iterable[tuple[str, float]]:
        yield from ((f'worker="0",state="{one.value}"', int(supervisor.state is one)) for one in State)

    metrics.describe_gauge("truss_workers", "Whether the server is in a state.", states)
    describe_processes(metrics, lambda: [(0, supervisor.pid)] if supervisor.pid else [], groups=True)


class _Stop:
    """Turns signals, and a server that cannot be started again, into an orderly end."""

    def __init__(
        self,
        gateway: Gateway,
        listener: socket.socket,
        on_load_failure: Callable[[TrussError], None] | None,
    ) -> None:
        self._gateway = gateway
        self._on_load_failure = on_load_failure
        self._listener = listener
        self.asked = asyncio.Event()
        self.forced = False
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
        logger.error("the server is not started again: %s", error)
        if self._on_load_failure is not None and not self.exit_status:
            self._on_load_failure(error)
        self.exit_status = error.exit_code
        self._gateway.draining = True
        self.asked.set()

    def _drain(self, seconds: float) -> None:
        if self._gateway.draining:
            self.forced = True  # asked twice: do not wait
            self.asked.set()
            return
        logger.info("stopping: answering what was accepted")
        self._gateway.draining = True
        asyncio.get_running_loop().call_later(seconds, self._stop_accepting)

    def _stop_accepting(self) -> None:
        asyncio.get_running_loop().call_later(ACCEPT_SECONDS, self.asked.set)
        take_no_more(self._listener)

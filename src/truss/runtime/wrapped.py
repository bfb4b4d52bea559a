"""Serve a server of somebody else's: `docker_server` names its command, port and routes.

It takes the place of the workers: this process owns the public port, starts the server, passes requests on
to it, and sees to it that it runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from truss.config import DockerServer, TrussConfig
from truss.errors import TrussError
from truss.runtime.authentication import api_keys
from truss.runtime.gateway import Gateway
from truss.runtime.listener import BACKLOG
from truss.runtime.metrics import Metrics
from truss.runtime.platform import PLAIN, PORT_VARIABLES, Platform
from truss.runtime.protocols.routes import Service
from truss.runtime.proxy import ClientConnection
from truss.runtime.stopping import Stop
from truss.runtime.supervisor import Supervisor
from truss.runtime.tls import Tls
from truss.runtime.tracing import tracing_of
from truss.runtime.usage import describe_processes
from truss.runtime.workers import State

logger = logging.getLogger("truss.serve")

KEEP_ALIVE_SECONDS = 75.0

_LEAST_SECONDS = 1.0
"""For the server to end by itself, however little is left of the grace."""

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
        platform: What the place it runs at asks of it. The seconds for finishing requests and for the
            server to end, after a signal, are the config's, or less where the platform waits less.
        tls: How connections are encrypted, if they are.

    Returns:
        The exit status: 0 after a signal.

    Raises:
        ServerStartError: the command cannot be run, or there is no API key where one is asked for.
    """
    loop = asyncio.get_running_loop()
    context = tls.context() if tls is not None else None
    metrics = Metrics()
    supervisor = Supervisor(
        server,
        truss_dir,
        _environment(config),
        exit_early=config.runtime.exit_on_load_failure,
    )
    tracing = tracing_of(config)
    service = Service.of(config, os.environ, platform.model_name)
    gateway = Gateway(server, service, config.runtime, supervisor, metrics, api_keys(config), tracing)
    _describe(metrics, supervisor)
    connections: set[ClientConnection] = set()
    await supervisor.start()
    ending = platform.ending(config.runtime.timeouts)
    stop = Stop(gateway, listener, ending, platform.on_load_failure)

    def failed(error: TrussError) -> None:
        logger.error("the server is not started again: %s", error)
        gateway.draining = True
        stop.fail(error)

    def lost() -> None:
        metrics.worker_restarts += 1
        gateway.upstreams.close()

    supervisor.on_fatal, supervisor.on_lost = failed, lost
    try:
        if tls is not None and isinstance(context, ssl.SSLContext):
            tls.take_up_renewals(context)
        with stop.on_signals():
            if platform.listen_when_ready:
                await _ready(supervisor, stop)
            if not stop.exiting.is_set():
                accepting = await loop.create_server(
                    lambda: ClientConnection(gateway, connections, KEEP_ALIVE_SECONDS),
                    sock=listener,
                    ssl=context,
                    backlog=BACKLOG,
                )
                on_listening()
                await stop.exiting.wait()
                accepting.close()
                await _finish(gateway, connections, stop)
    finally:
        await supervisor.stop(max(_LEAST_SECONDS, stop.left))
        if tracing is not None:
            tracing.close()
    return stop.exit_status


async def _ready(supervisor: Supervisor, stop: Stop) -> None:
    """Wait until the server is ready, or everything is to end."""
    while not (supervisor.state is State.READY or stop.exiting.is_set()):
        await asyncio.sleep(_LOOK_SECONDS)


async def _finish(gateway: Gateway, connections: set[ClientConnection], stop: Stop) -> None:
    """Wait for what was accepted."""
    while stop.left and not stop.forced.is_set():
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

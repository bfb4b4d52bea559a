"""Start a server, wait until it answers, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks.asking import asking
from benchmarks.contender import Contender, Exchange, Launch
from benchmarks.places import MODELS, SERVED
from benchmarks.workloads import Workload

_START_SECONDS = 180
_STOP_SECONDS = 20


class ServerFailedError(Exception):
    """A server did not come up; the message holds the end of its log."""


@contextlib.contextmanager
def running(contender: Contender, workload: Workload, workplace: Path) -> Iterator[int]:
    """Serve a workload; gives the port once a first request has been answered well.

    Raises:
        ServerFailedError: that does not happen in time.
    """
    port, *others = free_ports(5)
    launch = Launch(workload, port, workplace, contender.python, tuple(others))
    contender.prepare(launch)
    log = workplace / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(part) for part in contender.command(launch)],
            cwd=workplace,
            env=variables(contender, launch),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _wait_ready(process, port, contender.exchanges[workload.name], workload, log)
        yield port
    finally:
        stop(process)


@contextlib.contextmanager
def running_script(name: str, *arguments: object) -> Iterator[int]:
    """Run a small server of the folder `served`, which takes its port first; gives that once it listens.

    Raises:
        ServerFailedError: that does not happen in time.
    """
    (port,) = free_ports(1)
    words = [sys.executable, str(SERVED / name), str(port), *map(str, arguments)]
    process = subprocess.Popen(words)
    try:
        end = time.monotonic() + _START_SECONDS
        while not _listens(port):
            if time.monotonic() > end or process.poll() is not None:
                raise ServerFailedError(f"{name} does not start")
            time.sleep(0.05)
        yield port
    finally:
        stop(process)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        return True
    return False


def variables(contender: Contender, launch: Launch) -> dict[str, str]:
    """The environment of the server's process."""
    return {
        **os.environ,
        "PATH": f"{contender.python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(SERVED),
        "BENCH_MODELS": str(MODELS),
        "BENCH_WORKLOAD": launch.workload.name,
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        **contender.variables(launch),
    }


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _wait_ready(
    process: subprocess.Popen[bytes], port: int, exchange: Exchange, workload: Workload, log: Path
) -> None:
    body = exchange.encode(workload.items()[0])
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            asking(port, exchange, seconds=30) as ask,
        ):
            if ask(body).status == 200:
                return
        time.sleep(0.1)
    raise ServerFailedError(log.read_text(errors="replace")[-3000:])


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and every process it started, politely at first."""
    family = [process.pid]
    with contextlib.suppress(psutil.NoSuchProcess):
        family += [child.pid for child in psutil.Process(process.pid).children(recursive=True)]
    members = [psutil.Process(pid) for pid in family if psutil.pid_exists(pid)]
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    _, alive = psutil.wait_procs(members, timeout=2)
    for member in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(alive, timeout=5)
    process.poll()

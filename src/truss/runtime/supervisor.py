"""The process of a wrapped server: started, listened to, asked for its health, started again when it ends."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import logging
import os
import shlex
import shutil
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path

from truss.config import DockerServer
from truss.errors import ServerStartError, TrussError
from truss.runtime.backoff import seconds_before_restart
from truss.runtime.workers import State

logger = logging.getLogger("truss.server")

_LAST_LINES = 20
"""So many of its last lines are told when it ends."""
_STARTING_SECONDS = 0.1
"""Between two looks at a server that starts."""
_RUNNING_SECONDS = 5.0
"""Between two looks at one that has started."""
_PROBE_SECONDS = 5.0
_MOST_FAILURES = 6
"""A server that fails so many looks in a row is ended, and started again."""
_LINE = 1 << 16


class Supervisor:
    """Keeps a server running.

    Args:
        server: The config's `docker_server`.
        folder: Where it runs: the Truss.
        environment: All its environment variables.
        exit_early: Whether ending before it was ever ready is final.

    Attributes:
        state: What it is up to.
        on_fatal: Called with the reason when it is not started again.
        on_lost: Called when it has ended, and is about to be started again.
    """

    def __init__(
        self,
        server: DockerServer,
        folder: Path,
        environment: Mapping[str, str],
        *,
        exit_early: bool = False,
    ) -> None:
        self._server = server
        self._folder = folder
        self._environment = dict(environment)
        self._exit_early = exit_early
        self._command = command_of(server, environment)
        self._lines: deque[str] = deque(maxlen=_LAST_LINES)
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._was_ready = False
        self._failures = 0
        self.state = State.LOADING
        self.on_fatal: Callable[[TrussError], None] = lambda _: None
        self.on_lost: Callable[[], None] = lambda: None

    @property
    def pid(self) -> int:
        """Its process, and process group; 0 while there is none."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and running else 0

    @property
    def last_lines(self) -> str:
        """What it wrote last."""
        return "\n".join(self._lines)

    async def start(self) -> None:
        """Start it, and from then on see to it that it runs.

        Raises:
            ServerStartError: the command cannot be run.
        """
        await self._spawn()
        self._task = asyncio.get_running_loop().create_task(self._watch())

    async def stop(self, grace: float) -> None:
        """End it: SIGTERM to it and its children, SIGKILL to those that are left after so many seconds."""
        if self._task is not None:
            self._task.cancel()
        process = self._process
        if process is None:
            return
        self._signal(signal.SIGTERM)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(process.wait(), grace)
        self._signal(signal.SIGKILL)
        await process.wait()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    async def _spawn(self) -> None:
        self.state = State.LOADING
        self._lines.clear()
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                limit=_LINE,
                cwd=self._folder,
                env=self._environment,
                start_new_session=True,
                preexec_fn=_preparation(self._server.run_as_user_id),
            )
        except OSError as error:
            raise ServerStartError(
                f"the server cannot be started: {error.strerror or error}: {self._command[0]}",
                where="docker_server.start_command",
                hint="name a program that is installed here, with its path or on PATH",
            ) from error
        logger.info("started the server (pid %d)", self._process.pid)

    async def _watch(self) -> None:
        while self._process is not None:
            process = self._process
            reading = asyncio.ensure_future(self._read_log(process))
            looking = asyncio.ensure_future(self._look())
            try:
                code = await process.wait()
                # A child that it leaves behind may hold the pipe; what it wrote itself is there by then.
                await asyncio.wait([reading], timeout=1.0)
            finally:
                looking.cancel()
                reading.cancel()
            await self._ended(code)

    async def _ended(self, code: int) -> None:
        self._signal(signal.SIGKILL)  # its children, which would hold its port
        early = self.state is not State.READY and not self._was_ready
        self.state = State.LOST
        how = f"signal {-code}" if code < 0 else f"exit status {code}"
        logger.error("the server ended (%s); its last lines:\n%s", how, self.last_lines or "(none)")
        self.on_lost()
        if early and self._exit_early:
            self.on_fatal(ServerStartError(f"the server ended ({how}) before it was ready"))
        delay = seconds_before_restart(self._failures)
        self._failures += 1
        if delay:
            logger.info("the server is started again in %g s", delay)
        await asyncio.sleep(delay)
        try:
            await self._spawn()
        except ServerStartError as error:
            self._process = None
            self.on_fatal(error)

    async def _read_log(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # it was asked for
        while True:
            try:
                line = await process.stdout.readline()
            except ValueError:  # a line without an end: what there is of it was dropped
                continue
            if not line:
                return
            text = line.decode(errors="replace").rstrip()
            self._lines.append(text)
            logger.info("%s", text)

    async def _look(self) -> None:
        """Wait until it is ready, then see whether it lives."""
        while not await self._answers(self._server.readiness_endpoint):
            await asyncio.sleep(_STARTING_SECONDS)
        self.state = State.READY
        self._was_ready = True
        logger.info("the server is ready (pid %d)", self.pid)
        failed = 0
        while failed < _MOST_FAILURES:
            await asyncio.sleep(_RUNNING_SECONDS)
            alive = await self._answers(self._server.liveness_endpoint)
            failed = 0 if alive else failed + 1
            self._failures = self._failures if failed else 0
        logger.error("the server does not answer %s and is ended", self._server.liveness_endpoint)
        self._signal(signal.SIGKILL)

    async def _answers(self, path: str) -> bool:
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            status = await asyncio.wait_for(_status_of(self._server.server_port, path), _PROBE_SECONDS)
            return 200 <= status < 400
        return False


async def _status_of(port: int, path: str) -> int:
    """The status that a GET of the wrapped server is answered with; 0 when it is no HTTP."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode())
        line = await reader.readline()
    finally:
        writer.close()
    parts = line.split()
    return int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else 0


def command_of(server: DockerServer, environment: Mapping[str, str]) -> list[str]:
    """The start command as arguments; no shell reads it, unless it names one.

    Raises:
        ServerStartError: there is none, it cannot be read, or its program is not there.
    """
    where = "docker_server.start_command"
    if server.start_command is None:
        raise ServerStartError(
            "the config names no command that starts the server",
            where=where,
            hint="add `start_command`; a Truss with `no_build` alone runs in its image only",
        )
    try:
        command = shlex.split(server.start_command)
    except ValueError as error:
        raise ServerStartError(f"cannot be read: {error}", where=where, hint="close its quotes") from error
    if not command:
        raise ServerStartError("is empty", where=where, hint="name the command that starts the server")
    if os.sep not in command[0] and shutil.which(command[0], path=environment.get("PATH")) is None:
        raise ServerStartError(
            f"there is no program {command[0]!r}",
            where=where,
            hint="install it, or write its path; `sh -c '...'` for what a shell has to read",
        )
    return command


def _preparation(user: int | None) -> Callable[[], None]:
    """What the new process does before it becomes the server: end with the front, and be somebody else."""
    system = ctypes.CDLL(None) if sys.platform == "linux" else None

    def prepare() -> None:
        if user is not None and os.geteuid() == 0 and user != 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        if system is not None:
            system.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG; a change of user would undo it

    return prepare

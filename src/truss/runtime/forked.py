"""The front's end of the template: asks it for workers, which are the front's own children.

Linux only: elsewhere a process cannot inherit another's children.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from truss.runtime import child
from truss.runtime.process import Spawned, spawn
from truss.runtime.progress import Progress
from truss.runtime.template import SHARING

_PR_SET_CHILD_SUBREAPER = 36


def inherit_orphans() -> bool:
    """Become the parent of what this process's children leave behind; returns whether the system can."""
    if sys.platform != "linux":
        return False
    import ctypes

    return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0)


@contextlib.contextmanager
def starters(
    truss_dir: Path, arena: int, environments: Sequence[Mapping[str, str]]
) -> Iterator[list[Callable[[], Spawned]]]:
    """How to start each worker, while the server runs; several on CPUs share what they import.

    Args:
        truss_dir: The Truss.
        arena: The descriptor of the arena where they find large bodies.
        environments: The variables to set in each worker. Workers with devices of their own start apart.
    """
    if len(environments) == 1 or any(environments) or not inherit_orphans():
        yield [functools.partial(spawn, truss_dir, arena, environment) for environment in environments]
        return
    template = Template(truss_dir, arena)
    try:
        yield [template.spawn] * len(environments)
    finally:
        template.close()


class Template:
    """Starts workers of one Truss that share the memory of what they import.

    `inherit_orphans` must have succeeded before.

    Args:
        truss_dir: The Truss.
        arena: The descriptor of the arena where the workers find large bodies.
    """

    def __init__(self, truss_dir: Path, arena: int) -> None:
        self._truss_dir = truss_dir
        self._arena = arena
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The template process's id; 0 before the first worker was asked for."""
        return self._process.pid if self._process is not None else 0

    def spawn(self) -> Spawned:
        """Ask for a worker; returns at once. A template that has ended is replaced first."""
        process, control = self._running()
        ours, theirs = socket.socketpair()
        progress = Progress()
        known, report = os.pipe()
        with theirs, os.fdopen(report, "wb"), contextlib.suppress(ConnectionError):
            # A template that dies just now leaves the worker without a process: lost like any other.
            socket.send_fds(control, [b"\0"], [theirs.fileno(), progress.fd, self._arena, report])
        return Spawned(ForkedProcess(process, known), ours, progress)

    def _running(self) -> tuple[subprocess.Popen[bytes], socket.socket]:
        """The process and the connection to it, started anew if need be."""
        if self._process is None or self._control is None or self._process.poll() is not None:
            self.close()
            self._control, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    child.command("truss.runtime.template", (theirs.fileno(), self._truss_dir, SHARING)),
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                )
        return self._process, self._control

    def close(self) -> None:
        """End the template; its workers live on."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._control = self._process = None


class ForkedProcess:
    """A worker process that the template was asked for: the part of `subprocess.Popen` that we use.

    Args:
        template: The template process that forks it.
        known: The pipe by which it tells its id once it exists; nothing comes when it never will.

    Attributes:
        returncode: How it ended, as `subprocess.Popen` says it; None while it has not.
    """

    def __init__(self, template: subprocess.Popen[bytes], known: int) -> None:
        os.set_blocking(known, False)
        self._template = template
        self._known: int | None = known
        self._pid = 0
        self.returncode: int | None = None

    @property
    def pid(self) -> int:
        """Its id; 0 while it does not exist yet."""
        if self._known is not None:
            with contextlib.suppress(BlockingIOError):
                self._learn(self._known)
        return self._pid

    def _learn(self, known: int) -> None:
        """Read the id, or that there is none to come."""
        line = os.read(known, 32)
        os.close(known)
        self._known = None
        self._pid = int(line or 0)

    def poll(self) -> int | None:
        """How it ended, or None."""
        return self._look(os.WNOHANG)

    def wait(self) -> int:
        """Wait until it has ended."""
        self._wait_for_birth()
        ended = self._look(0)
        assert ended is not None  # the system has waited for it
        return ended

    def kill(self) -> None:
        """End it at once. While it does not exist yet, it is the template that takes too long."""
        if self.pid == 0 and self._known is not None:
            self._template.kill()
            self._wait_for_birth()
        if self._pid and self.poll() is None:
            os.kill(self._pid, signal.SIGKILL)

    def _wait_for_birth(self) -> None:
        if self._known is not None:
            os.set_blocking(self._known, True)
            self._learn(self._known)

    def _look(self, options: int) -> int | None:
        if self.returncode is None and self.pid:
            ended, status = os.waitpid(self._pid, options)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        elif self.returncode is None and self._known is None:
            # The template died, or could not fork: what it could not do counts as this one's end.
            self.returncode = self._template.poll() or 1
        return self.returncode

"""The first process of a container: it passes signals on, and buries orphans.

The system hands a process whose parent has ended to process 1, which has to ask for its exit status once
it ends; else it stays in the table of processes for as long as the container lives. A wrapped server or a
model's own subprocess may leave such processes behind. The server cannot bury them itself: who waits for any
child takes exit statuses that `asyncio` and `subprocess` wait for. So it runs below a process that does only
this.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable

_PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_AWAITED = {*_PASSED_ON, signal.SIGCHLD}

_PR_SET_PDEATHSIG, _PR_GET_CHILD_SUBREAPER = 1, 37
"""https://man7.org/linux/man-pages/man2/prctl.2.html"""


def run(main: Callable[[], int]) -> int:
    """Run a program: below a process that buries orphans, where this is the one that gets them.

    Args:
        main: The program; gives its exit status.

    Returns:
        That status; 128 and the number of the signal that ended it. In the process below, which returns as
        well, what `main` gives.
    """
    if not _gets_orphans():
        return main()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)  # none may come between
    program = os.fork()
    if program:
        return _stand_by(program)
    os.setpgid(0, 0)  # a terminal's Ctrl-C comes once, passed on
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return main()


def _gets_orphans() -> bool:
    """Whether this is process 1, or stands in for it (a "subreaper")."""
    if sys.platform != "linux":
        return False
    standing_in = ctypes.c_int()
    ctypes.CDLL(None).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(standing_in))
    return os.getpid() == 1 or bool(standing_in.value)


def _stand_by(program: int) -> int:
    while True:
        number = signal.sigwait(_AWAITED)
        if number != signal.SIGCHLD:
            os.kill(program, number)  # it is there still: its exit status is taken below only
        elif (status := _bury(program)) is not None:
            return status


def _bury(program: int) -> int | None:
    """Take the exit status of every child that has ended; gives the program's, if it is among them."""
    found = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return found
        if not pid:
            return found
        if pid == program:
            code = os.waitstatus_to_exitcode(status)
            found = code if code >= 0 else 128 - code

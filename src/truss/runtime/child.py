"""What the processes below the front have in common: how they are started, and what they do first.

Imports the standard library only: a process that merely starts others stays small.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from collections.abc import Sequence

# The entry that `-c` puts first in sys.path is the current directory: a stray numpy.py there would be
# imported in place of NumPy. The front's own sys.path, the last argument, is what a child gets.
_START = "import json, sys; sys.path[:] = json.loads(sys.argv[-1]); from {} import main; main()"


def command(module: str, arguments: Sequence[object]) -> list[str]:
    """The command that runs `main` of a module in a process of its own.

    Args:
        module: Its full name.
        arguments: What it finds in `sys.argv` from position 1; this process's import path follows them.
    """
    return [sys.executable, "-c", _START.format(module), *argv(arguments)[1:]]


def argv(arguments: Sequence[object]) -> list[str]:
    """What `sys.argv` is in a process that was started with these arguments."""
    return ["-c", *map(str, arguments), json.dumps([entry for entry in sys.path if entry])]


def set_up() -> None:
    """Leave signals to the front, end with it, and log the way it does."""
    # A terminal's Ctrl-C reaches the whole process group; the front decides when a worker stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        # PR_SET_PDEATHSIG: a model deep in a computation would not notice that the front was killed.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )

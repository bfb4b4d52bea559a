"""The template: a process that imports what every worker needs, once, and forks the workers off itself.

Several copies of a model on CPUs share the weights that they map from files. What each would still have
to itself is the libraries' own memory: relocated code, tables, Python's modules, over 100 MB a worker with
PyTorch. A fork after the imports shares that too, until somebody writes to it. The model itself is
constructed and loaded in each worker, after the fork, so that its threads, locks, connections and random
numbers are the worker's own.

A fork copies one thread. Locks that others held stay locked forever, and pools of threads that a library
believes to have are gone. So a template forks only while it is alone:

* Libraries that are made for forks say so by ending their threads in a handler that runs before one, and
  start them again when they need them. OpenBLAS does, whose threads begin when NumPy is imported. No list
  of such libraries is needed: the template forks once for nothing and counts its threads afterwards.
* jemalloc, the allocator inside PyArrow, which pandas imports, is made for forks too, but keeps its thread.
  All that the thread does is to give memory back; a child's jemalloc knows that it has none, and does it.
* What is still there then (a telemetry thread, an OpenMP pool, a thread of the user's) would be missing in
  the children. The same goes for descriptors that the import opened: children would read from the same
  connection, each a part of what is said.

In both cases, and when the import fails, the workers become processes of their own as if there were no
template: it replaces itself by a small process that starts them. The front notices no difference.

A worker is a child of the front, not of the template: the front, a "child subreaper", inherits what the
process in between leaves behind. So the front learns of a worker's end from the system, at once and exactly,
and a template that dies takes no worker with it.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import socket
import sys
import warnings
from pathlib import Path
from typing import NoReturn

from truss.runtime import child

logger = logging.getLogger("truss.template")

SHARING = "sharing"
"""The argument that makes a template import the model class and fork."""

APART = "apart"
"""The argument that makes it start processes of their own."""

_DESCRIPTORS = 4
"""What comes with a request: the worker's connection, its progress, the arena, and where to tell its id."""

_HARMLESS = ("/dev/null", "/dev/urandom", "/dev/random")
"""Descriptors that several processes can use without noticing each other."""

_NOT_MISSED = ("jemalloc_bg_thd",)
"""Threads whose library knows in a child that it has none, and does without."""


def main() -> None:
    """Start a worker for each request of the front, until the front closes the connection.

    The arguments are the connection's descriptor, the Truss's folder, and SHARING or APART.
    """
    control = socket.socket(fileno=int(sys.argv[1]))
    truss_dir, apart = Path(sys.argv[2]), sys.argv[3] == APART
    child.set_up()
    if not apart:
        reason = _import_model(truss_dir) or _what_a_fork_loses()
        if reason:
            logger.info("each worker imports its libraries by itself: %s", reason)
            _become_apart(control, truss_dir)
        gc.freeze()  # the collector would write into, and so copy, every page that holds an object
    descriptors = _fork_on_request(control)
    if descriptors is not None:
        _become_worker(descriptors, truss_dir, apart=apart)


# --- in the template ---


def _import_model(truss_dir: Path) -> str | None:
    """Import the model class, without constructing it; returns why its import cannot be shared, if so."""
    from truss.config import read_config
    from truss.errors import TrussError
    from truss.model.loader import ModelSource, import_model_class
    from truss.runtime import worker  # noqa: F401  # what every worker imports besides

    before = _descriptors()
    try:
        source = ModelSource(truss_dir, read_config(truss_dir))
        source.module_space().install()
        import_model_class(source)
    except TrussError:  # the workers meet it again, and tell
        return "the model class cannot be imported"
    opened = {target for _, target in _descriptors() - before}.difference(_HARMLESS)
    return f"importing the model class opened {', '.join(sorted(opened))}" if opened else None


def _descriptors() -> set[tuple[str, str]]:
    """This process's open descriptors, and what each is open on."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that the listing itself had used
            found.add((entry.name, str(entry.readlink())))
    return found


def _what_a_fork_loses() -> str | None:
    """Fork once for nothing, and say which threads are there still: those are not made for it."""
    probe = _fork()
    if probe == 0:
        os._exit(0)
    os.waitpid(probe, 0)
    names = [task.joinpath("comm").read_text().strip() for task in Path("/proc/self/task").iterdir()]
    lost = [name for name in names[1:] if name not in _NOT_MISSED]
    return f"importing the model class started threads ({', '.join(lost)})" if lost else None


def _become_apart(control: socket.socket, truss_dir: Path) -> NoReturn:
    """Replace this process, and all that it has imported, by one that starts workers by themselves."""
    control.set_inheritable(True)
    _become(__name__, control.fileno(), truss_dir, APART)


def _become(module: str, *arguments: object) -> NoReturn:
    command = child.command(module, arguments)
    os.execv(command[0], command)  # noqa: S606  # our own program


def _fork_on_request(control: socket.socket) -> list[int] | None:
    """Fork a child for each message; returns the message's descriptors in a child, None at the end."""
    while True:
        # One byte a message: the system never joins bytes that came with different descriptors.
        message, descriptors, _, _ = socket.recv_fds(control, 1, _DESCRIPTORS)
        if not message:
            return None
        if _fork_for_the_front():
            control.close()
            return descriptors
        for descriptor in descriptors:
            os.close(descriptor)


def _fork_for_the_front() -> bool:
    """Start a process whose parent is the front; returns whether this is it.

    The process in between ends at once, and the system gives its child to the nearest ancestor that takes
    such children. The child waits until that has happened: asked to end with its parent, it means the front.
    """
    ended, ending = os.pipe()
    between = _fork()
    if between == 0:
        try:
            if _fork() > 0:
                os._exit(0)
        except OSError:  # the front sees that nobody holds the worker's connection any more
            os._exit(1)
        os.close(ending)
        os.read(ended, 1)  # the end of the pipe comes when nobody else has `ending` open
        os.close(ended)
        return True
    os.waitpid(between, 0)
    os.close(ending)
    os.close(ended)
    return False


def _fork() -> int:
    with warnings.catch_warnings():
        # Some libraries warn of any fork, since it might come when their threads run; here it does not.
        warnings.simplefilter("ignore")
        return os.fork()


# --- in a child ---


def _become_worker(descriptors: list[int], truss_dir: Path, *, apart: bool) -> None:
    """Tell the front this process's id, then do what a worker process does."""
    *inherited, report = descriptors
    os.write(report, b"%d\n" % os.getpid())
    os.close(report)
    for descriptor in inherited:
        os.set_inheritable(descriptor, apart)
    arguments = (*inherited, truss_dir)
    if apart:
        _become("truss.runtime.worker", *arguments)
    from truss.runtime.worker import main as work

    _draw_other_random_numbers()
    sys.argv = child.argv(arguments)
    work()


def _draw_other_random_numbers() -> None:
    """Give NumPy's global generator a seed of its own here; Python's own does that by itself.

    Unless the model class's module has set a seed: what it then draws is the same in every process anyway.
    """
    random = sys.modules.get("numpy.random")
    if random is not None and random.get_bit_generator().seed_seq is not None:
        random.seed()

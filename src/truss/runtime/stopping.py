"""An orderly end on a signal: readiness fails, soon no connection is taken, what began is answered."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from truss.errors import TrussError
from truss.runtime.listener import take_no_more

logger = logging.getLogger("truss.serve")

_ACCEPT_SECONDS = 0.05
"""Time for the event loop to accept what the kernel has completed when no new connection may begin."""


@dataclass(frozen=True)
class Ending:
    """The time from the signal to the end, in seconds.

    Attributes:
        grace: All of it.
        notice: How long of it new connections are still taken on SIGTERM: load balancers need a moment to
            see that readiness fails. SIGINT comes from a person, who does not want to wait.
    """

    grace: float
    notice: float


class Draining(Protocol):
    """What is told that the server is about to stop."""

    draining: bool


class Stop:
    """Turns signals, and a model that cannot be loaded, into an orderly end.

    Args:
        served: Told when the end begins.
        listener: The listening socket.
        ending: How long the end takes.
        on_load_failure: Told why the model cannot be loaded.

    Attributes:
        exit_status: Of the process.
        exiting: Set when nothing more is accepted.
        forced: Set when what was accepted is not to be waited for.
    """

    def __init__(
        self,
        served: Draining,
        listener: socket.socket,
        ending: Ending,
        on_load_failure: Callable[[TrussError], None] | None,
    ) -> None:
        self._served = served
        self._listener = listener
        self._ending = ending
        self._on_load_failure = on_load_failure
        self._end: float | None = None
        self.exit_status = 0
        self.exiting = asyncio.Event()
        self.forced = asyncio.Event()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT, for as long as the server runs."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._drain, self._ending.notice)
        loop.add_signal_handler(signal.SIGINT, self._drain, 0.0)
        try:
            yield
        finally:
            loop.remove_signal_handler(signal.SIGTERM)
            loop.remove_signal_handler(signal.SIGINT)

    @property
    def left(self) -> float:
        """Seconds that are left of the grace: all of it before a signal."""
        if self._end is None:
            return self._ending.grace
        return max(0.0, self._end - asyncio.get_running_loop().time())

    def fail(self, error: TrussError) -> None:
        """Stop because the model cannot be loaded."""
        if self._on_load_failure is not None and not self.exit_status:  # the first of several workers
            self._on_load_failure(error)
        self.exit_status = error.exit_code
        self.exit()

    def exit(self) -> None:
        """Accept nothing more, and finish what was accepted."""
        self.exiting.set()

    def force(self) -> None:
        """Do not wait for what was accepted."""
        self.forced.set()
        self.exit()

    def _drain(self, seconds: float) -> None:
        if self._served.draining:  # asked twice
            self.force()
            return
        logger.info("stopping: answering what was accepted")
        loop = asyncio.get_running_loop()
        self._served.draining = True
        self._end = loop.time() + self._ending.grace
        loop.call_later(seconds, self._stop_accepting)

    def _stop_accepting(self) -> None:
        asyncio.get_running_loop().call_later(_ACCEPT_SECONDS, self.exit)
        take_no_more(self._listener)

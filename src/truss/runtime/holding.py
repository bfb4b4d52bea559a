"""A hold by the clock: keeps the next batch back until its clients are there or the time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from truss.runtime.batching import NO_HOLD, Hold

_SHORTEST = 0.001
"""Event loops count milliseconds. A shorter hold is the turn of the loop that dispatching takes anyway."""


class Holding:
    """The hold in force, if any.

    Args:
        loop: Whose clock counts.
        waiting: How many requests wait now.
        over: Called when the time is up.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, waiting: Callable[[], int], over: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._waiting = waiting
        self._over = over
        self._hold = NO_HOLD
        self._timer: asyncio.Handle | None = None

    def begin(self, hold: Hold) -> None:
        """Hold from now on; the time counts from `start_clock`. Replaces a hold in force."""
        self.end()
        if hold.seconds >= _SHORTEST:
            self._hold = hold

    def start_clock(self) -> None:
        """The answers are on their way: their clients may come back from now on."""
        if self._hold is not NO_HOLD and self._timer is None:
            self._timer = self._loop.call_later(self._hold.seconds, self._look_again, -1)

    @property
    def in_force(self) -> bool:
        """Whether requests should be kept back still."""
        return self._waiting() < self._hold.expected

    def end(self) -> None:
        """Keep nothing back."""
        self._hold = NO_HOLD
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self, seen: int) -> None:
        """End the hold, unless the sockets held more requests than had been seen.

        A timer fires before the loop reads what has arrived meanwhile; when a batch was large, that may be
        most of the requests that the hold is for.
        """
        waiting = self._waiting()
        if waiting > seen:
            # Two turns: one that was begun before this call and is about to read, one that has read.
            self._timer = self._loop.call_soon(self._turn, waiting)
            return
        self.end()
        self._over()

    def _turn(self, seen: int) -> None:
        self._timer = self._loop.call_soon(self._look_again, seen)

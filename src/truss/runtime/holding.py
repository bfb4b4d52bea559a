"""A hold by the clock: keeps the next batch back until its clients are there or the time is up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from truss.runtime.batching import NO_HOLD, Policy


class Holding:
    """Ends the policy's hold, if there is one, when its time is up.

    Args:
        loop: Whose clock counts.
        policy: Whose holds.
        waiting: How many requests wait now.
        over: Called when the time is up.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        policy: Policy,
        waiting: Callable[[], int],
        over: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._policy = policy
        self._waiting = waiting
        self._over = over
        self._timer: asyncio.Handle | None = None

    def start_clock(self) -> None:
        """The answers are on their way: their clients may come back from now on."""
        held = self._policy.held
        if held is not NO_HOLD and self._timer is None:
            self._timer = self._loop.call_later(held.seconds, self._look_again, -1)

    def end(self) -> None:
        """Keep nothing back."""
        self._policy.release()
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

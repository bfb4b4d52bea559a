"""When to hand a batch to a worker, and how large: the policy, free of clocks, queues and processes.

`Policy` is all of it, and what it learns; the rest is its parts. The server runs it on its event loop, and
`benchmarks/simulation` on virtual time.

The rule is greedy: an idle worker gets what is waiting, at once. While it computes, requests gather;
what gathered is the next batch. One refinement keeps closed-loop clients together. When a batch
returns, its clients are about to send again, while others already wait. Taking those others at once
splits the clients into two groups that take turns, at half the throughput when a batch costs much
whatever its size. So the next batch is held until as many requests wait as were being served or waiting
when the batch returned. How long is learned: while clients do come back soon, up to half of the fixed
cost of a batch, which a batch for all of them saves twice over; when they do not, a tenth of it. A lone
client never waits: when its request arrives, everyone expected is there.

`docs/architecture/batching.md` compares this with other policies by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

HOLD_FRACTION = 0.1
"""The share of a batch's fixed cost that may be spent, on average, on waiting in vain for its clients."""

LONGEST_HOLD = 0.5
"""The share of a batch's fixed cost that one hold takes at the most."""

SHORTEST_HOLD = 0.001
"""Event loops count milliseconds. A shorter hold is the turn of the loop that dispatching takes anyway."""

_MEMORY = 0.98
"""Weight kept by past batches at each new one: about the last fifty count, so a change shows in seconds."""


class CostModel:
    """What a batch of n rows costs, fitted as fixed + per_row * n by least squares over recent batches."""

    __slots__ = ("_rows", "_rows_rows", "_rows_seconds", "_seconds", "_weight")

    def __init__(self) -> None:
        self._weight = self._rows = self._seconds = self._rows_rows = self._rows_seconds = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Learn from one batch.

        Args:
            rows: How many rows it had, at least 1.
            seconds: How long the worker computed on it.
        """
        self._weight = self._weight * _MEMORY + 1.0
        self._rows = self._rows * _MEMORY + rows
        self._seconds = self._seconds * _MEMORY + seconds
        self._rows_rows = self._rows_rows * _MEMORY + rows * rows
        self._rows_seconds = self._rows_seconds * _MEMORY + rows * seconds

    @property
    def per_row(self) -> float:
        """Seconds that each further row adds; 0 while all batches had the same size."""
        if not self._weight:
            return 0.0
        mean = self._rows / self._weight
        variance = self._rows_rows / self._weight - mean * mean
        # A spread under a hundredth of the size says more about noise than about cost.
        if variance <= 1e-4 * mean * mean:
            return 0.0
        covariance = self._rows_seconds / self._weight - mean * self._seconds / self._weight
        # No batch is cheaper for being larger, nor dearer than if all its cost lay in its rows.
        return min(max(covariance / variance, 0.0), self._seconds / self._rows)

    @property
    def fixed(self) -> float:
        """Seconds that a batch costs before its first row; 0 before the first observation."""
        if not self._weight:
            return 0.0
        return max((self._seconds - self.per_row * self._rows) / self._weight, 0.0)

    def predict(self, rows: float) -> float:
        """Seconds that a batch of so many rows should take."""
        return self.fixed + self.per_row * rows


class Returns:
    """How often the clients of a batch are back soon after it: a share that fades as the cost does.

    Soon is within half of what a batch costs before its first row. When several workers take turns, requests
    come faster than that whoever sends them, so soon is also within half of the time from one batch's
    answers to the next one's.

    Attributes:
        missed: The share of recent batches after which not so many requests came in time; 1 before the first.
        soon: Seconds that count as soon.
    """

    __slots__ = ("_awaited", "_between", "_deadline", "_watched", "missed", "soon")

    _MEMORY = 0.9
    """Weight kept by past batches at each new one: a change of the traffic counts within ten."""

    def __init__(self) -> None:
        self._awaited = 0
        self._between = self._deadline = self._watched = 0.0
        self.missed = 1.0
        self.soon = 0.0

    def watch(self, answered: int, now: float, cost: CostModel) -> None:
        """A batch has been answered: its clients may come back from now on.

        Args:
            answered: How many they are.
            now: What the clock says, in seconds.
            cost: The model's fitted cost.
        """
        if self._awaited and now > self._deadline:
            self._learn(1.0)
        if self._watched:
            # After a pause of the traffic the batches before it say more.
            since = min(now - self._watched, cost.fixed)
            self._between = (
                self._between * self._MEMORY + since * (1 - self._MEMORY) if self._between else since
            )
        self.soon = LONGEST_HOLD * min(cost.fixed, self._between)
        self._awaited, self._watched, self._deadline = answered, now, now + self.soon

    def arrived(self, now: float) -> None:
        """A request has come, whoever sent it: those who were answered cannot be told from others."""
        if self._awaited:
            self._awaited -= 1
            if not self._awaited:
                self._learn(float(now > self._deadline))

    def _learn(self, missed: float) -> None:
        self.missed = self.missed * self._MEMORY + missed * (1 - self._MEMORY)


@dataclass(frozen=True)
class Hold:
    """Wait up to `seconds` for `expected` requests to be waiting; no waiting when `seconds` is 0."""

    expected: int
    seconds: float

    def keeps_back(self, waiting: int) -> bool:
        """Whether so many are too few still, as long as its time is not up."""
        return waiting < self.expected


NO_HOLD = Hold(0, 0.0)


def hold_after(returned: int, waiting: int, most: int, cost: CostModel, returns: Returns) -> Hold:
    """How long to hold the next batch when one has just returned.

    What is waited in vain is the longer the more often clients do not come; on average it stays below
    `HOLD_FRACTION` of the fixed cost.

    Args:
        returned: How many requests the batch answered.
        waiting: How many requests wait at that moment.
        most: How many a batch may have: there is no holding for more.
        cost: The model's fitted cost.
        returns: How often clients have been back soon.
    """
    expected = min(returned + waiting, most)
    if expected <= 1 or waiting >= expected:
        return NO_HOLD
    least = HOLD_FRACTION * cost.fixed
    longest = max(least, returns.soon)
    return Hold(expected, min(longest, least / returns.missed) if returns.missed else longest)


UNJOINED_BURST_SECONDS = 0.001
"""How much work of requests that cannot be joined is handed over at once: enough to hide the way to the
worker and back, too little for anybody to notice."""


def unjoined_burst(cost: CostModel, limit: int) -> int:
    """How many requests to hand over together to a model whose requests run one by one.

    Args:
        cost: The fitted cost, with requests counted as rows.
        limit: The configured most.
    """
    each = cost.predict(1)
    return max(1, int(min(limit, UNJOINED_BURST_SECONDS / each))) if each else 1


def level_share(waiting: int, loads: Sequence[int]) -> int:
    """How many requests the least busy worker of an async model takes, so that all get equally busy.

    Args:
        waiting: How many requests wait, at least 1.
        loads: How many each worker with room runs, the least busy first.
    """
    level = min((waiting + busy) // count for count, busy in enumerate(accumulate(loads), 1))
    return max(1, level - loads[0])


class Policy:
    """Decides about the batches of one model, by what it has seen of its costs and its clients.

    Args:
        most: How many requests a batch may have.
        joins: Whether requests are joined, so that a batch is one run of the model.

    Attributes:
        cost: The fitted cost.
        held: The hold in force. Its time is the caller's to count, who calls `release` when it is up.
    """

    __slots__ = ("_joins", "_most", "_returns", "_rows_each", "cost", "held")

    def __init__(self, most: int, *, joins: bool = True) -> None:
        self._most = most
        self._joins = joins
        self._returns = Returns()
        self._rows_each = 0.0
        self.cost = CostModel()
        self.held = NO_HOLD

    def arrived(self, now: float) -> None:
        """A request has come."""
        self._returns.arrived(now)

    def learn(self, requests: int, rows: int, seconds: float) -> None:
        """A batch of so many requests, which had so many rows together, has taken so long."""
        each = rows / requests
        self._rows_each = self._rows_each * _MEMORY + each * (1 - _MEMORY) if self._rows_each else each
        self.cost.observe(rows, seconds)

    def seconds_for(self, requests: int) -> float:
        """How long so many requests should take as one batch, with as many rows each as there were lately."""
        return self.cost.predict(requests * self._rows_each)

    def returned(self, answered: int, waiting: int) -> None:
        """A batch is back, with answers to so many requests, while others wait: maybe begin a hold."""
        if self._joins:
            hold = self.hold_for(answered, waiting)
            self.held = hold if hold.seconds >= SHORTEST_HOLD else NO_HOLD

    def hold_for(self, answered: int, waiting: int) -> Hold:
        """How long to wait for those who are answered now."""
        return hold_after(answered, waiting, self._most, self.cost, self._returns)

    def answered(self, count: int, now: float) -> None:
        """The answers of a batch are on their way: their clients may come back from now on."""
        if self._joins:
            self._returns.watch(count, now, self.cost)

    def keeps_back(self, waiting: int) -> bool:
        """Whether so many waiting requests are held back."""
        return self.held.keeps_back(waiting)

    def release(self) -> None:
        """Hold nothing back: the time is up, or enough have come."""
        self.held = NO_HOLD

    def share(self, waiting: int, idle: int, workers: int) -> int:
        """How many of the waiting requests, at the most, go to the next idle worker.

        Args:
            waiting: How many wait.
            idle: How many workers idle, at least 1.
            workers: How many have loaded the model, the idle ones among them.
        """
        if not self._joins:
            # A busy worker may be done before the idle one: it finds its share still there.
            return min(unjoined_burst(self.cost, self._most), math.ceil(waiting / workers))
        if idle > 1 and self.cost.per_row * waiting * self._rows_each > self.cost.fixed:
            # The rows, not the call, cost the time: idle workers share them.
            return min(self._most, math.ceil(waiting / idle))
        return self._most

"""When to hand a batch to a worker, and how large: the policy, free of clocks, queues and processes.

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

from dataclasses import dataclass

HOLD_FRACTION = 0.1
"""The share of a batch's fixed cost that may be spent, on average, on waiting in vain for its clients."""

LONGEST_HOLD = 0.5
"""The share of a batch's fixed cost that one hold takes at the most."""

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

    def predict(self, rows: int) -> float:
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
    return max(1, min(limit, int(UNJOINED_BURST_SECONDS / each))) if each else 1

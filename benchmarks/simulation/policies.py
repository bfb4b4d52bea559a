"""The policies that are compared. Ours is the code that the server runs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from benchmarks.simulation.engine import Decision
from truss.runtime import batching


class Greedy:
    """An idle worker takes whatever waits."""

    def __init__(self, most: int = 128) -> None:
        self._most = most

    def decide(self, now: float, arrived: Sequence[float], idle: int) -> Decision:
        """Everything, up to the limit."""
        return Decision(min(len(arrived), self._most))

    def arrived(self, now: float) -> None:
        """Nothing to learn."""

    def returned(self, now: float, rows: int, seconds: float, waited: float, waiting: int) -> None:
        """Nothing to learn."""


class Truss:
    """The server's own policy, with the hold's time counted in virtual seconds.

    Args:
        workers: How many there are.
        policy: The server's; by default one of requests that are joined, up to 128.
    """

    def __init__(self, workers: int, policy: batching.Policy | None = None) -> None:
        self._workers = workers
        self._policy = policy or batching.Policy(128)
        self._hold_until = 0.0

    def decide(self, now: float, arrived: Sequence[float], idle: int) -> Decision:
        """As the server's pool does it, whose timer is the time to ask again."""
        if now < self._hold_until and self._policy.keeps_back(len(arrived)):
            return Decision(again=self._hold_until)
        self._policy.release()
        return Decision(min(len(arrived), self._policy.share(len(arrived), idle, self._workers)))

    def arrived(self, now: float) -> None:
        """Somebody may be back."""
        self._policy.arrived(now)

    def returned(self, now: float, rows: int, seconds: float, waited: float, waiting: int) -> None:
        """Learn the cost; maybe begin to hold."""
        self._policy.learn(rows, rows, seconds)
        self._policy.returned(rows, waiting)
        self._hold_until = now + self._policy.held.seconds
        self._policy.answered(rows, now)


class SizeOrTimeout:
    """A batch leaves when it has `size` requests or its oldest has waited `timeout` seconds."""

    def __init__(self, size: int, timeout: float) -> None:
        self._size = size
        self._timeout = timeout

    def decide(self, now: float, arrived: Sequence[float], idle: int) -> Decision:
        """Full, or old enough."""
        # A sum of floats may fall short of the moment that was asked for.
        if len(arrived) >= self._size or now - arrived[0] >= self._timeout - 1e-9:
            return Decision(min(len(arrived), self._size))
        return Decision(again=arrived[0] + self._timeout)

    def arrived(self, now: float) -> None:
        """Nothing to learn."""

    def returned(self, now: float, rows: int, seconds: float, waited: float, waiting: int) -> None:
        """Nothing to learn."""


class Fitted:
    """The idea of BentoML's dispatcher: wait on while that costs those who wait less than usual.

    It looks each millisecond. Every five seconds it fits `a * rows + b` over the last fifty batches by
    least squares, and takes the mean time that the oldest of a batch waited. With n requests waiting,
    the youngest for w, it goes on waiting while `n * (w + 1 ms + a)` is at most 0.95 of that mean. Its
    first batches are single requests, to have something to fit.
    """

    _TICK = 0.001
    _REFRESH = 5.0
    _SINGLE_AT_FIRST = 9

    def __init__(self, most: int = 128) -> None:
        self._most = most
        self._recent: deque[tuple[int, float, float]] = deque(maxlen=50)
        self._per_row = 0.0
        self._usual_wait = 0.0
        self._fitted_at = 0.0
        self._seen = 0

    def decide(self, now: float, arrived: Sequence[float], idle: int) -> Decision:
        """Release, or look again in a millisecond."""
        if self._seen < self._SINGLE_AT_FIRST:
            return Decision(1)
        youngest = now - arrived[-1]
        others_cost = len(arrived) * (youngest + self._TICK + self._per_row)
        if len(arrived) < self._most and others_cost <= self._usual_wait * 0.95:
            return Decision(again=now + self._TICK)
        return Decision(min(len(arrived), self._most))

    def arrived(self, now: float) -> None:
        """Nothing to learn."""

    def returned(self, now: float, rows: int, seconds: float, waited: float, waiting: int) -> None:
        """Remember the batch, and fit now and then."""
        self._seen += 1
        self._recent.append((rows, seconds, 0.0 if self._seen <= self._SINGLE_AT_FIRST else waited))
        if now - self._fitted_at >= self._REFRESH or self._seen == self._SINGLE_AT_FIRST:
            self._fitted_at = now
            self._fit()

    def _fit(self) -> None:
        count = len(self._recent)
        rows = sum(batch[0] for batch in self._recent) / count
        seconds = sum(batch[1] for batch in self._recent) / count
        spread = sum((batch[0] - rows) ** 2 for batch in self._recent)
        together = sum((batch[0] - rows) * (batch[1] - seconds) for batch in self._recent)
        # Batches of one size say nothing about the slope; least squares of least norm then shares the cost.
        self._per_row = max(1e-6, together / spread if spread else seconds * rows / (rows * rows + 1))
        self._usual_wait = sum(batch[2] for batch in self._recent) / count

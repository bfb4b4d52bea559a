"""A queue, workers, a policy between them, and virtual time.

Requests arrive by a pattern and wait in one queue. Whenever something happens (an arrival, a batch that
returns, a moment that the policy asked for) and a worker idles, the policy says how many of the oldest
requests to hand over. The worker is busy for as long as the model's cost says, with noise.
"""

from __future__ import annotations

import heapq
import itertools
import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

NOISE = 0.05
"""Standard deviation of a batch's time, relative to it."""

_WARM_UP_SHARE = 0.2


@dataclass(frozen=True)
class Cost:
    """Seconds that a batch takes: `fixed + per_row * rows`."""

    name: str
    fixed: float
    per_row: float

    def of(self, rows: int) -> float:
        """Without noise."""
        return self.fixed + self.per_row * rows


@dataclass(frozen=True)
class Decision:
    """What a policy wants: hand over `take` requests, or be asked again at `again` (seconds)."""

    take: int = 0
    again: float | None = None


class Policy(Protocol):
    """Decides about batches; knows arrivals and returns, not the future."""

    def decide(self, now: float, arrived: Sequence[float], idle: int) -> Decision:
        """Whether to hand over: `arrived` are the waiting requests' times, oldest first."""

    def arrived(self, now: float) -> None:
        """A request has come."""

    def returned(self, now: float, rows: int, seconds: float, waited: float, waiting: int) -> None:
        """A batch came back: its rows, how long it ran, how long its oldest had waited; how many wait now."""


class Arrivals(Protocol):
    """When requests arrive."""

    def first(self, dice: random.Random) -> list[float]:
        """Arrivals that are known at the start."""

    def after(self, dice: random.Random, answered: float) -> float | None:
        """When the client just answered sends again, if it does."""


@dataclass(frozen=True)
class Poisson:
    """Open loop: independent clients, `rate` requests per second, for `seconds`."""

    rate: float
    seconds: float

    def first(self, dice: random.Random) -> list[float]:
        """All of them."""
        times = itertools.accumulate(
            dice.expovariate(self.rate) for _ in range(int(self.rate * self.seconds))
        )
        return list(times)

    def after(self, dice: random.Random, answered: float) -> float | None:
        """Nobody waits for an answer before asking again."""
        return None


@dataclass(frozen=True)
class Closed:
    """Closed loop: `clients` that each send again after `pause` seconds on average, for `seconds`."""

    clients: int
    pause: float
    seconds: float

    def first(self, dice: random.Random) -> list[float]:
        """One from each, within the first pause or so."""
        return sorted(dice.expovariate(1 / self.pause) for _ in range(self.clients))

    def after(self, dice: random.Random, answered: float) -> float | None:
        """The next of the client that was answered."""
        again = answered + dice.expovariate(1 / self.pause)
        return again if again < self.seconds else None


@dataclass(frozen=True)
class Bursts:
    """`size` requests within `width` seconds, every `period` seconds, for `seconds`."""

    size: int
    width: float
    period: float
    seconds: float

    def first(self, dice: random.Random) -> list[float]:
        """All of them."""
        starts = [number * self.period for number in range(int(self.seconds / self.period))]
        return sorted(start + dice.uniform(0, self.width) for start in starts for _ in range(self.size))

    def after(self, dice: random.Random, answered: float) -> float | None:
        """Bursts come when they come."""
        return None


@dataclass(frozen=True)
class Outcome:
    """What clients saw. Times in seconds; the first fifth of the run is left out."""

    rate: float
    p50: float
    p99: float
    batch: float
    answered: int


@dataclass(order=True)
class _Event:
    time: float
    order: int
    happen: Callable[[], None] = field(compare=False)


class Simulation:
    """One run: the state of the queue and the workers at `now`."""

    def __init__(
        self,
        arrivals: Arrivals,
        cost: Cost,
        policy: Policy,
        workers: int,
        seed: int,
        *,
        noise: float = NOISE,
    ) -> None:
        self._dice = random.Random(seed)
        self._noise = noise
        self._arrivals = arrivals
        self._cost = cost
        self._policy = policy
        self._idle = workers
        self._queue: list[float] = []
        self._events: list[_Event] = []
        self._order = itertools.count()
        self._asked_again: float | None = None
        self.now = 0.0
        self.answers: list[tuple[float, float]] = []
        self.batches: list[tuple[float, int]] = []

    def run(self) -> Outcome:
        """Run until nothing is left to happen."""
        for time in self._arrivals.first(self._dice):
            self._at(time, self._arrive)
        while self._events:
            event = heapq.heappop(self._events)
            self.now = event.time
            event.happen()
        return self._outcome()

    def _at(self, time: float, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, _Event(time, next(self._order), happen))

    def _arrive(self) -> None:
        self._queue.append(self.now)
        self._policy.arrived(self.now)
        self._at(self.now, self._consult)  # with all that arrives now, as in a turn of a loop

    def _consult(self) -> None:
        while self._idle and self._queue:
            decision = self._policy.decide(self.now, self._queue, self._idle)
            if not decision.take:
                self._ask_again(decision.again)
                return
            self._hand_over(decision.take)

    def _ask_again(self, time: float | None) -> None:
        if time is None or time == self._asked_again:
            return
        self._asked_again = time
        self._at(max(time, self.now), self._consult)

    def _hand_over(self, size: int) -> None:
        batch, self._queue = self._queue[:size], self._queue[size:]
        self._idle -= 1
        seconds = self._cost.of(len(batch)) * max(self._dice.gauss(1.0, self._noise), 0.5)
        waited = self.now - batch[0]
        self._at(self.now + seconds, lambda: self._return(batch, seconds, waited))

    def _return(self, batch: Sequence[float], seconds: float, waited: float) -> None:
        self._idle += 1
        self.batches.append((self.now, len(batch)))
        self._policy.returned(self.now, len(batch), seconds, waited, len(self._queue))
        for arrived in batch:
            self.answers.append((self.now, self.now - arrived))
            again = self._arrivals.after(self._dice, self.now)
            if again is not None:
                self._at(again, self._arrive)
        self._consult()

    def _outcome(self) -> Outcome:
        end = self.answers[-1][0]
        begin = end * _WARM_UP_SHARE
        late = sorted(latency for time, latency in self.answers if time >= begin)
        sizes = [size for time, size in self.batches if time >= begin]
        return Outcome(
            rate=len(late) / (end - begin),
            p50=statistics.median(late),
            p99=late[min(int(len(late) * 0.99), len(late) - 1)],
            batch=statistics.fmean(sizes),
            answered=len(self.answers),
        )

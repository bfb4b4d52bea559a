"""How long to hold is a choice: what is learned beside fixed shares of the fixed cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.simulation.cases import COSTS, PATTERNS
from benchmarks.simulation.engine import Outcome, Simulation
from benchmarks.simulation.policies import Truss
from truss.runtime import batching

_FRACTIONS = (None, 0.0, 0.1, 0.2, 0.5)
_SITUATIONS = (
    ("8 clients", "flat"),
    ("64 clients", "flat"),
    ("64 slow clients", "flat"),
    ("Poisson, 10 %", "flat"),
    ("Poisson, 80 %", "flat"),
    ("8 clients", "mixed"),
    ("64 clients", "mixed"),
    ("Poisson, 80 %", "mixed"),
)


class HoldingFor(batching.Policy):
    """The server's policy, but always holding for the same share."""

    def __init__(self, fraction: float) -> None:
        super().__init__(128)
        self._fraction = fraction

    def hold_for(self, answered: int, waiting: int) -> batching.Hold:
        """Whether clients come back or not."""
        expected = answered + waiting
        return batching.Hold(expected, self._fraction * self.cost.fixed) if expected > 1 else batching.NO_HOLD


@dataclass(frozen=True)
class Trial:
    """One situation with one share; None: the learned one."""

    pattern: str
    cost: str
    fraction: float | None
    outcome: Outcome


def trials() -> Iterator[Trial]:
    """Every situation with every share, on one worker."""
    patterns = {pattern.name: pattern for pattern in PATTERNS}
    costs = {cost.name: cost for cost in COSTS}
    for pattern, cost in _SITUATIONS:
        for fraction in _FRACTIONS:
            arrivals = patterns[pattern].make(costs[cost], 1)
            policy = Truss(1, None if fraction is None else HoldingFor(fraction))
            outcome = Simulation(arrivals, costs[cost], policy, 1, seed=1).run()
            yield Trial(pattern, cost, fraction, outcome)

"""How long to hold is a choice: the same situations with other shares of the fixed cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.simulation.cases import COSTS, PATTERNS
from benchmarks.simulation.engine import Outcome, Simulation
from benchmarks.simulation.policies import Truss
from truss.runtime.batching import HOLD_FRACTION

_FRACTIONS = (0.0, HOLD_FRACTION, 0.2, 0.5)
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


class _TrussHolding(Truss):
    """Truss, holding for another share."""

    def __init__(self, fraction: float) -> None:
        super().__init__()
        self._fraction = fraction

    def hold_for(self, rows: int, waiting: int):
        """Scaled from the server's own."""
        hold = super().hold_for(rows, waiting)
        return replace(hold, seconds=hold.seconds * self._fraction / HOLD_FRACTION)


@dataclass(frozen=True)
class Trial:
    """One situation with one share."""

    pattern: str
    cost: str
    fraction: float
    outcome: Outcome


def trials() -> Iterator[Trial]:
    """Every situation with every share, on one worker."""
    patterns = {pattern.name: pattern for pattern in PATTERNS}
    costs = {cost.name: cost for cost in COSTS}
    for pattern, cost in _SITUATIONS:
        for fraction in _FRACTIONS:
            arrivals = patterns[pattern].make(costs[cost], 1)
            outcome = Simulation(arrivals, costs[cost], _TrussHolding(fraction), 1, seed=1).run()
            yield Trial(pattern, cost, fraction, outcome)

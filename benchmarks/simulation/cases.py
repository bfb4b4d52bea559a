"""What is simulated: every pattern of arrivals with every cost, number of workers and policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.simulation.engine import Arrivals, Bursts, Closed, Cost, Outcome, Poisson, Policy, Simulation
from benchmarks.simulation.policies import Fitted, Greedy, SizeOrTimeout, Truss

_SECONDS = 10.0
_PAUSE = 0.0005
_SEEDS = (1, 2, 3)

COSTS = (
    Cost("flat", fixed=0.020, per_row=0.0),
    Cost("mixed", fixed=0.005, per_row=0.0005),
    Cost("linear", fixed=0.0, per_row=0.002),
)
POLICIES: dict[str, Callable[[int], Policy]] = {
    "Truss": Truss,
    "greedy, no hold": lambda _: Greedy(),
    "32 or 5 ms": lambda _: SizeOrTimeout(32, 0.005),
    "32 or 50 ms": lambda _: SizeOrTimeout(32, 0.05),
    "fitted": lambda _: Fitted(),
}
"""What is compared, made for a number of workers."""
WORKERS = (1, 4)


@dataclass(frozen=True)
class Pattern:
    """Arrivals of one kind; `make` fits their rate to what the cost and the workers can take."""

    name: str
    make: Callable[[Cost, int], Arrivals]


def _share_of_capacity(share: float) -> Callable[[Cost, int], Arrivals]:
    """Poisson arrivals at a share of what the workers can do with batches of 32."""
    return lambda cost, workers: Poisson(share * workers * 32 / cost.of(32), _SECONDS)


PATTERNS = (
    Pattern("1 client", lambda _, __: Closed(1, _PAUSE, _SECONDS)),
    Pattern("8 clients", lambda _, __: Closed(8, _PAUSE, _SECONDS)),
    Pattern("64 clients", lambda _, __: Closed(64, _PAUSE, _SECONDS)),
    Pattern("64 slow clients", lambda _, __: Closed(64, 0.02, _SECONDS)),
    Pattern("Poisson, 10 %", _share_of_capacity(0.1)),
    Pattern("Poisson, 80 %", _share_of_capacity(0.8)),
    Pattern(
        "bursts of 64", lambda cost, workers: Bursts(64, 0.002, 4 * cost.of(64) / workers + 0.01, _SECONDS)
    ),
)


@dataclass(frozen=True)
class Case:
    """A policy in a situation, and what came of it."""

    pattern: str
    cost: str
    workers: int
    policy: str
    outcome: Outcome


def cases() -> Iterator[Case]:
    """Everything with everything; the median of three runs by rate."""
    for pattern in PATTERNS:
        for cost in COSTS:
            for workers in WORKERS:
                for name, policy in POLICIES.items():
                    runs = [
                        Simulation(pattern.make(cost, workers), cost, policy(workers), workers, seed).run()
                        for seed in _SEEDS
                    ]
                    middle = sorted(runs, key=lambda run: run.rate)[len(runs) // 2]
                    yield Case(pattern.name, cost.name, workers, name, middle)

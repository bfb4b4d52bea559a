"""The batching policy under arrivals, costs and worker counts that one machine cannot show: a simulation."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from benchmarks import results
from benchmarks.simulation import page
from benchmarks.simulation.cases import Case, cases
from benchmarks.simulation.hold import Trial, trials


def run() -> None:
    """Simulate all cases, and write the data and the page's tables and drawing."""
    done, holds = list(cases()), list(trials())
    rows = {"cases": [_row(case) for case in done], "hold": [_row(trial) for trial in holds]}
    results.write("simulation", rows)
    page.write(done, holds)
    print(f"simulated {len(done)} cases", flush=True)


def _row(one: Case | Trial) -> dict[str, Any]:
    flat = asdict(one)
    return flat | {"outcome": {name: round(value, 6) for name, value in flat["outcome"].items()}}

"""Results as data: one JSON file per benchmark."""

from __future__ import annotations

import json
import os
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from benchmarks.load import Measurement
from benchmarks.places import RESULTS


@dataclass(frozen=True)
class Result:
    """A server on a workload with a number of connections: medians over the repetitions.

    Attributes:
        spread: Fastest repetition's rate divided by the slowest's.
        errors: Of all repetitions together.
        pace: The machine's speed before the server started and after it ended (`benchmarks.pace`).
        failure: Why there are no numbers, when there are none.
    """

    workload: str
    contender: str
    connections: int
    rate: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p99: float = 0.0
    longest: float = 0.0
    errors: int = 0
    repetitions: int = 0
    spread: float = 1.0
    pace: float = 1.0
    failure: str | None = None

    @property
    def speed(self) -> float:
        """The rate in the measure of the machine's speed: what is compared with another's."""
        return self.rate / self.pace

    @property
    def delay(self) -> float:
        """The median latency in the same measure."""
        return self.p50 * self.pace


def summarise(workload: str, contender: str, connections: int, runs: Sequence[Measurement]) -> Result:
    """The medians of several runs."""
    middle = {
        name: round(statistics.median(getattr(run, name) for run in runs), 3)
        for name in ("rate", "p50", "p90", "p99", "longest")
    }
    rates = [run.rate for run in runs]
    return Result(
        workload,
        contender,
        connections,
        **middle,
        errors=sum(run.errors for run in runs),
        repetitions=len(runs),
        spread=round(max(rates) / min(rates), 3) if min(rates) else 0.0,
    )


def write(name: str, content: dict[str, Any]) -> Path:
    """Write `results/NAME.json`, whole or not at all."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    beside = path.with_suffix(".part")
    beside.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(beside, path)  # noqa: PTH105  # the atomic one
    return path


def read(name: str) -> dict[str, Any] | None:
    """What `results/NAME.json` holds, if it is there."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


def to_rows(results: Iterable[Result]) -> list[dict[str, Any]]:
    """For JSON."""
    return [asdict(result) for result in results]


def from_rows(rows: Iterable[dict[str, Any]]) -> list[Result]:
    """Back from JSON, whatever else an older file holds."""
    known = {field.name for field in fields(Result)}
    return [Result(**{key: value for key, value in row.items() if key in known}) for row in rows]

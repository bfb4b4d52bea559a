"""The simulation's tables and drawing, put into docs/architecture/batching.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks import plots
from benchmarks.pages import number, replace_part, table
from benchmarks.places import IMAGES, ROOT
from benchmarks.simulation.cases import PATTERNS, POLICIES, WORKERS, Case
from benchmarks.simulation.hold import Trial

_PAGE = ROOT / "docs" / "architecture" / "batching.md"
_COST_NAMES = {"flat": "20 ms a batch", "mixed": "5 ms a batch and 0.5 ms a row", "linear": "2 ms a row"}


def write(cases: Sequence[Case], trials: Sequence[Trial]) -> None:
    """Write the generated parts of the page."""
    replace_part(_PAGE, "simulated", _tables(cases))
    replace_part(_PAGE, "hold", _hold(trials))
    _draw(cases)


def _tables(cases: Sequence[Case]) -> str:
    parts = []
    for workers in WORKERS:
        for cost, described in _COST_NAMES.items():
            heading = f"**{described}, {workers} worker{'s' if workers > 1 else ''}**"
            rows = [
                [pattern.name, *(_cell(_find(cases, pattern.name, cost, workers, name)) for name in POLICIES)]
                for pattern in PATTERNS
            ]
            parts.append(f"{heading}\n\n{table(['arrivals', *POLICIES], rows)}")
    return "\n\n".join(parts)


def _cell(case: Case) -> str:
    outcome = case.outcome
    return f"{number(outcome.rate)}/s, {number(outcome.p50 * 1e3)} / {number(outcome.p99 * 1e3)} ms"


def _find(cases: Sequence[Case], pattern: str, cost: str, workers: int, policy: str) -> Case:
    wanted = (pattern, cost, workers, policy)
    return next(case for case in cases if (case.pattern, case.cost, case.workers, case.policy) == wanted)


def _hold(trials: Sequence[Trial]) -> str:
    fractions = sorted({trial.fraction for trial in trials})
    situations = list(dict.fromkeys((trial.pattern, trial.cost) for trial in trials))
    rows = []
    for pattern, cost in situations:
        row = [f"{pattern}, {_COST_NAMES[cost]}"]
        for fraction in fractions:
            (trial,) = [
                one for one in trials if (one.pattern, one.cost, one.fraction) == (pattern, cost, fraction)
            ]
            row.append(f"{number(trial.outcome.rate)}/s, {number(trial.outcome.p50 * 1e3)} ms")
        rows.append(row)
    return table(["one worker", *(f"{fraction:.0%}" for fraction in fractions)], rows)


def _draw(cases: Sequence[Case]) -> None:
    figure, axes = plots.drawing(10, 6.5, nrows=2, ncols=len(_COST_NAMES))
    for column, (cost, described) in enumerate(_COST_NAMES.items()):
        _panel(axes[0][column], cases, cost, lambda outcome: outcome.rate, "requests per second")
        _panel(axes[1][column], cases, cost, lambda outcome: outcome.p50 * 1e3, "median latency, ms")
        axes[0][column].set_title(described)
    axes[0][0].legend(fontsize=7)
    plots.save(figure, IMAGES / "batching.svg")


def _panel(axes: object, cases: Sequence[Case], cost: str, figure: Callable, label: str) -> None:
    width = 0.8 / len(POLICIES)
    for index, policy in enumerate(POLICIES):
        values = [figure(_find(cases, pattern.name, cost, 1, policy).outcome) for pattern in PATTERNS]
        places = [place + index * width for place in range(len(PATTERNS))]
        colour = plots.OURS if policy == "Truss" else str(0.35 + 0.13 * index)
        axes.bar(places, values, width, label=policy, color=colour)
    axes.set_yscale("log")
    axes.set_ylabel(label)
    axes.set_xticks([place + 0.4 for place in range(len(PATTERNS))], [pattern.name for pattern in PATTERNS])
    axes.tick_params(axis="x", rotation=60)

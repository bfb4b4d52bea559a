"""The simulation's tables and drawing, put into docs/architecture/batching.md."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks import plots
from benchmarks.pages import number, replace_part, table
from benchmarks.places import IMAGES, ROOT
from benchmarks.simulation.cases import PATTERNS, POLICIES, WORKERS, Case
from benchmarks.simulation.engine import Outcome
from benchmarks.simulation.hold import Trial

_PAGE = ROOT / "docs" / "architecture" / "batching.md"
_MOST_TIMES_SHOWN = 4
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
    fractions = list(dict.fromkeys(trial.fraction for trial in trials))
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
    heads = ("learned" if fraction is None else f"{fraction:.0%}" for fraction in fractions)
    return table(["one worker", *heads], rows)


def _draw(cases: Sequence[Case]) -> None:
    """One worker; relative to each situation's best policy, since situations differ a hundredfold."""
    figure, axes = plots.drawing(11, 6.5, nrows=2, ncols=len(_COST_NAMES), sharex=True, sharey="row")
    for column, (cost, described) in enumerate(_COST_NAMES.items()):
        rates, latencies = axes[0][column], axes[1][column]
        _panel(
            rates,
            cases,
            cost,
            lambda outcomes: [one.rate / max(o.rate for o in outcomes) for one in outcomes],
        )
        _panel(
            latencies,
            cases,
            cost,
            lambda outcomes: [one.p50 / min(o.p50 for o in outcomes) for one in outcomes],
        )
        latencies.set_ylim(0, _MOST_TIMES_SHOWN)
        rates.set_title(described)
    axes[0][0].set_ylabel("throughput, share of the best")
    axes[1][0].set_ylabel("median latency, times the best")
    handles, names = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), frameon=False)
    plots.save(figure, IMAGES / "batching.svg")


def _panel(
    axes: Any, cases: Sequence[Case], cost: str, relative: Callable[[Sequence[Outcome]], list[float]]
) -> None:
    situations = [
        relative([_find(cases, pattern.name, cost, 1, policy).outcome for policy in POLICIES])
        for pattern in PATTERNS
    ]
    width = 0.8 / len(POLICIES)
    for index, policy in enumerate(POLICIES):
        places = [place + (index + 0.5) * width for place in range(len(PATTERNS))]
        colour = plots.OURS if policy == "Truss" else str(0.35 + 0.13 * index)
        axes.bar(places, [values[index] for values in situations], width, label=policy, color=colour)
    axes.set_xticks([place + 0.4 for place in range(len(PATTERNS))], [pattern.name for pattern in PATTERNS])
    axes.tick_params(axis="x", rotation=60)

"""docs/benchmarks.md and its drawings, from the results files."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks import plots, results, start
from benchmarks.claims import verdicts
from benchmarks.pages import number, replace_part, table
from benchmarks.places import IMAGES, PAGE
from benchmarks.results import Result
from benchmarks.workloads import WORKLOADS, Workload

_WORDS = {True: "yes", False: "**no**", None: "-"}


def run(name: str = "serving") -> None:
    """Write the generated parts for which there are results."""
    content = results.read(name)
    if content:
        measured = results.from_rows(content["results"])
        replace_part(PAGE, "machine", _machine(content))
        replace_part(PAGE, "claims", _claims(measured, content))
        replace_part(PAGE, "tables", _tables(measured, content))
        replace_part(PAGE, "settings", _settings(content))
        _draw(measured, content)
    outcomes = start.read()
    if outcomes:
        replace_part(PAGE, "start", _start(outcomes))


def _machine(content: dict[str, Any]) -> str:
    facts = content["machine"]
    return (
        f"Measured {facts['date']} at commit {facts['commit']}: {facts['processor']}, "
        f"{facts['cores']} cores, {facts['memory_gib']} GiB, {facts['system']}, "
        f"Python {facts['python']}, {facts['wrk']}; load average before the run {facts['load_before']}."
    )


def _claims(measured: Sequence[Result], content: dict[str, Any]) -> str:
    rows = [[verdict.claim, verdict.found, _WORDS[verdict.held]] for verdict in verdicts(measured, content)]
    return table(["claim", "measured", "held"], rows)


def _tables(measured: Sequence[Result], content: dict[str, Any]) -> str:
    return "\n\n".join(
        _table(workload, [one for one in measured if one.workload == workload.name], content)
        for workload in WORKLOADS.values()
        if any(one.workload == workload.name for one in measured)
    )


def _table(workload: Workload, measured: Sequence[Result], content: dict[str, Any]) -> str:
    counts = sorted({one.connections for one in measured if not one.failure})
    head = ["requests per second (median / 99 % latency, ms)", *(f"{count} conn." for count in counts)]
    rows = []
    for name in dict.fromkeys(one.contender for one in measured):
        by_count = {one.connections: one for one in measured if one.contender == name and not one.failure}
        cells = [_cell(by_count[count]) if count in by_count else "failed" for count in counts]
        rows.append([_title(name, content), *cells])
    parts = [f"### {workload.title}"]
    if any(one.workload == workload.name for one in measured if one.contender == "ours"):
        parts.append(f"![{workload.title}](images/bench-{workload.name}.svg)")
    loop = content.get("bare_loop")
    if workload.name == "embed" and loop:
        parts.append(
            f"The model alone, in a loop: {number(loop['best_rate'])} sentences per second in batches of "
            f"{loop['best_size']} ({number(loop['rates'].get('1', 0))} one by one)."
        )
    return "\n\n".join([*parts, table(head, rows)])


def _cell(one: Result) -> str:
    if not one.rate:
        return "none answered in time"
    errors = f", {one.errors} errors" if one.errors else ""
    return f"{number(one.rate)} ({number(one.p50)} / {number(one.p99)}{errors})"


def _title(name: str, content: dict[str, Any]) -> str:
    about = content["contenders"][name]
    return f"*{about['title']}*" if about["reference"] else str(about["title"])


def _settings(content: dict[str, Any]) -> str:
    rows = [
        [about["title"], str(about["version"]), about["settings"]] for about in content["contenders"].values()
    ]
    return table(["server", "version", "configuration"], rows).replace("---:", "---")


def _start(outcomes: Sequence[start.Outcome]) -> str:
    rows = [
        [
            one.title,
            f"{number(one.ours * 1e3)} ms",
            f"{number(one.yardstick * 1e3)} ms",
            f"{number(one.limit * 1e3)} ms",
            _WORDS[one.held],
        ]
        for one in outcomes
    ]
    return table(["", "ours", "yardstick", "limit", "held"], rows)


def _draw(measured: Sequence[Result], content: dict[str, Any]) -> None:
    for name, workload in WORKLOADS.items():
        count = 32 if 32 in workload.connections else max(workload.connections)
        chosen = [one for one in measured if (one.workload, one.connections) == (name, count) and one.rate]
        if not any(one.contender == "ours" for one in chosen):
            continue
        chosen.sort(key=lambda one: -one.rate)
        values = {content["contenders"][one.contender]["title"]: one.rate for one in chosen}
        figure, axes = plots.drawing(7, 0.6 + 0.28 * len(values))
        plots.bars(
            axes, values, [_colour(one, content) for one in chosen], [number(one.rate) for one in chosen]
        )
        axes.set_xlabel(f"requests per second, {count} connections (logarithmic)")
        plots.save(figure, IMAGES / f"bench-{name}.svg")


def _colour(one: Result, content: dict[str, Any]) -> str:
    if one.contender == "ours":
        return plots.OURS
    return plots.REFERENCE if content["contenders"][one.contender]["reference"] else plots.OTHERS

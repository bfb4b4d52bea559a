"""docs/benchmarks.md and its drawings, from the results files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks import (
    gpu,
    health,
    images,
    memory,
    operations,
    plots,
    requirements,
    results,
    soak,
    start,
    streaming,
    weights,
    wrapped,
)
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
    copies, growth = memory.read()
    if copies or growth:
        replace_part(PAGE, "memory", _memory(copies, growth))
    latencies = health.read()
    if latencies:
        replace_part(PAGE, "health", _health(latencies))
    shares = wrapped.read()
    if shares:
        replace_part(PAGE, "wrapped", _wrapped(shares))
    streams = streaming.read()
    if streams:
        replace_part(PAGE, "streaming", _streaming(streams))
    operated = operations.read()
    if operated:
        replace_part(PAGE, "operations", _operations(operated))
    clustered = results.read("ray")
    if clustered:
        replace_part(PAGE, "ray", _tables(results.from_rows(clustered["results"]), clustered, drawn=False))
    costs = weights.read()
    if costs:
        replace_part(PAGE, "weights", _weights(costs))
    kinds = requirements.read()
    if kinds:
        replace_part(PAGE, "requirements", _requirements(kinds))
    rates, facts = gpu.read()
    if rates:
        replace_part(PAGE, "gpu", _gpu(rates, facts))
    figures, measured = images.read()
    if figures:
        replace_part(PAGE, "images", _images(figures, measured))


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


def _tables(measured: Sequence[Result], content: dict[str, Any], *, drawn: bool = True) -> str:
    return "\n\n".join(
        _table(workload, [one for one in measured if one.workload == workload.name], content, drawn=drawn)
        for workload in WORKLOADS.values()
        if any(one.workload == workload.name for one in measured)
    )


def _table(workload: Workload, measured: Sequence[Result], content: dict[str, Any], *, drawn: bool) -> str:
    counts = sorted({one.connections for one in measured if not one.failure})
    head = ["requests per second (median / 99 % latency, ms)", *(f"{count} conn." for count in counts)]
    rows = []
    for name in dict.fromkeys(one.contender for one in measured):
        by_count = {one.connections: one for one in measured if one.contender == name and not one.failure}
        cells = [_cell(by_count[count]) if count in by_count else "failed" for count in counts]
        rows.append([_title(name, content), *cells])
    parts = [f"### {workload.title}"]
    if drawn and any(one.workload == workload.name for one in measured if one.contender == "ours"):
        parts.append(f"![{workload.title}](images/bench-{workload.name}.svg)")
    at = content.get("measured_at", {}).get(workload.name)
    if at and at["commit"] != content["machine"]["commit"]:
        parts.append(f"Measured {at['date']} at commit {at['commit']}.")
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


def _memory(copies: Sequence[memory.Copies], growth: soak.Growth | None) -> str:
    rows = [
        [
            f"{one.title}: {one.workers} workers of {number(one.model_bytes / 1e9)} GB",
            f"{number(one.proportional / 1e9)} GB",
            f"{number(memory.MOST_BYTES / 1e9)} GB",
            _WORDS[one.held],
        ]
        for one in copies
    ]
    if growth:
        sent = sum(growth.requests.values())
        rows.append(
            [
                f"growth over {number(growth.minutes)} minutes, {number(sent)} requests",
                f"{growth.growth:+.1%} of {number(growth.before / 1e6)} MB",
                f"{soak.MOST_GROWTH:+.1%}",
                _WORDS[growth.held],
            ]
        )
    return table(["", "measured", "limit", "held"], rows)


def _health(latencies: Sequence[health.Latency]) -> str:
    rows = [
        [
            one.title,
            *(f"{number(value)} ms" for value in (one.p50, one.p99, one.longest)),
            f"{number(health.MOST_MS)} ms",
            _WORDS[one.held],
        ]
        for one in latencies
    ]
    return table(["", "median", "99 %", "longest", "limit (99 %)", "held"], rows)


def _gpu(rates: Sequence[gpu.Rate], facts: Mapping[str, Any]) -> str:
    rows = [
        [one.title, number(one.rate), *(f"{number(value)} ms" for value in (one.p50, one.p99))]
        for one in rates
    ]
    head = (
        f"Measured {facts['date']} at commit {facts['commit']} on one {facts['gpu']} with {facts['cores']} "
        f"cores beside it, torch {facts['torch']}."
    )
    return f"{head}\n\n" + table(["", "sentences per second", "median", "99 %"], rows)


def _wrapped(shares: Sequence[wrapped.Share]) -> str:
    rows = [
        [
            one.title,
            *map(number, (one.direct, one.wrapped, one.relayed)),
            f"{one.kept:.2f}",
            f"{one.wrapped / one.relayed:.2f}",
            _WORDS[one.held],
        ]
        for one in shares
    ]
    head = ["", "direct, per second", "wrapped", "a bare relay", "kept", "of the relay's"]
    return table([*head, f"held (at least {wrapped.LEAST_SHARE})"], rows)


def _streaming(streams: Sequence[streaming.Streams]) -> str:
    rows = [
        [
            f"{one.title}, {one.readers} at a time",
            f"{number(one.first * 1e3)} ms",
            f"{number(one.slowest * 1e3)} ms",
            number(one.rate),
        ]
        for one in streams
    ]
    return table(["streams", "first line", "99 % of lines", "lines per second"], rows)


def _operations(shares: Sequence[operations.Share]) -> str:
    rows = [
        [
            one.title,
            number(one.rate),
            f"{one.kept:.2f}",
            "-" if one.cpu is None else f"{one.cpu:.1f} us",
            "-" if one.added is None else f"{one.added:+.1f} us",
        ]
        for one in shares
    ]
    head = ["", "requests per second", "beside the default", "CPU time of each", "beside the default"]
    return table(head, rows)


def _weights(costs: Sequence[weights.Cost]) -> str:
    rows = [[one.title, number(one.ratio), number(one.limit), _WORDS[one.held]] for one in costs]
    return table(["", "ratio", "limit", "held"], rows)


def _requirements(kinds: Sequence[requirements.Kind]) -> str:
    rows = []
    for framework in dict.fromkeys(kind.framework for kind in kinds):
        own = [kind for kind in kinds if kind.framework == framework]
        names = dict.fromkeys(name for kind in own for name in kind.without)
        needless = {f"{name} ({kind.name})": None for kind in own for name in kind.needless}
        failed = {f"{kind.name} failed": None for kind in own if kind.problem and not kind.needless}
        rows.append(
            [
                framework,
                str(len(own)),
                ", ".join(names),
                str(sum(len(kind.without) for kind in own)),
                ", ".join([*needless, *failed]) or "none",
            ]
        )
    head = ["framework", "kinds of objects", "requirements", "processes without one", "that answered"]
    return table(head, rows).replace("---:", "---")


def _images(figures: Sequence[images.Figure], measured: dict[str, Any]) -> str:
    rows = [
        [one.title, f"{number(one.value)} {one.unit}", f"{one.limit:g} {one.unit}", _WORDS[one.held]]
        for one in figures
    ]
    times = [
        [images.MODELS[name], *(f"{seconds:.1f} s" for seconds in medians)]
        for name, medians in images.first_builds(measured)
    ]
    sizes = [
        [images.MODELS[name], *(f"{size / 1e6:.1f} MB" for size in parts)]
        for name, parts in images.sizes(measured)
    ]
    return "\n\n".join(
        [
            table(["", "measured", "limit", "held"], rows),
            table(
                ["first build and push", "nothing packed", "wheels packed for another", "`docker build`"],
                times,
            ),
            table(["size, compressed", "image", "base", "the model's wheels", "data", "the rest"], sizes),
        ]
    )


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

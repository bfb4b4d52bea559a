"""Measure the servers: one at a time, workload by workload, so that what is compared ran minutes apart."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import bare_loop, environments, machine, results, servers
from benchmarks.contender import Contender
from benchmarks.contenders import contenders
from benchmarks.load import WrongAnswerError, check_answers, measure, write_bodies
from benchmarks.pace import Pace
from benchmarks.places import BENCH
from benchmarks.results import Result, summarise
from benchmarks.workloads import WORKLOADS, Workload, prepare_models

_WARM_UP_SECONDS = 1
_TOOLS = {"wrk": "wrk", "h2load": "nghttp2 clients"}


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to measure, and for how long.

    Attributes:
        connections: Overrides the workloads' own, unless empty.
        seconds: Overrides the workloads' own, unless None.
        output: The results file's name; what it holds of other workloads is kept, so that each workload's
            figures, which are compared with each other, are always of one run.
    """

    contenders: tuple[str, ...]
    workloads: tuple[str, ...]
    connections: tuple[int, ...] = ()
    repetitions: int = 3
    seconds: int | None = None
    output: str = "serving"


def run(plan: Plan) -> int:
    """Measure everything in the plan and write the results; returns how many servers failed."""
    for tool, package in _TOOLS.items():
        if shutil.which(tool) is None:
            raise SystemExit(f"{tool} is missing: install your system's package of {package}")
    chosen = [contenders()[name] for name in plan.contenders]
    for environment in {one.environment for one in chosen if one.environment}:
        environments.ensure(environment)
    prepare_models()
    before = results.read(plan.output) or {}
    content: dict[str, Any] = {
        "machine": machine.facts(),
        "contenders": before.get("contenders", {}) | {one.name: _about(one) for one in chosen},
        "bare_loop": before.get("bare_loop"),
    }
    kept = [row for row in before.get("results", []) if row["workload"] not in plan.workloads]
    measured: list[Result] = []
    measured_at = dict(before.get("measured_at", {}))
    content["measured_at"] = measured_at
    with contextlib.closing(Pace()) as pace:
        for workload in (WORKLOADS[name] for name in plan.workloads):
            if workload.name == "embed":
                content["bare_loop"] = bare_loop.measure(pace)
            expected = workload.expected()
            measured_at[workload.name] = {name: content["machine"][name] for name in ("date", "commit")}
            for contender in chosen:
                if workload.name in contender.exchanges:
                    measured += _measure(contender, workload, expected, plan, pace)
                    content["results"] = kept + results.to_rows(measured)
                    results.write(plan.output, content)
    return sum(one.failure is not None for one in measured)


def _about(contender: Contender) -> dict[str, Any]:
    return {
        "title": contender.title,
        "version": environments.version(contender.environment, contender.package),
        "settings": contender.settings,
        "batched": contender.batched,
        "reference": contender.reference,
    }


def _measure(
    contender: Contender, workload: Workload, expected: list[Any], plan: Plan, pace: Pace
) -> list[Result]:
    """One server on one workload with every number of connections."""
    counts = plan.connections or workload.connections
    seconds = plan.seconds or workload.seconds
    exchange = contender.exchanges[workload.name]
    BENCH.mkdir(exist_ok=True)
    workplace = Path(tempfile.mkdtemp(prefix=f"{contender.name}-", dir=BENCH))
    done: list[Result] = []
    before = pace.look()
    try:
        bodies = workplace / "bodies"
        write_bodies(bodies, exchange, workload)
        with servers.running(contender, workload, workplace) as port:
            if exchange.checked:
                check_answers(port, exchange, workload, expected)
            for count in counts:
                measure(port, exchange, bodies, connections=count, seconds=min(_WARM_UP_SECONDS, seconds))
                runs = [
                    measure(port, exchange, bodies, connections=count, seconds=seconds)
                    for _ in range(plan.repetitions)
                ]
                done.append(summarise(workload.name, contender.name, count, runs))
                _print(done[-1])
            if exchange.checked:
                check_answers(port, exchange, workload, expected)
        # Not while the server runs: it may go on with what its clients no longer wait for.
        paced = round(statistics.mean([before, pace.look()]), 3)
        done = [dataclasses.replace(one, pace=paced) for one in done]
    except (servers.ServerFailedError, WrongAnswerError, OSError) as error:
        print(f"{workload.name:14} {contender.name:18} FAILED: {error}", flush=True)
        done.append(Result(workload.name, contender.name, 0, failure=str(error)[-500:]))
    finally:
        shutil.rmtree(workplace, ignore_errors=True)
    return done


def _print(one: Result) -> None:
    print(
        f"{one.workload:14} {one.contender:18} {one.connections:4} connections {one.rate:10.1f}/s"
        f"  p50 {one.p50:8.2f} ms  p99 {one.p99:8.2f} ms  errors {one.errors}",
        flush=True,
    )

"""The command line: `python -m benchmarks [PART ...]`."""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks import (
    gpu,
    health,
    images,
    memory,
    operations,
    ray,
    report,
    requirements,
    serving,
    simulation,
    start,
    streaming,
    weights,
    wrapped,
)
from benchmarks.contenders import contenders
from benchmarks.workloads import WORKLOADS
from truss.frameworks.registry import BUILT_IN

_PARTS = (
    "serving",
    "start",
    "memory",
    "weights",
    "health",
    "wrapped",
    "streaming",
    "operations",
    "ray",
    "requirements",
    "images",
    "gpu",
    "simulation",
    "report",
)


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Truss beside its floor and its peers, and write docs/benchmarks.md.",
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"what to run: {', '.join(_PARTS)} (default: all)"
    )
    parser.add_argument("--only", type=_names, help=f"servers, with commas: {', '.join(contenders())}")
    parser.add_argument(
        "--framework", type=_names, help="frameworks of `requirements`, with commas; others stay as they were"
    )
    parser.add_argument("--workload", type=_names, help=f"workloads, with commas: {', '.join(WORKLOADS)}")
    parser.add_argument("--connections", type=_names, help="numbers of connections, with commas")
    parser.add_argument("--repetitions", type=int, default=3, help="of each measurement; the median counts")
    parser.add_argument("--seconds", type=int, help="length of a measurement (default: the workload's)")
    parser.add_argument("--quick", action="store_true", help="one short repetition: does everything run?")
    parser.add_argument(
        "--soak-minutes", type=float, default=10, help="length of the mixed load of `memory`; 0: none"
    )
    parser.add_argument("--output", default="serving", help="name of the results file (default: serving)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen parts; the exit status says whether everything ran."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # Told to stop, it first stops the server that it measures.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _check(parser, "PART", options.parts, _PARTS)
    _check(parser, "--only", options.only, contenders())
    _check(parser, "--framework", options.framework, BUILT_IN)
    _check(parser, "--workload", options.workload, WORKLOADS)
    parts = options.parts or _PARTS
    failures = 0
    if "serving" in parts:
        failures += serving.run(
            serving.Plan(
                contenders=tuple(
                    options.only or (name for name, one in contenders().items() if one.everywhere)
                ),
                workloads=tuple(options.workload or WORKLOADS),
                connections=tuple(int(number) for number in options.connections or ()),
                repetitions=1 if options.quick else options.repetitions,
                seconds=1 if options.quick else options.seconds,
                output=options.output,
            )
        )
    if "start" in parts:
        start.run(repetitions=3 if options.quick else 15)
    if "memory" in parts:
        memory.run(soak_minutes=0 if options.quick else options.soak_minutes)
    if "weights" in parts:
        weights.run(repetitions=1 if options.quick else 7)
    if "health" in parts:
        health.run(rounds=1 if options.quick else 3)
    if "wrapped" in parts:
        wrapped.run(rounds=1 if options.quick else options.repetitions, seconds=1 if options.quick else 5)
    if "streaming" in parts:
        streaming.run(rounds=1 if options.quick else 5)
    if "operations" in parts:
        operations.run(rounds=1 if options.quick else 9, seconds=1)
    if "ray" in parts:
        failures += ray.run(
            repetitions=1 if options.quick else options.repetitions,
            seconds=1 if options.quick else options.seconds,
        )
    if "requirements" in parts:
        failures += sum(kind.problem is not None for kind in requirements.run(only=options.framework or ()))
    if "images" in parts:
        images.run(repetitions=1 if options.quick else options.repetitions)
    if "gpu" in parts:
        gpu.run(repetitions=1 if options.quick else options.repetitions, seconds=1 if options.quick else 4)
    if "simulation" in parts:
        simulation.run()
    if "report" in parts:
        report.run()
    return 1 if failures else 0


def _check(parser: argparse.ArgumentParser, option: str, given: list[str] | None, known: object) -> None:
    unknown = [name for name in given or () if name not in known]  # type: ignore[operator]
    if unknown:
        parser.error(f"{option}: unknown {', '.join(unknown)}; known are {', '.join(known)}")  # type: ignore[call-overload]


if __name__ == "__main__":
    sys.exit(main())

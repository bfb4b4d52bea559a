"""The command line: `python -m benchmarks [serving|start|simulation|report ...]`."""

from __future__ import annotations

import argparse
import signal
import sys

from benchmarks import report, serving, simulation, start
from benchmarks.contenders import contenders
from benchmarks.workloads import WORKLOADS


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure Truss beside its floor and its peers, and write docs/benchmarks.md.",
    )
    parts = ("serving", "start", "simulation", "report")
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"what to run: {', '.join(parts)} (default: all)"
    )
    parser.add_argument("--only", type=_names, help=f"servers, with commas: {', '.join(contenders())}")
    parser.add_argument("--workload", type=_names, help=f"workloads, with commas: {', '.join(WORKLOADS)}")
    parser.add_argument("--connections", type=_names, help="numbers of connections, with commas")
    parser.add_argument("--repetitions", type=int, default=3, help="of each measurement; the median counts")
    parser.add_argument("--seconds", type=int, help="length of a measurement (default: the workload's)")
    parser.add_argument("--quick", action="store_true", help="one short repetition: does everything run?")
    parser.add_argument("--output", default="serving", help="name of the results file (default: serving)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the chosen parts; the exit status says whether everything ran."""
    parser = _parser()
    options = parser.parse_args(arguments)
    # Told to stop, it first stops the server that it measures.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _check(parser, "PART", options.parts, ("serving", "start", "simulation", "report"))
    _check(parser, "--only", options.only, contenders())
    _check(parser, "--workload", options.workload, WORKLOADS)
    parts = options.parts or ["serving", "start", "simulation", "report"]
    failures = 0
    if "serving" in parts:
        failures += serving.run(
            serving.Plan(
                contenders=tuple(options.only or contenders()),
                workloads=tuple(options.workload or WORKLOADS),
                connections=tuple(int(number) for number in options.connections or ()),
                repetitions=1 if options.quick else options.repetitions,
                seconds=1 if options.quick else options.seconds,
                output=options.output,
            )
        )
    if "start" in parts:
        start.run(repetitions=3 if options.quick else 15)
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

"""A Truss on a Ray cluster beside `truss serve`, and beside the same model in deployments of Ray's own."""

from __future__ import annotations

from benchmarks import serving

NAME = "ray"
"""Of the results."""

_CONTENDERS = ("ours", "truss-on-ray", "ray-batched", "ray")
_WORKLOADS = ("logreg", "embed")


def run(*, repetitions: int, seconds: int | None) -> int:
    """Measure all of them in one run, and write the results; returns how many failed."""
    plan = serving.Plan(_CONTENDERS, _WORKLOADS, repetitions=repetitions, seconds=seconds, output=NAME)
    return serving.run(plan)

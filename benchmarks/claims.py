"""What the measurements must show, as ratios within one run; each says what it found.

Rates of two measurements are compared in the measure of the machine's speed at their time (`speed`, `delay`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.pages import number
from benchmarks.results import Result

_OURS = "ours"
_TENSOR_WAYS = ("tensor", "tensor-binary", "tensor-inference", "tensor-grpc")


@dataclass(frozen=True)
class Verdict:
    """A claim and what became of it; `held` is None when something was not measured."""

    claim: str
    found: str
    held: bool | None


class Figures:
    """The results of a run, by what they are about."""

    def __init__(self, results: Sequence[Result], content: dict[str, Any]) -> None:
        self._results = {
            (one.workload, one.contender, one.connections): one for one in results if not one.failure
        }
        self._about = content["contenders"]
        self.bare_loop: dict[str, Any] | None = content.get("bare_loop")

    def of(self, workload: str, contender: str, connections: int) -> Result:
        """One result.

        Raises:
            KeyError: it was not measured.
        """
        return self._results[workload, contender, connections]

    def best_peer(self, workload: str, connections: int) -> Result:
        """The fastest of the servers that are neither ours nor a yardstick.

        Raises:
            KeyError: none was measured.
        """
        peers = [
            one
            for (about, name, count), one in self._results.items()
            if (about, count) == (workload, connections)
            and name != _OURS
            and not self._about[name]["reference"]
        ]
        if not peers:
            raise KeyError(workload)
        return max(peers, key=lambda one: one.speed)

    def best_speed(self, workload: str, contender: str) -> float:
        """A server's highest speed over the numbers of connections.

        Raises:
            KeyError: it was not measured.
        """
        speeds = [
            one.speed
            for (about, name, _), one in self._results.items()
            if (about, name) == (workload, contender)
        ]
        if not speeds:
            raise KeyError(workload)
        return max(speeds)

    def best_peer_speed(self, *workloads: str) -> float:
        """The highest speed of any peer on any of the workloads."""
        names = [name for name, about in self._about.items() if name != _OURS and not about["reference"]]
        measured = {(workload, name) for workload, name, _ in self._results}
        speeds = [
            self.best_speed(workload, name)
            for workload in workloads
            for name in names
            if (workload, name) in measured
        ]
        if not speeds:
            raise KeyError(workloads)
        return max(speeds)


@dataclass(frozen=True)
class Claim:
    """A ratio and the bound it has to keep."""

    text: str
    ratio: Callable[[Figures], float]
    bound: float
    at_most: bool = False

    def judge(self, figures: Figures) -> Verdict:
        """Compute the ratio, if what it needs was measured."""
        try:
            value = self.ratio(figures)
        except (KeyError, TypeError, ZeroDivisionError):
            return Verdict(self.text, "not measured", None)
        return Verdict(self.text, number(value), value <= self.bound if self.at_most else value >= self.bound)


CLAIMS = (
    Claim(
        "Logistic regression, 32 connections: at least 0.5 of a bare echo of the same bodies",
        lambda f: f.of("logreg", _OURS, 32).speed / f.of("logreg", "floor", 32).speed,
        0.5,
    ),
    Claim(
        "... and at least 10 times every peer",
        lambda f: f.of("logreg", _OURS, 32).speed / f.best_peer("logreg", 32).speed,
        10,
    ),
    Claim(
        "Echo, 32 connections: at least 0.6 of a bare echo",
        lambda f: f.of("echo", _OURS, 32).speed / f.of("echo", "floor", 32).speed,
        0.6,
    ),
    Claim(
        "One connection: the median latency at most 1.6 times that of the same predict behind bare ASGI",
        lambda f: f.of("logreg", _OURS, 1).delay / f.of("logreg", "in-process", 1).delay,
        1.6,
        at_most=True,
    ),
    Claim(
        "256 connections: the 99th percentile at most 5 times the median",
        lambda f: f.of("logreg", _OURS, 256).p99 / f.of("logreg", _OURS, 256).p50,
        5,
        at_most=True,
    ),
    Claim("256 connections: no errors", lambda f: f.of("logreg", _OURS, 256).errors, 0, at_most=True),
    Claim(
        "Embeddings, 32 connections: at least 0.9 of the model in a bare loop over its best batch size",
        lambda f: f.of("embed", _OURS, 32).speed / f.bare_loop["best_speed"],  # type: ignore[index]
        0.9,
    ),
    Claim(
        "... and above every peer's best",
        lambda f: f.of("embed", _OURS, 32).speed / f.best_peer_speed("embed"),
        1,
    ),
    Claim(
        "Tensor: binary at least 10 times our own JSON",
        lambda f: f.best_speed("tensor-binary", _OURS) / f.best_speed("tensor", _OURS),
        10,
    ),
    Claim(
        "... and at least 2 times every peer's best way",
        lambda f: f.best_speed("tensor-binary", _OURS) / f.best_peer_speed(*_TENSOR_WAYS),
        2,
    ),
    Claim(
        "Tensor over the Open Inference Protocol: at least 10 times our own JSON",
        lambda f: f.best_speed("tensor-inference", _OURS) / f.best_speed("tensor", _OURS),
        10,
    ),
    Claim(
        "... and at least 2 times every peer's best way",
        lambda f: f.best_speed("tensor-inference", _OURS) / f.best_peer_speed(*_TENSOR_WAYS),
        2,
    ),
    Claim(
        "20 ms model, 64 connections: at least 0.8 of 64 answers per 20 ms",
        lambda f: f.of("sleep", _OURS, 64).rate / (64 / 0.020),
        0.8,
    ),
    Claim(
        "20 ms model, 1 connection: a median of at most 22 ms",
        lambda f: f.of("sleep", _OURS, 1).p50,
        22,
        at_most=True,
    ),
    Claim(
        "Async 20 ms model, 64 connections: at least 0.9 of 64 answers per 20 ms",
        lambda f: f.of("sleep-async", _OURS, 64).rate / (64 / 0.020),
        0.9,
    ),
)


def verdicts(results: Sequence[Result], content: dict[str, Any]) -> list[Verdict]:
    """All claims, judged."""
    figures = Figures(results, content)
    return [claim.judge(figures) for claim in CLAIMS]

"""What the measurements must show, as ratios within one run; each says what it found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.pages import number
from benchmarks.results import Result

_OURS = "ours"


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
        return max(peers, key=lambda one: one.rate)

    def best_rate(self, workload: str, contender: str) -> float:
        """A server's highest rate over the numbers of connections.

        Raises:
            KeyError: it was not measured.
        """
        rates = [
            one.rate
            for (about, name, _), one in self._results.items()
            if (about, name) == (workload, contender)
        ]
        if not rates:
            raise KeyError(workload)
        return max(rates)

    def best_peer_rate(self, *workloads: str) -> float:
        """The highest rate of any peer on any of the workloads."""
        names = [name for name, about in self._about.items() if name != _OURS and not about["reference"]]
        measured = {(workload, name) for workload, name, _ in self._results}
        rates = [
            self.best_rate(workload, name)
            for workload in workloads
            for name in names
            if (workload, name) in measured
        ]
        if not rates:
            raise KeyError(workloads)
        return max(rates)


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
        lambda f: f.of("logreg", _OURS, 32).rate / f.of("logreg", "floor", 32).rate,
        0.5,
    ),
    Claim(
        "... and at least 10 times every peer",
        lambda f: f.of("logreg", _OURS, 32).rate / f.best_peer("logreg", 32).rate,
        10,
    ),
    Claim(
        "Echo, 32 connections: at least 0.6 of a bare echo",
        lambda f: f.of("echo", _OURS, 32).rate / f.of("echo", "floor", 32).rate,
        0.6,
    ),
    Claim(
        "One connection: the median latency at most 1.6 times that of the same predict behind bare ASGI",
        lambda f: f.of("logreg", _OURS, 1).p50 / f.of("logreg", "in-process", 1).p50,
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
        lambda f: f.of("embed", _OURS, 32).rate / f.bare_loop["best_rate"],  # type: ignore[index]
        0.9,
    ),
    Claim(
        "... and above every peer's best",
        lambda f: f.of("embed", _OURS, 32).rate / f.best_peer_rate("embed"),
        1,
    ),
    Claim(
        "Tensor: binary at least 10 times our own JSON",
        lambda f: f.best_rate("tensor-binary", _OURS) / f.best_rate("tensor", _OURS),
        10,
    ),
    Claim(
        "... and at least 2 times every peer's best way",
        lambda f: f.best_rate("tensor-binary", _OURS) / f.best_peer_rate("tensor", "tensor-binary"),
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

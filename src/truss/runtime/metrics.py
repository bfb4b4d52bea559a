"""Counters and histograms in the Prometheus text format, kept in the front.

Everything is counted where one thread sees it, so the figures are right whatever the number of
workers, and counting costs well under a microsecond: no locks, no label lookups on the request path.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Histogram:
    """A distribution over fixed upper bounds.

    Args:
        bounds: Inclusive upper bounds, ascending; a last bucket takes what exceeds them.
    """

    __slots__ = ("bounds", "buckets", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.buckets = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value, once or several times."""
        self.buckets[bisect_left(self.bounds, value)] += times
        self.total += value * times

    def lines(self, name: str, labels: str) -> Iterable[str]:
        """The samples of this histogram: cumulative buckets, sum, count."""
        running = 0
        joint = f"{labels}," if labels else ""
        for bound, count in zip((*self.bounds, "+Inf"), self.buckets, strict=True):
            running += count
            yield f'{name}_bucket{{{joint}le="{bound}"}} {running}'
        suffix = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{suffix} {self.total}"
        yield f"{name}_count{suffix} {running}"


@dataclass(frozen=True)
class Described:
    """A value that is read when the metrics are.

    Attributes:
        kind: `gauge` or `counter`.
        explanation: What it says.
        read: Its samples: labels and value.
    """

    kind: str
    explanation: str
    read: Callable[[], Iterable[tuple[str, float]]]


@dataclass
class Metrics:
    """What the runtime counts. Attributes are written on the request path, read by `render`."""

    requests: dict[tuple[str, int], int] = field(default_factory=dict)
    """Route and HTTP status -> requests answered with it. Routes are those of the server's own table, so
    that no client can make up new ones."""
    request_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    queue_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    decode_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    predict_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    encode_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch_requests: Histogram = field(default_factory=lambda: Histogram(SIZES))
    batch_rows: Histogram = field(default_factory=lambda: Histogram(SIZES))
    worker_restarts: int = 0
    read_later: dict[str, Described] = field(default_factory=dict)
    """Name -> what is read when the metrics are; see `describe_gauge` and `describe_counter`."""

    def describe_gauge(
        self, name: str, explanation: str, read: Callable[[], Iterable[tuple[str, float]]]
    ) -> None:
        """Register a value that is read when the metrics are."""
        self.read_later[name] = Described("gauge", explanation, read)

    def describe_counter(
        self, name: str, explanation: str, read: Callable[[], Iterable[tuple[str, float]]]
    ) -> None:
        """Register a count that is kept elsewhere, and read when the metrics are."""
        self.read_later[name] = Described("counter", explanation, read)

    def count_request(self, status: int, seconds: float | None, route: str) -> None:
        """Count one answered request; those of routes that compute nothing have no duration."""
        key = (route, status)
        self.requests[key] = self.requests.get(key, 0) + 1
        if seconds is not None:
            self.request_seconds.observe(seconds)

    def render(self) -> bytes:
        """All metrics as Prometheus text."""
        lines = [*self._counters(), *self._histograms(), *self._read_now()]
        return ("\n".join(lines) + "\n").encode()

    def _counters(self) -> Iterable[str]:
        name = "truss_requests_total"
        yield from _head(name, "counter", "Requests answered, by route and HTTP status.")
        for (route, status), count in sorted(self.requests.items()):
            yield f'{name}{{route="{_escaped(route)}",status="{status}"}} {count}'
        yield from _head("truss_worker_restarts_total", "counter", "Workers started in place of a lost one.")
        yield f"truss_worker_restarts_total {self.worker_restarts}"

    def _histograms(self) -> Iterable[str]:
        name = "truss_request_duration_seconds"
        yield from _head(name, "histogram", "From the whole body read to the answer handed to the network.")
        yield from self.request_seconds.lines(name, "")
        name = "truss_stage_duration_seconds"
        yield from _head(name, "histogram", "Time per stage: queue per request, the others per run.")
        for stage in ("queue", "decode", "predict", "encode"):
            yield from getattr(self, f"{stage}_seconds").lines(name, f'stage="{stage}"')
        yield from _head("truss_batch_requests", "histogram", "Requests handed to a worker at one time.")
        yield from self.batch_requests.lines("truss_batch_requests", "")
        yield from _head("truss_batch_rows", "histogram", "Rows the model was run on at one time.")
        yield from self.batch_rows.lines("truss_batch_rows", "")

    def _read_now(self) -> Iterable[str]:
        for name, described in self.read_later.items():
            yield from _head(name, described.kind, described.explanation)
            for labels, value in described.read():
                yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def _escaped(label: str) -> str:
    """The value of a label, as the format wants it."""
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _head(name: str, kind: str, explanation: str) -> tuple[str, str]:
    return f"# HELP {name} {explanation}", f"# TYPE {name} {kind}"

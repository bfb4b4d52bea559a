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

    def observe(self, value: float) -> None:
        """Count one value."""
        self.buckets[bisect_left(self.bounds, value)] += 1
        self.total += value

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


@dataclass
class Metrics:
    """What the runtime counts. Attributes are written on the request path, read by `render`."""

    requests: dict[int, int] = field(default_factory=dict)
    """HTTP status -> predict requests answered with it."""
    request_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    queue_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    decode_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    predict_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    encode_seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    batch_requests: Histogram = field(default_factory=lambda: Histogram(SIZES))
    batch_rows: Histogram = field(default_factory=lambda: Histogram(SIZES))
    worker_restarts: int = 0
    gauges: dict[str, Callable[[], Iterable[tuple[str, float]]]] = field(default_factory=dict)
    """Gauge name -> its (labels, value) samples at the time of reading; see `describe_gauge`."""
    _gauge_help: dict[str, str] = field(default_factory=dict)

    def describe_gauge(
        self, name: str, explanation: str, read: Callable[[], Iterable[tuple[str, float]]]
    ) -> None:
        """Register a value that is read when the metrics are."""
        self.gauges[name] = read
        self._gauge_help[name] = explanation

    def count_request(self, status: int, seconds: float) -> None:
        """Count one answered predict request."""
        self.requests[status] = self.requests.get(status, 0) + 1
        self.request_seconds.observe(seconds)

    def render(self) -> bytes:
        """All metrics as Prometheus text."""
        lines = [*self._counters(), *self._histograms(), *self._gauges()]
        return ("\n".join(lines) + "\n").encode()

    def _counters(self) -> Iterable[str]:
        yield from _head("truss_requests_total", "counter", "Predict requests answered, by HTTP status.")
        for status, count in sorted(self.requests.items()):
            yield f'truss_requests_total{{status="{status}"}} {count}'
        yield from _head("truss_worker_restarts_total", "counter", "Workers started in place of a lost one.")
        yield f"truss_worker_restarts_total {self.worker_restarts}"

    def _histograms(self) -> Iterable[str]:
        name = "truss_request_duration_seconds"
        yield from _head(name, "histogram", "From the whole body read to the answer handed to the network.")
        yield from self.request_seconds.lines(name, "")
        name = "truss_stage_duration_seconds"
        yield from _head(name, "histogram", "Time per stage: queue per request, the others per batch.")
        for stage in ("queue", "decode", "predict", "encode"):
            yield from getattr(self, f"{stage}_seconds").lines(name, f'stage="{stage}"')
        yield from _head("truss_batch_requests", "histogram", "Requests handed to a worker at one time.")
        yield from self.batch_requests.lines("truss_batch_requests", "")
        yield from _head("truss_batch_rows", "histogram", "Rows the model was run on at one time.")
        yield from self.batch_rows.lines("truss_batch_rows", "")

    def _gauges(self) -> Iterable[str]:
        for name, read in self.gauges.items():
            yield from _head(name, "gauge", self._gauge_help[name])
            for labels, value in read():
                yield f"{name}{{{labels}}} {value}" if labels else f"{name} {value}"


def _head(name: str, kind: str, explanation: str) -> tuple[str, str]:
    return f"# HELP {name} {explanation}", f"# TYPE {name} {kind}"

"""What each thing that a server does besides predicting costs: throughput and CPU time with it on and off."""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import tempfile
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import load, machine, results, servers
from benchmarks.contender import Contender, Exchange, Launch
from benchmarks.contenders import contenders
from benchmarks.places import BENCH, SERVED
from benchmarks.workloads import WORKLOADS, prepare_models
from truss.config import set_value

_WORKLOAD = "logreg"
_CONNECTIONS = 32
_KEY = "a-key-of-the-benchmark"


@dataclass(frozen=True, eq=False)
class Variant:
    """A way to operate the same server.

    Attributes:
        title: For the report.
        settings: Keys of its config, and their values.
        variables: Added to its environment.
        headers: What clients send besides.
    """

    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def is_served_as(self, other: Variant) -> bool:
        """Whether they differ in what clients send only, so that one server is enough for both."""
        return self.settings == other.settings and self.variables == other.variables


@dataclass(frozen=True)
class Share:
    """What a variant keeps of the throughput with every default.

    Attributes:
        title: The variant.
        rate: Requests per second, the median over the rounds.
        kept: The median of its rate over the default's in the same round.
        cpu: CPU time per request of front and worker, in microseconds, the median over the rounds.
        added: The median of how much more that is than the default's in the same round.
    """

    title: str
    rate: float
    kept: float
    cpu: float | None = None
    added: float | None = None


@dataclass(frozen=True)
class _Measured:
    """One variant in one round: requests per second, and microseconds of CPU time for each."""

    rate: float
    cpu: float


DEFAULT = Variant("as it comes: ids, metrics and signature on, all else off")


def variants(collector: int) -> tuple[Variant, ...]:
    """What is compared; the default first. Traces go to a collector on this port."""
    return (
        DEFAULT,
        Variant("metrics off", variables={"PYTHONPATH": str(SERVED / "uncounted")}),
        Variant("no request ids made", variables={"PYTHONPATH": str(SERVED / "unnamed")}),
        Variant("ids that clients send", headers={"X-Request-Id": "an-id-of-the-client"}),
        Variant("no signature", {"signature": {}}),
        Variant("a deadline for every request", {"runtime.timeouts.request": 30}),
        Variant("deadlines that clients send", headers={"X-Request-Timeout": "30"}),
        Variant("access log", {"runtime.logging.access": True}),
        Variant("access log in JSON", {"runtime.logging.access": True, "runtime.logging.format": "json"}),
        Variant(
            "API keys",
            {"runtime.authentication.api_keys_secret": "keys", "secrets.keys": None},
            {"TRUSS_SECRET_keys": _KEY},
            {"X-API-Key": _KEY},
        ),
        Variant("traces, all of them", {"runtime.tracing.endpoint": f"http://127.0.0.1:{collector}"}),
        Variant(
            "traces, one in a hundred",
            {"runtime.tracing.endpoint": f"http://127.0.0.1:{collector}"},
            {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"},
        ),
    )


def run(*, rounds: int, seconds: int) -> None:
    """Ask each variant in turn, a few rounds, and write the results.

    Rounds are short, so that the machine's pace changes little between a variant and the default beside it;
    their number makes up for it.
    """
    prepare_models()
    BENCH.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=BENCH)))
        served: dict[Variant, int] = {}
        for number, variant in enumerate(
            variants(stack.enter_context(servers.running_script("collector.py")))
        ):
            port = next((port for other, port in served.items() if variant.is_served_as(other)), None)
            served[variant] = port or stack.enter_context(_running(variant, folder / str(number)))
        exchange = contenders()["ours"].exchanges[_WORKLOAD]
        bodies = folder / "bodies"
        load.write_bodies(bodies, exchange, WORKLOADS[_WORKLOAD])
        rounds_done = [_round(served, exchange, bodies, seconds) for _ in range(rounds + 1)]
    measured = rounds_done[1:]  # one to warm up
    shares = [_share(variant, measured) for variant in served]
    for share in shares:
        print(
            f"{share.title}: {share.rate:.0f}/s, {share.kept:.3f} of the default; "
            f"{share.cpu} us each, {share.added:+} us",
            flush=True,
        )
    rows = [asdict(one) for one in shares]
    results.write("operations", {"machine": machine.facts(), "rounds": rounds, "results": rows})


def read() -> list[Share]:
    """The outcomes of the last run."""
    return [Share(**row) for row in (results.read("operations") or {"results": []})["results"]]


def _round(
    served: Mapping[Variant, int], exchange: Exchange, bodies: Path, seconds: int
) -> dict[Variant, _Measured]:
    """What is measured of each variant, in turn."""
    found = {}
    for variant, port in served.items():
        asked = dataclasses.replace(exchange, further_headers=variant.headers)
        before = _cpu_seconds(port, variant)
        measured = load.measure(port, asked, bodies, connections=_CONNECTIONS, seconds=seconds)
        if measured.errors:
            raise SystemExit(f"{variant.title}: {measured.errors} errors")
        used = _cpu_seconds(port, variant) - before
        found[variant] = _Measured(measured.rate, used / (measured.rate * seconds) * 1e6)
    return found


def _cpu_seconds(port: int, variant: Variant) -> float:
    """The CPU time that front and worker have used, as the server's own metrics tell it."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=dict(variant.headers))
    with urllib.request.urlopen(request, timeout=60) as answer:
        lines = answer.read().decode().splitlines()
    counters = ("process_cpu_seconds_total ", "truss_worker_cpu_seconds_total{")
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(counters))


def _share(variant: Variant, measured: list[dict[Variant, _Measured]]) -> Share:
    def median(figure: Callable[[_Measured, _Measured], float], digits: int) -> float:
        """Over the rounds, of a figure of this variant beside the default."""
        figures = [figure(found[variant], found[DEFAULT]) for found in measured]
        return round(statistics.median(figures), digits)

    return Share(
        variant.title,
        median(lambda own, _: own.rate, 1),
        median(lambda own, default: own.rate / default.rate, 3),
        median(lambda own, _: own.cpu, 2),
        median(lambda own, default: own.cpu - default.cpu, 2),
    )


@contextlib.contextmanager
def _running(variant: Variant, workplace: Path) -> Iterator[int]:
    """Serve a variant; gives its port."""
    ours = contenders()["ours"]
    workplace.mkdir()
    with servers.running(_contender(ours, variant), WORKLOADS[_WORKLOAD], workplace) as port:
        yield port


def _contender(ours: Contender, variant: Variant) -> Contender:
    def prepare(launch: Launch) -> None:
        ours.prepare(launch)
        for key, value in variant.settings.items():
            set_value(launch.workplace / "truss", key, value)

    exchange = dataclasses.replace(ours.exchanges[_WORKLOAD], further_headers=variant.headers)
    return dataclasses.replace(
        ours, exchanges={_WORKLOAD: exchange}, prepare=prepare, variables=lambda _: variant.variables
    )

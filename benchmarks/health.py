"""Do the health routes answer while a worker computes for seconds without letting go of Python's lock?"""

from __future__ import annotations

import http.client
import statistics
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine, results
from truss.testing.server import RunningServer, running_server

MOST_MS = 20.0
"""What 99 of 100 answers may take at most, in milliseconds."""

COMPUTING_SECONDS = 5.0
_EVERY_SECONDS = 0.01
_ROUTES = ("/livez", "/readyz")


@dataclass(frozen=True)
class Latency:
    """How long a route took to answer, in milliseconds.

    Attributes:
        route: Which.
        computing: Whether a worker was computing all the while.
        requests: How many were sent.
        errors: How many got no 200.
    """

    route: str
    computing: bool
    requests: int
    errors: int
    p50: float
    p99: float
    longest: float

    @property
    def title(self) -> str:
        """For the report."""
        return f"{self.route}, {'a worker computing' if self.computing else 'idle'}"

    @property
    def held(self) -> bool:
        """Whether it keeps to the limit."""
        return self.p99 <= MOST_MS and self.errors == 0


def run(*, rounds: int) -> None:
    """Ask an idle server and a computing one for a few rounds each, and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        _write_truss(Path(folder))
        with running_server(Path(folder)) as server:
            idle = [_ask_for(server, COMPUTING_SECONDS) for _ in range(rounds)]
            busy = [_ask_while_computing(server) for _ in range(rounds)]
    outcomes = [*_summarise(idle, computing=False), *_summarise(busy, computing=True)]
    for one in outcomes:
        print(
            f"{one.title}: p50 {one.p50} ms, p99 {one.p99} ms, longest {one.longest} ms "
            f"of {one.requests}, {one.errors} errors",
            flush=True,
        )
    rows = [asdict(one) | {"limit": MOST_MS, "held": one.held} for one in outcomes]
    results.write("health", {"machine": machine.facts(), "rounds": rounds, "results": rows})


def read() -> list[Latency]:
    """The outcomes of the last run."""
    content = results.read("health") or {"results": []}
    return [
        Latency(**{key: value for key, value in row.items() if key not in ("limit", "held")})
        for row in content["results"]
    ]


_Answers = dict[str, list[tuple[float, int]]]
"""Seconds and status of each answer, by route."""


def _ask_while_computing(server: RunningServer) -> _Answers:
    with ThreadPoolExecutor(1) as client:
        begun = time.monotonic()
        computing = client.submit(server.predict, {"seconds": COMPUTING_SECONDS})
        answers = _ask(server, until=computing.done)
        seconds = time.monotonic() - begun
    if computing.result().status != 200 or seconds < 0.8 * COMPUTING_SECONDS:
        raise RuntimeError(f"the model did not compute for long enough: {seconds:.1f} s")
    return answers


def _ask_for(server: RunningServer, seconds: float) -> _Answers:
    end = time.monotonic() + seconds
    return _ask(server, until=lambda: time.monotonic() >= end)


def _ask(server: RunningServer, until: Callable[[], bool]) -> _Answers:
    """Ask each route every few milliseconds, on a connection of its own."""
    answers: _Answers = {route: [] for route in _ROUTES}
    askers = [
        threading.Thread(target=_ask_route, args=(server, route, until, answers[route])) for route in _ROUTES
    ]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    return answers


def _ask_route(
    server: RunningServer, route: str, until: Callable[[], bool], answers: list[tuple[float, int]]
) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=30)
    connection.connect()
    due = time.perf_counter()
    while not until():
        due += _EVERY_SECONDS
        time.sleep(max(0.0, due - time.perf_counter()))
        connection.request("GET", route)
        answer = connection.getresponse()
        answer.read()
        # From when it was due: a late answer makes the requests after it late as well, and that counts.
        answers.append((time.perf_counter() - due, answer.status))
    connection.close()


def _summarise(rounds: Sequence[_Answers], *, computing: bool) -> list[Latency]:
    return [
        _latency(route, [one for answers in rounds for one in answers[route]], computing) for route in _ROUTES
    ]


def _latency(route: str, answers: Sequence[tuple[float, int]], computing: bool) -> Latency:
    milliseconds = [seconds * 1e3 for seconds, _ in answers]
    hundredths = statistics.quantiles(milliseconds, n=100)
    errors = sum(status != 200 for _, status in answers)
    figures = (round(value, 3) for value in (hundredths[49], hundredths[98], max(milliseconds)))
    return Latency(route, computing, len(answers), errors, *figures)


def _write_truss(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "__init__.py").touch()
    (folder / "model" / "model.py").write_text(textwrap.dedent(_MODEL))
    (folder / "config.yaml").write_text("model_name: stubborn\n")


_MODEL = '''
    import time

    class Model:
        """Adds numbers in C: Python runs nothing else in this process meanwhile."""

        def load(self):
            begun = time.perf_counter()
            sum(range(10**7))
            self.per_second = 10**7 / (time.perf_counter() - begun)

        def predict(self, request):
            return sum(range(round(request["seconds"] * self.per_second)))
'''

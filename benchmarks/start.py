"""How long starting takes: import, command line, server, and packaging, each beside its yardstick.

Every pair is measured in turn, in fresh processes, so that both see the same machine; medians count.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine, results
from benchmarks.places import PYTHON, ROOT
from benchmarks.servers import free_ports

_READY_SECONDS = 60


@dataclass(frozen=True)
class Pair:
    """What is measured, beside what it is held against.

    Attributes:
        name: For the data.
        title: For the report.
        ours: Seconds of one run of ours.
        yardstick: Seconds of one run of the yardstick.
        most: The most that ours may take, as a multiple of the yardstick.
        allowance: Seconds on top of that.
    """

    name: str
    title: str
    ours: Callable[[], float]
    yardstick: Callable[[], float]
    most: float
    allowance: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """The medians of a pair, in seconds."""

    name: str
    title: str
    ours: float
    yardstick: float
    most: float
    allowance: float

    @property
    def limit(self) -> float:
        """What ours had to stay under."""
        return self.most * self.yardstick + self.allowance

    @property
    def held(self) -> bool:
        """Whether it did."""
        return self.ours <= self.limit


def run(*, repetitions: int) -> None:
    """Measure all pairs and write the results."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes = [_measure(pair, repetitions) for pair in _pairs(Path(folder))]
    rows = [asdict(outcome) | {"limit": outcome.limit, "held": outcome.held} for outcome in outcomes]
    results.write("start", {"machine": machine.facts(), "repetitions": repetitions, "results": rows})


def read() -> list[Outcome]:
    """The outcomes of the last run."""
    content = results.read("start")
    names = ("name", "title", "ours", "yardstick", "most", "allowance")
    return [Outcome(**{name: row[name] for name in names}) for row in content["results"]] if content else []


def _measure(pair: Pair, repetitions: int) -> Outcome:
    pair.yardstick(), pair.ours()  # the first runs fill the file cache
    times: list[tuple[float, float]] = [(pair.ours(), pair.yardstick()) for _ in range(repetitions)]
    ours, yardstick = (round(statistics.median(column), 4) for column in zip(*times, strict=True))
    outcome = Outcome(pair.name, pair.title, ours, yardstick, pair.most, pair.allowance)
    milliseconds = [round(seconds * 1000) for seconds in (ours, yardstick, outcome.limit)]
    print("{}: {} ms, yardstick {} ms, limit {} ms".format(pair.title, *milliseconds), flush=True)
    return outcome


def _pairs(folder: Path) -> list[Pair]:
    python, truss = str(PYTHON), str(PYTHON.parent / "truss")
    small, forest = folder / "small", folder / "forest.joblib"
    _make(_SMALL, str(small))
    _make(_FOREST, str(forest))
    loading = f"import sklearn, joblib; joblib.load({str(small / 'data' / 'model' / 'model.joblib')!r})"
    return [
        Pair(
            "import",
            "import truss",
            _seconds(python, "-c", "import truss"),
            _seconds(python, "-c", "pass"),
            1.5,
        ),
        Pair("help", "truss --help", _seconds(truss, "--help"), _seconds(python, "-c", "import click"), 2.5),
        Pair(
            "serve",
            "truss serve, until ready",
            lambda: _seconds_until_ready(truss, small),
            _seconds(python, "-c", loading),
            1.5,
        ),
        Pair(
            "package",
            "packaging a forest of 200 trees",
            lambda: _reported_seconds(_PACKAGING, str(forest), tempfile.mkdtemp(dir=folder)),
            lambda: _reported_seconds(_DUMPING, str(forest), tempfile.mkdtemp(dir=folder)),
            1.3,
            0.5,
        ),
    ]


def _seconds(*command: str) -> Callable[[], float]:
    """The wall time of a process from its start to its end."""

    def once() -> float:
        begun = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun

    return once


def _seconds_until_ready(truss: str, truss_dir: Path) -> float:
    """From the start of the process until it says that the model is loaded."""
    (port,) = free_ports(1)
    begun = time.perf_counter()
    server = subprocess.Popen(
        [truss, "serve", str(truss_dir), "--port", str(port)], stderr=subprocess.DEVNULL, cwd=ROOT
    )
    try:
        while time.perf_counter() - begun < _READY_SECONDS:
            if _is_ready(port):
                return time.perf_counter() - begun
            time.sleep(0.002)
        raise TimeoutError("truss serve did not become ready")
    finally:
        server.terminate()
        server.wait()


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _reported_seconds(code: str, *arguments: str) -> float:
    """What a fresh process measured itself, so that its imports of the library do not count."""
    done = subprocess.run([PYTHON, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def _make(code: str, *arguments: str) -> None:
    subprocess.run([PYTHON, "-c", code, *arguments], check=True, stdout=subprocess.DEVNULL)


_SMALL = """
import sys, truss
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
truss.create(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), sys.argv[1])
"""
_FOREST = """
import sys, joblib
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
data, target = make_classification(5000, 20, random_state=0)
joblib.dump(RandomForestClassifier(200, random_state=0).fit(data, target), sys.argv[1])
"""
_DUMPING = """
import sys, time, joblib
forest = joblib.load(sys.argv[1])
begun = time.perf_counter()
joblib.dump(forest, sys.argv[2] + "/model.joblib")
print(time.perf_counter() - begun)
"""
_PACKAGING = """
import sys, time, joblib, truss
forest = joblib.load(sys.argv[1])
begun = time.perf_counter()
truss.create(forest, sys.argv[2] + "/packaged")
print(time.perf_counter() - begun)
"""

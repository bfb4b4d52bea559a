"""Does a server grow? Minutes of everything that clients do, good and bad, against a small model."""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import statistics
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmarks import processes
from benchmarks.places import PYTHON
from truss.testing.server import running_server

MOST_GROWTH = 0.05
"""How much larger than after the warm-up the server may be at the end."""

_WARM_UP_SECONDS = 60
_EVERY_SECONDS = 5
_CLIENTS = 6
_WORKERS = 2
_PATH = "/v1/models/model:predict"
_FLOWER = [5.1, 3.5, 1.4, 0.2]


@dataclass(frozen=True)
class Growth:
    """How a server's resident memory developed.

    Attributes:
        minutes: Length of the load, warm-up included.
        before: Resident bytes of all its processes after the warm-up: the median of a few samples.
        after: The same, at the end.
        requests: How many requests of each kind were sent.
        unexpected: How many got another status than they had to.
        samples: Resident bytes every few seconds.
    """

    minutes: float
    before: int
    after: int
    requests: dict[str, int]
    unexpected: int
    samples: list[int]

    @property
    def growth(self) -> float:
        """The change, as a share of what was there before."""
        return self.after / self.before - 1

    @property
    def held(self) -> bool:
        """Whether it keeps to the limit, and answered as it should."""
        return self.growth <= MOST_GROWTH and self.unexpected == 0


def run(*, minutes: float, warm_up: float = _WARM_UP_SECONDS) -> Growth:
    """Load a server for so long; the warm-up, in seconds, is a part of it."""
    with tempfile.TemporaryDirectory() as folder:
        truss_dir = Path(folder) / "iris"
        subprocess.run([PYTHON, "-c", _IRIS, str(truss_dir)], check=True, stdout=subprocess.DEVNULL)
        with running_server(truss_dir, "--workers", str(_WORKERS)) as server:
            host, _, port = server.url.removeprefix("http://").partition(":")
            load = _Load(host, int(port))
            with load.running():
                samples = _sample(server.process.pid, minutes * 60)
    warm = round(warm_up / _EVERY_SECONDS)
    before, after = (statistics.median(some) for some in (samples[warm : warm + 3], samples[-3:]))
    outcome = Growth(minutes, int(before), int(after), dict(load.sent), load.unexpected, samples)
    print(
        f"soak: {outcome.before >> 20} MiB after the warm-up, {outcome.after >> 20} MiB after {minutes:g} "
        f"minutes, {outcome.growth:+.2%}; {sum(load.sent.values())} requests, "
        f"{load.unexpected} unexpected answers",
        flush=True,
    )
    return outcome


def _sample(pid: int, seconds: float) -> list[int]:
    begun = time.monotonic()
    samples = []
    for number in range(1, round(seconds / _EVERY_SECONDS) + 1):
        time.sleep(max(0.0, begun + number * _EVERY_SECONDS - time.monotonic()))
        samples.append(processes.resident_bytes(pid))
    return samples


class _Load:
    """Clients that do something random, again and again.

    Attributes:
        sent: How many requests of each kind.
        unexpected: How many got another status than they had to.
    """

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.sent: Counter[str] = Counter()
        self.unexpected = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Load for the length of the block."""
        clients = [threading.Thread(target=self._client, args=(seed,)) for seed in range(_CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self._stop.set()
            for client in clients:
                client.join()

    def _client(self, seed: int) -> None:
        choices = random.Random(seed)
        connection = http.client.HTTPConnection(*self._address, timeout=30)
        while not self._stop.is_set():
            kind = choices.choices(list(_KINDS), [weight for weight, _ in _KINDS.values()])[0]
            right = _KINDS[kind][1](connection)
            with self._lock:
                self.sent[kind] += 1
                self.unexpected += not right
        connection.close()


def _ask(
    connection: http.client.HTTPConnection,
    body: bytes,
    expected: int,
    headers: Mapping[str, str] | None = None,
    path: str = _PATH,
) -> bool:
    connection.request("POST", path, body, dict(headers or {}))
    answer = connection.getresponse()
    answer.read()
    return answer.status == expected


def _leave(connection: http.client.HTTPConnection, body: bytes) -> bool:
    """Send a request on a connection of its own, and do not wait for the answer."""
    leaving = http.client.HTTPConnection(connection.host, connection.port, timeout=30)
    leaving.request("POST", _PATH, body, {"Content-Length": str(len(_ROWS))})
    leaving.close()
    return True


_WRONG_WIDTH = 400
"""The status when a row has too few columns: the request does not fit the model's signature."""

_ROWS = json.dumps({"inputs": [_FLOWER] * 20}).encode()
_MSGPACK = {"Content-Type": "application/msgpack"}
_KINDS: dict[str, tuple[int, Callable[[http.client.HTTPConnection], bool]]] = {
    "json": (8, lambda to: _ask(to, json.dumps({"inputs": [_FLOWER]}).encode(), 200)),
    "json, 20 rows": (3, lambda to: _ask(to, _ROWS, 200)),
    "msgpack": (5, lambda to: _ask(to, msgspec.msgpack.encode({"inputs": [_FLOWER]}), 200, _MSGPACK)),
    "no json": (1, lambda to: _ask(to, b'{"inputs": [[1, 2', 400)),
    "no msgpack": (1, lambda to: _ask(to, b"\xc1", 400, _MSGPACK)),
    "no inputs": (1, lambda to: _ask(to, b'{"inputs": "three"}', 400)),
    "wrong width": (1, lambda to: _ask(to, b'{"inputs": [[1, 2]]}', _WRONG_WIDTH)),
    "no route": (1, lambda to: _ask(to, b"{}", 404, path="/nowhere")),
    "left after sending": (1, lambda to: _leave(to, _ROWS)),
    "left while sending": (1, lambda to: _leave(to, _ROWS[:50])),
}
"""What clients do: how often, and how; each tells whether the answer was as it must be."""

_IRIS = """
import sys, truss
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
truss.create(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), sys.argv[1])
"""

"""Load from wrk, and the check that answers are right before it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.contender import Exchange
from benchmarks.workloads import Workload

_SCRIPT = Path(__file__).with_name("wrk.lua")
_LONGEST_ANSWER_SECONDS = 60


class WrongAnswerError(Exception):
    """A server answered something else than the model does."""


@dataclass(frozen=True)
class Measurement:
    """One run of the load generator. Times are in milliseconds.

    Attributes:
        rate: Answered requests per second.
        p50: Half of the answers came within it.
        p99: All but one in a hundred came within it.
        longest: All came within it.
        errors: Statuses other than 2xx and 3xx, broken connections, and answers that never came.
    """

    rate: float
    p50: float
    p90: float
    p99: float
    longest: float
    errors: int


def check_answers(port: int, exchange: Exchange, workload: Workload, expected: Sequence[Any]) -> None:
    """Ask once for each item.

    Raises:
        WrongAnswerError: an answer differs from the model's own.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LONGEST_ANSWER_SECONDS)
    for item, right in zip(workload.items(), expected, strict=True):
        connection.request("POST", exchange.path, exchange.encode(item), exchange.headers)
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise WrongAnswerError(f"status {answer.status}: {body[:500]!r}")
        if not workload.close(exchange.decode(body), right):
            raise WrongAnswerError(f"{str(right)[:200]} expected, not {body[:500]!r}")
    connection.close()


def write_bodies(folder: Path, exchange: Exchange, workload: Workload) -> int:
    """Write one file per distinct request body; returns how many."""
    folder.mkdir(parents=True)
    items = workload.items()
    for index, item in enumerate(items, start=1):
        (folder / str(index)).write_bytes(exchange.encode(item))
    return len(items)


def measure(port: int, exchange: Exchange, bodies: Path, *, connections: int, seconds: int) -> Measurement:
    """Keep `connections` requests in flight for `seconds`."""
    done = subprocess.run(
        [
            "wrk",
            f"--threads={1 if connections < 64 else 2}",
            f"--connections={connections}",
            f"--duration={seconds}s",
            f"--timeout={_LONGEST_ANSWER_SECONDS}s",
            f"--script={_SCRIPT}",
            f"http://127.0.0.1:{port}",
        ],
        env={
            **os.environ,
            "BENCH_BODIES": str(bodies),
            "BENCH_COUNT": str(len(list(bodies.iterdir()))),
            "BENCH_PATH": exchange.path,
            "BENCH_HEADERS": "\n".join(f"{name}: {value}" for name, value in exchange.headers.items()),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    return _measurement(json.loads(done.stdout.strip().splitlines()[-1]))


def _measurement(counted: dict[str, int]) -> Measurement:
    errors = counted["status_errors"] + counted["socket_errors"] + counted["timeouts"]
    good = max(counted["requests"] - counted["status_errors"], 0)
    return Measurement(
        rate=good / (counted["microseconds"] / 1e6),
        p50=counted["p50"] / 1e3,
        p90=counted["p90"] / 1e3,
        p99=counted["p99"] / 1e3,
        longest=counted["longest"] / 1e3,
        errors=errors,
    )

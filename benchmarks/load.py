"""Load from wrk, or over gRPC from h2load, and the check that answers are right before it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.asking import asking
from benchmarks.contender import Exchange
from benchmarks.workloads import Workload

_SCRIPT = Path(__file__).with_name("wrk.lua")
_LONGEST_ANSWER_SECONDS = 60
_GRPC_HEADERS = ("content-type: application/grpc", "te: trailers")
_GRPC_FRAME_HEAD = 5


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
    with asking(port, exchange, seconds=_LONGEST_ANSWER_SECONDS) as ask:
        for item, right in zip(workload.items(), expected, strict=True):
            answer = ask(exchange.encode(item))
            if answer.status != 200:
                raise WrongAnswerError(f"status {answer.status}: {answer.body[:500]!r}")
            if not workload.close(exchange.decode(answer.body), right):
                raise WrongAnswerError(f"{str(right)[:200]} expected, not {answer.body[:500]!r}")


def write_bodies(folder: Path, exchange: Exchange, workload: Workload) -> int:
    """Write one file per distinct request body; returns how many."""
    folder.mkdir(parents=True)
    items = workload.items()
    for index, item in enumerate(items, start=1):
        (folder / str(index)).write_bytes(exchange.encode(item))
    return len(items)


def measure(port: int, exchange: Exchange, bodies: Path, *, connections: int, seconds: int) -> Measurement:
    """Keep `connections` requests in flight for `seconds`."""
    if exchange.rpc:
        return _measure_rpc(port, exchange, bodies, connections, seconds)
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


def _measure_rpc(port: int, exchange: Exchange, bodies: Path, connections: int, seconds: int) -> Measurement:
    """The same by h2load, which sends one body and knows HTTP's status only, which is 200 for failures too.

    Those have no body, so the bytes received tell how many answers were good: all are as long as the first.
    """
    (body,) = (path.read_bytes() for path in bodies.iterdir())
    with asking(port, exchange, seconds=_LONGEST_ANSWER_SECONDS) as ask:
        size = _GRPC_FRAME_HEAD + len(ask(body).body)
    with tempfile.TemporaryDirectory() as name:
        framed, log = Path(name) / "body", Path(name) / "log"
        framed.write_bytes(b"\0" + len(body).to_bytes(4, "big") + body)
        done = subprocess.run(
            [
                "h2load",
                "--threads=1",
                f"--clients={connections}",
                "--max-concurrent-streams=1",
                f"--duration={seconds}",
                f"--data={framed}",
                *(f"--header={header}" for header in _GRPC_HEADERS),
                f"--log-file={log}",
                f"http://127.0.0.1:{port}{exchange.path}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        microseconds = sorted(int(line.split()[2]) for line in log.read_text().splitlines())
    return _rpc_measurement(done.stdout, microseconds, seconds, size)


def _rpc_measurement(report: str, microseconds: Sequence[int], seconds: int, size: int) -> Measurement:
    requests, failed = (int(_found(rf"(\d+) {word}", report)) for word in ("done", "failed"))
    good = min(requests - failed, int(_found(r"\((\d+)\) data", report)) // size)

    def within(share: float) -> float:
        return microseconds[min(int(share * len(microseconds)), len(microseconds) - 1)] / 1e3

    if not microseconds:
        return Measurement(0, 0, 0, 0, 0, requests)
    return Measurement(good / seconds, within(0.5), within(0.9), within(0.99), within(1), requests - good)


def _found(pattern: str, report: str) -> str:
    found = re.search(pattern, report)
    if found is None:
        raise OSError(f"h2load reported {report[-500:]!r}")
    return found[1]

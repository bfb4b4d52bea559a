"""Streams: how soon a line that a model makes is at its reader, and how many lines there are in a second."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine, results, servers
from benchmarks.places import SERVED
from truss.testing.server import running_server

_PREDICT = "/v1/models/model:predict"
_READERS = (1, 32)
_LINE = 20
"""Bytes of a line."""

MOST_DELAY = 0.020
"""Seconds that the first line may take from the model to its reader."""

FAST = {"lines": 2000, "pause": 0}
SLOW = {"lines": 20, "pause": 0.02}


@dataclass(frozen=True)
class Streams:
    """What was measured of one server with so many readers at a time.

    Attributes:
        title: The server.
        readers: How many streams are read at a time.
        first: Seconds from the making of a stream's first line to its arrival, the median.
        slowest: The same, of all lines that come with pauses: what 99 in a hundred keep to.
        rate: Lines per second of all readers together, made as fast as they are read; the median.
    """

    title: str
    readers: int
    first: float
    slowest: float
    rate: float

    @property
    def held(self) -> bool:
        """Whether the first line was there in time."""
        return self.first <= MOST_DELAY


@dataclass(frozen=True)
class Stream:
    """One stream, read to its end.

    Attributes:
        delays: For each line, seconds from its making to its arrival.
        seconds: From the request to the end.
    """

    delays: tuple[float, ...]
    seconds: float


def run(*, rounds: int) -> None:
    """Read streams of both servers in turn, a few rounds, and write the results."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        truss = stack.enter_context(running_server(_write_truss(folder / "truss")))
        floor = stack.enter_context(servers.running_script("streaming_floor.py"))
        ports = {"ours": int(truss.url.rpartition(":")[2]), "a bare ASGI application": floor}
        measured = [
            _measure(title, port, count, rounds) for count in _READERS for title, port in ports.items()
        ]
    for one in measured:
        print(
            f"{one.title}, {one.readers} readers: first line after {one.first * 1e3:.2f} ms, "
            f"99 % of lines {one.slowest * 1e3:.2f} ms, {one.rate:.0f} lines/s",
            flush=True,
        )
    rows = [asdict(one) for one in measured]
    results.write("streaming", {"machine": machine.facts(), "rounds": rounds, "results": rows})


def read() -> list[Streams]:
    """The outcomes of the last run."""
    return [Streams(**row) for row in (results.read("streaming") or {"results": []})["results"]]


def _measure(title: str, port: int, readers: int, rounds: int) -> Streams:
    asyncio.run(_streams(port, readers, SLOW))  # to warm up
    slow = [stream for _ in range(rounds) for stream in asyncio.run(_streams(port, readers, SLOW))]
    rates = []
    for _ in range(rounds):
        begun = time.monotonic()
        streams = asyncio.run(_streams(port, readers, FAST))
        rates.append(sum(len(stream.delays) for stream in streams) / (time.monotonic() - begun))
    delays = sorted(delay for stream in slow for delay in stream.delays)
    return Streams(
        title,
        readers,
        round(statistics.median(stream.delays[0] for stream in slow), 6),
        round(delays[int(len(delays) * 0.99) - 1], 6),
        round(statistics.median(rates), 1),
    )


async def _streams(port: int, readers: int, request: dict[str, float]) -> Sequence[Stream]:
    return await asyncio.gather(*(_stream(port, request) for _ in range(readers)))


async def _stream(port: int, request: dict[str, float]) -> Stream:
    begun = time.monotonic()
    body = json.dumps(request).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(
        b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (_PREDICT.encode(), len(body), body)
    )
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head:
        raise SystemExit(f"the server answered {head.decode()}")
    delays = []
    while size := int(await reader.readline(), 16):
        chunk = await reader.readexactly(size + 2)
        now = time.monotonic()
        delays += [now - float(line) for line in chunk.split()]
    writer.close()
    if len(delays) != request["lines"]:
        raise SystemExit(f"{len(delays)} lines came of {request['lines']}")
    return Stream(tuple(delays), time.monotonic() - begun)


def _write_truss(folder: Path) -> Path:
    (folder / "model").mkdir(parents=True)
    shutil.copy(SERVED / "streaming_model.py", folder / "model" / "model.py")
    (folder / "config.yaml").write_text(f"runtime: {{predict_concurrency: {2 * max(_READERS)}}}\n")
    return folder

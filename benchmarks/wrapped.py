"""What a wrapped server keeps of its throughput: the same server asked directly, and through Truss.

And through a relay that only copies bytes: no process between a client and a server can do much better.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import load, machine, results, servers
from benchmarks.contender import Exchange
from benchmarks.places import SERVED
from truss.testing.server import running_server

LEAST_SHARE = 0.7
"""What is to be kept at least."""

_SERVER = SERVED / "plain_server.py"


@dataclass(frozen=True)
class Traffic:
    """One kind of request.

    Attributes:
        title: For the report.
        path: Where it goes.
        size: Bytes of its body.
        connections: How many are in flight.
    """

    title: str
    path: str
    size: int
    connections: int


TRAFFIC = (
    Traffic("small requests", "/small", 100, 16),
    Traffic("100 events in chunks", "/stream", 100, 8),
    Traffic("16 MiB up", "/upload", 16 << 20, 4),
    Traffic("16 MiB down", "/download", 100, 4),
)


@dataclass(frozen=True)
class Share:
    """Requests per second of one kind: medians over the rounds.

    Attributes:
        title: The kind.
        direct: Of the server itself.
        wrapped: Through Truss.
        relayed: Through a process that copies bytes and looks at none of them.
        errors: Answers that never came or were none, of all three.
    """

    title: str
    direct: float
    wrapped: float
    relayed: float
    errors: int

    @property
    def kept(self) -> float:
        """Which part of the direct rate remains."""
        return self.wrapped / self.direct if self.direct else 0.0

    @property
    def held(self) -> bool:
        """Whether that is enough."""
        return self.kept >= LEAST_SHARE and self.errors == 0


def run(*, rounds: int, seconds: int) -> None:
    """Ask both ways in turn, a few rounds of each kind, and write the results."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "truss"
        port = _write_truss(folder)
        with running_server(folder) as server, servers.running_script("bare_relay.py", port) as relay:
            ports = (port, int(server.url.rpartition(":")[2]), relay)
            shares = [_measure(one, ports, Path(name), rounds, seconds) for one in TRAFFIC]
    for share in shares:
        print(
            f"{share.title}: {share.direct} direct, {share.wrapped} wrapped, {share.kept:.2f}; "
            f"{share.relayed} relayed",
            flush=True,
        )
    rows = [asdict(one) | {"kept": round(one.kept, 3), "held": one.held} for one in shares]
    results.write("wrapped", {"machine": machine.facts(), "rounds": rounds, "results": rows})


def read() -> list[Share]:
    """The outcomes of the last run."""
    content = results.read("wrapped") or {"results": []}
    return [
        Share(**{key: value for key, value in row.items() if key not in ("kept", "held")})
        for row in content["results"]
    ]


def _measure(traffic: Traffic, ports: Sequence[int], folder: Path, rounds: int, seconds: int) -> Share:
    bodies = folder / traffic.path.strip("/")
    bodies.mkdir()
    (bodies / "1").write_bytes(bytes(traffic.size))
    exchange = Exchange(traffic.path, bytes, bytes, checked=False)
    rates: dict[int, list[float]] = {port: [] for port in ports}
    errors = 0
    for _ in range(rounds):
        for port, found in rates.items():  # in turn, so that the machine's moods meet all
            measured = load.measure(port, exchange, bodies, connections=traffic.connections, seconds=seconds)
            found.append(measured.rate)
            errors += measured.errors
    return Share(traffic.title, *[round(statistics.median(found), 2) for found in rates.values()], errors)


def _write_truss(folder: Path) -> int:
    """A Truss that wraps the server; returns the server's own port."""
    (port,) = servers.free_ports(1)
    folder.mkdir()
    shutil.copy(_SERVER, folder)
    (folder / "config.yaml").write_text(
        f"docker_server: {{start_command: python {_SERVER.name} {port}, server_port: {port}, "
        "predict_endpoint: /small, readiness_endpoint: /ready, liveness_endpoint: /ready}\n"
    )
    return port

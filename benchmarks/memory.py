"""How much memory copies of a large model take together, and whether a server grows under load."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, processes, results, soak
from benchmarks.places import PYTHON, ROOT
from truss.testing.server import RunningServer, running_server

MOST_BYTES = 1_600_000_000
"""What the copies may take together."""

_WORKERS = 4
_SECONDS_TO_WARM_UP = 120


@dataclass(frozen=True)
class Model:
    """A large model to serve copies of.

    Attributes:
        name: For the data.
        title: For the report.
        make: Makes a Truss of it in a folder that does not exist yet.
        file: Its weights, from that folder.
        request: What to ask.
    """

    name: str
    title: str
    make: Callable[[Path], None]
    file: str
    request: dict[str, Any]


@dataclass(frozen=True)
class Copies:
    """What the processes of one server take, in bytes.

    Attributes:
        model_bytes: The size of the weights' file.
        proportional: Summed proportional set size of the server's processes.
        per_process: The same, of each process, smallest first.
    """

    name: str
    title: str
    workers: int
    model_bytes: int
    proportional: int
    per_process: list[int]

    @property
    def held(self) -> bool:
        """Whether they keep to the limit."""
        return self.proportional <= MOST_BYTES


def run(*, soak_minutes: float) -> None:
    """Measure the copies, then the growth, and write the results; 0 minutes leave the old growth in place."""
    with tempfile.TemporaryDirectory(dir=_roomy()) as folder:
        copies = [_measure(model, Path(folder) / model.name) for model in _models()]
    facts = machine.facts()
    content = results.read("memory") or {}
    rows = [asdict(one) | {"limit": MOST_BYTES, "held": one.held} for one in copies]
    results.write("memory", {**content, "machine": facts, "copies": rows})
    if soak_minutes:
        growth = soak.run(minutes=soak_minutes)
        content = results.read("memory") or {}
        results.write("memory", {**content, "soak": asdict(growth) | {"machine": facts, "held": growth.held}})


def read() -> tuple[list[Copies], soak.Growth | None]:
    """The outcomes of the last run."""
    content = results.read("memory") or {}
    copies = [
        Copies(**{key: value for key, value in row.items() if key not in ("limit", "held")})
        for row in content.get("copies", [])
    ]
    growth = content.get("soak")
    if growth:
        growth = soak.Growth(
            **{key: value for key, value in growth.items() if key not in ("machine", "held")}
        )
    return copies, growth


def _roomy() -> Path:
    """A folder on a disk, where the weights' pages are the system's file cache."""
    folder = ROOT / ".bench"
    folder.mkdir(exist_ok=True)
    return folder


def _measure(model: Model, folder: Path) -> Copies:
    model.make(folder)
    size = (folder / model.file).stat().st_size
    with running_server(folder, "--workers", str(_WORKERS)) as server:
        _use_all_workers(server, model, size)
        front = server.process.pid
        shares = sorted(processes.rollup(process.pid)["Pss"] for process in processes.tree(front))
    outcome = Copies(model.name, model.title, _WORKERS, size, sum(shares), shares)
    print(
        f"{model.title}: {outcome.proportional / 1e9:.3f} GB for {_WORKERS} workers, "
        f"limit {MOST_BYTES / 1e9:.1f} GB",
        flush=True,
    )
    return outcome


def _use_all_workers(server: RunningServer, model: Model, size: int) -> None:
    """Ask until every worker has answered: it then has all of the weights in its memory."""

    def used() -> int:
        below = processes.tree(server.process.pid)[1:]
        return sum(processes.rollup(process.pid)["Rss"] > size for process in below)

    end = time.monotonic() + _SECONDS_TO_WARM_UP
    with ThreadPoolExecutor(2 * _WORKERS) as clients:
        while used() < _WORKERS:
            if time.monotonic() > end:
                raise TimeoutError(f"not every worker of {model.title} answered:\n{''.join(server.log)}")
            answers = list(clients.map(server.predict, [model.request] * 4 * _WORKERS))
            wrong = [answer.body for answer in answers if answer.status != 200]
            if wrong:
                raise RuntimeError(f"{model.title}: {wrong[0]!r}")


def _models() -> Sequence[Model]:
    return (
        Model(
            "torch",
            "PyTorch, safetensors",
            lambda folder: _make(_TORCH, folder),
            "data/model.safetensors",
            {"inputs": [0.5]},
        ),
        Model(
            "sklearn",
            "scikit-learn, joblib",
            lambda folder: _make(_NEIGHBOURS, folder),
            "data/model/model.joblib",
            {"inputs": [[0.5] * 1024]},
        ),
    )


def _make(code: str, folder: Path) -> None:
    subprocess.run([PYTHON, "-c", code, str(folder)], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)


_TORCH = """
import shutil, sys, torch
from pathlib import Path
from safetensors.torch import save_file
from benchmarks.served.big_torch_model import WIDTH
folder = Path(sys.argv[1])
(folder / "data").mkdir(parents=True)
(folder / "model").mkdir()
(folder / "model" / "__init__.py").touch()
shutil.copy("benchmarks/served/big_torch_model.py", folder / "model" / "model.py")
(folder / "config.yaml").write_text("model_name: big\\n")
layers = {f"layer{number}": torch.randn(WIDTH, WIDTH) * WIDTH**-0.5 for number in range(16)}
save_file(layers, folder / "data" / "model.safetensors")
"""
_NEIGHBOURS = """
import sys, numpy as np, truss
from sklearn.neighbors import KNeighborsClassifier
rows = np.random.default_rng(0).random((131_072, 1024))
truss.create(KNeighborsClassifier(algorithm="brute").fit(rows, np.arange(len(rows)) % 3), sys.argv[1])
"""

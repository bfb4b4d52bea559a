"""What a gibibyte of PyTorch weights costs to package and to load, beside `safetensors` alone.

`python -m benchmarks weights` measures ours and the yardstick in turn, each time in a fresh process. Loading
ends when every weight has been read once: mapping a file takes next to no time by itself. Memory is the
peak of the process over what it held after its imports.
"""

from __future__ import annotations

import json
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, results
from benchmarks.places import PYTHON

LAYERS, WIDTH = 16, 4096
"""So many square matrices of so many rows, in single precision: 1 GiB."""

LIMITS = {"load": 1.3, "package": 1.3, "memory_loading": 1.2, "memory_packaging": 1.2}
"""The most that each ratio may be."""

_TITLES = {
    "load": "loading: seconds beside `load_file`'s",
    "package": "packaging: seconds beside `save_file`'s",
    "memory_loading": "loading: peak memory beside the weights' size",
    "memory_packaging": "packaging: peak memory beside the weights' size",
}


@dataclass(frozen=True)
class Cost:
    """One ratio, and the most that it may be."""

    title: str
    ratio: float
    limit: float

    @property
    def held(self) -> bool:
        """Whether it is no more."""
        return self.ratio <= self.limit


def read() -> list[Cost]:
    """The ratios of the last run."""
    content = results.read("weights")
    ratios = content["ratios"] if content else {}
    return [Cost(_TITLES[name], one["ratio"], one["limit"]) for name, one in ratios.items()]


def run(*, repetitions: int = 7) -> dict[str, float]:
    """Measure, print and write the ratios.

    Returns:
        Seconds of ours over those of the yardstick (`load`, `package`), and peak memory over the size of
        the weights (`memory_loading`, `memory_packaging`).
    """
    with tempfile.TemporaryDirectory() as folder:
        packaged, file = Path(folder) / "packaged", Path(folder) / "weights.safetensors"
        package = _alternating(
            lambda: _measure(_PACKAGE, packaged), lambda: _measure(_SAVE_FILE, file), repetitions
        )
        load = _alternating(
            lambda: _measure(_LOAD, packaged), lambda: _measure(_LOAD_FILE, file), repetitions
        )
    size = LAYERS * WIDTH * WIDTH * 4
    ratios = {
        "load": _median(load[0], "seconds") / _median(load[1], "seconds"),
        "package": _median(package[0], "seconds") / _median(package[1], "seconds"),
        "memory_loading": max(run["peak_bytes"] for run in load[0]) / size,
        "memory_packaging": max(run["peak_bytes"] for run in package[0]) / size,
    }
    for name, ratio in ratios.items():
        print(f"{name}: {ratio:.2f} (at most {LIMITS[name]})", flush=True)
    results.write(
        "weights",
        {
            "machine": machine.facts(),
            "weights_bytes": size,
            "repetitions": repetitions,
            "ratios": {
                name: {"ratio": round(ratio, 3), "limit": LIMITS[name], "held": ratio <= LIMITS[name]}
                for name, ratio in ratios.items()
            },
            "load": {"ours": load[0], "load_file": load[1]},
            "package": {"ours": package[0], "save_file": package[1]},
        },
    )
    return ratios


def _alternating(
    ours: Callable[[], Any], yardstick: Callable[[], Any], repetitions: int
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The runs of both, in turn; the first of each fills the file cache and does not count."""
    ours(), yardstick()
    runs = [(ours(), yardstick()) for _ in range(repetitions)]
    return [run[0] for run in runs], [run[1] for run in runs]


def _median(runs: list[dict[str, Any]], name: str) -> float:
    return statistics.median(run[name] for run in runs)


def _measure(code: str, target: Path) -> dict[str, Any]:
    """The seconds and the peak of memory that a fresh process reports of itself."""
    if code in (_PACKAGE, _SAVE_FILE):
        shutil.rmtree(target) if target.is_dir() else target.unlink(missing_ok=True)
        subprocess.run(["sync"], check=True)  # what the last run wrote is not this one's to wait for
    arguments = [str(target), str(LAYERS), str(WIDTH)]
    done = subprocess.run(
        [PYTHON, "-c", _MEASURE + code, *arguments], check=True, capture_output=True, text=True
    )
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


_MEASURE = """
import json, sys, time
from pathlib import Path
import torch
from safetensors.torch import load_file, save_file

target, layers, width = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])

def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024

def measure(work, before):
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    print(json.dumps({"seconds": round(seconds, 4), "peak_bytes": peak() - before}))

def make():
    matrices = (torch.nn.Linear(width, width, bias=False) for _ in range(layers))
    return torch.nn.Sequential(*matrices)
"""
_PACKAGE = """
import truss
before = peak()
model = make()
measure(lambda: truss.create(model, target), before)
"""
_SAVE_FILE = """
before = peak()
weights = make().state_dict()
measure(lambda: save_file(weights, target), before)
"""
_LOAD = """
sys.path.insert(0, str(target))
from model.model import Model
from truss.config import read_config
config = {"model_metadata": read_config(target).model_metadata}

def work():
    model = Model(config=config, data_dir=target / "data", secrets={})
    model.load()
    for weight in model.model.parameters():
        weight.sum()

torch.zeros(width, width).sum()  # starts torch's threads
measure(work, peak())
"""
_LOAD_FILE = """
def work():
    for weight in load_file(target).values():
        weight.sum()

torch.zeros(width, width).sum()
measure(work, peak())
"""

"""What images cost: made and pushed from nothing, after an edit, for a second model, and with large weights.

`python -m benchmarks images` builds the same Trusses without an engine and with `docker build`, in turn, with
the wheels at hand for both, and pushes to a registry of its own. Docker's base is there already, its context
has the wheels, resolved; ours resolves, and keeps nothing but uv's cache from one first build to the next.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, results
from benchmarks.dockerfiles import Context, Docker, context_of, docker_of
from benchmarks.live_edits import seconds_to_answer
from benchmarks.places import PYTHON, ROOT
from benchmarks.runs import Run, measured_run
from truss.testing.engine import running_engine
from truss.testing.images import Bench, running_bench

_BASE = ROOT / ".images" / "base.tar"

_WEIGHTS = 2_000_000_000
_KIB, _MB = 1024, 1_000_000
_EDITS = 9

MODELS = {"iris": "scikit-learn classifier", "layer": "PyTorch module"}
"""The Trusses that are built."""


@dataclass(frozen=True)
class Figure:
    """What was measured, and the most that it may be.

    Attributes:
        title: What.
        value: How much, in the unit.
        limit: The most.
        unit: Of both.
    """

    title: str
    value: float
    limit: float
    unit: str = ""

    @property
    def held(self) -> bool:
        """Whether it is no more."""
        return self.value <= self.limit


@dataclass(frozen=True)
class _Bench:
    """Where Trusses are built, by whom, and their names in the registry."""

    folder: Path
    truss: Bench
    docker: Docker

    def name(self) -> str:
        """A repository that does not exist yet."""
        return f"{self.truss.registry}/made-{time.time_ns()}:1"

    def build(self, truss_dir: Path, name: str, cache: Path | None = None) -> Run:
        """Build without an engine, and push."""
        words = ["build", truss_dir, "--push", name, "--json"]
        return measured_run([PYTHON, "-m", "truss.cli", *words], self.truss.variables(cache))


def read() -> tuple[list[Figure], dict[str, Any]]:
    """The figures of the last run, and everything that was measured."""
    content = results.read("images") or {"figures": []}
    names = ("title", "value", "limit", "unit")
    figures = [Figure(**{name: row[name] for name in names}) for row in content["figures"]]
    return figures, content.get("measured", {})


def first_builds(measured: Mapping[str, Any]) -> list[tuple[str, list[float]]]:
    """By model, the median seconds of first builds: ours, ours with wheels packed before, Docker's."""
    found = [(name, measured.get(f"first {name}", {})) for name in MODELS]
    return [(name, [statistics.median(times) for times in ways.values()]) for name, ways in found if ways]


def sizes(measured: Mapping[str, Any]) -> list[tuple[str, list[int]]]:
    """By model, the bytes of the image, its base, the model's wheels, its data, and the rest."""
    found = [(name, list(measured.get(f"size {name}", {}).values())) for name in MODELS]
    return [(name, [*parts, parts[0] - sum(parts[1:])]) for name, parts in found if parts]


def run(*, repetitions: int) -> list[Figure]:
    """Measure, print and write the figures."""
    facts = machine.facts()
    # As an installation does: where Python writes no bytecode, a checkout is compiled at every start.
    subprocess.run([PYTHON, "-m", "compileall", "-q", ROOT / "src" / "truss"], check=True)
    with tempfile.TemporaryDirectory() as folder, _running(Path(folder)) as bench:
        contexts = {name: _context(bench, name) for name in (*MODELS, _BARE)}
        measured: dict[str, Any] = {}
        firsts = [_first(bench, name, contexts[name], repetitions, measured) for name in MODELS]
        figures = [
            *itertools.chain.from_iterable(firsts),
            *(_size(bench, name, contexts, measured) for name in MODELS),
            *_edits(bench, contexts["iris"], repetitions, measured),
            _second(bench, measured),
            *_large(bench, repetitions, measured),
            _watched(bench, measured),
        ]
    rows = [asdict(figure) | {"held": figure.held} for figure in figures]
    results.write("images", {"machine": facts, "figures": rows, "measured": measured})
    return figures


@contextlib.contextmanager
def _running(folder: Path) -> Iterator[_Bench]:
    """A registry with the base, and an engine that has it already."""
    with running_bench(_BASE, folder / "bench") as truss, running_engine(folder / "engine") as engine:
        engine.docker("pull", "--quiet", f"{truss.registry}/library/python:3.11-slim")
        yield _Bench(folder, truss, docker_of(engine, folder / "docker"))


def _context(bench: _Bench, name: str) -> Context:
    truss_dir = bench.folder / name
    subprocess.run([PYTHON, "-c", _MAKE[name], truss_dir], check=True, stdout=subprocess.DEVNULL)
    return context_of(truss_dir, bench.folder / f"{name}.context", bench.truss)


def _first(
    bench: _Bench, name: str, context: Context, repetitions: int, measured: dict[str, Any]
) -> list[Figure]:
    """From wheels to an image in the registry: with nothing packed, and with what another model had."""
    primed, ours, kept, docker = bench.folder / f"cache-{name}", [], [], []
    bench.build(_with_other_requirements(bench.folder / name), bench.name(), primed)
    for number in range(repetitions):
        cache = bench.folder / f"cache-{name}-{number}"
        ours.append(bench.build(bench.folder / name, bench.name(), cache).seconds)
        shutil.rmtree(cache)
        docker.append(bench.docker.build_and_push(context, bench.name(), cached=False))
        shutil.copytree(primed, cache)
        kept.append(bench.build(bench.folder / name, bench.name(), cache).seconds)
        shutil.rmtree(cache)
    measured[f"first {name}"] = {"ours": ours, "ours, wheels packed before": kept, "docker": docker}
    whole = statistics.median(docker)
    title = f"{MODELS[name]}: first build and push, beside `docker build` and push"
    return [
        _told(Figure(f"{title}, nothing packed before", statistics.median(ours) / whole, 0.25)),
        _told(Figure(f"{title}, wheels packed for another model", statistics.median(kept) / whole, 0.25)),
    ]


def _with_other_requirements(truss_dir: Path) -> Path:
    """A Truss that needs a package more, so that nothing resolved for it is right for the first one."""
    other = truss_dir.with_name(f"{truss_dir.name}-other")
    code = "import sys, truss; truss.load(sys.argv[1]).add_python_requirement('colorama==0.4.6')"
    shutil.copytree(truss_dir, other)
    subprocess.run([PYTHON, "-c", code, other], check=True, stdout=subprocess.DEVNULL)
    return other


def _size(bench: _Bench, name: str, contexts: Mapping[str, Context], measured: dict[str, Any]) -> Figure:
    """What an image has, compressed, besides its base, the model's wheels as published, and the data."""
    layers = bench.build(bench.folder / name, bench.name()).told["layers"]
    whole = sum(layer["bytes"] for layer in layers)
    base = sum(layer["bytes"] for layer in layers if layer["created_by"] == "base")
    data = sum(layer["bytes"] for layer in layers if layer["created_by"].startswith("data"))
    wheels = contexts[name].wheel_bytes(contexts[_BARE].packages)
    measured[f"size {name}"] = {"image": whole, "base": base, "wheels": wheels, "data": data}
    besides = (whole - base - wheels - data) / _MB
    return _told(Figure(f"{MODELS[name]}: size besides base, wheels and data", besides, 12, "MB"))


def _edits(bench: _Bench, context: Context, repetitions: int, measured: dict[str, Any]) -> list[Figure]:
    """A line more in the model class: build and push, ours, Docker's with its cache, and a bare Python."""
    name, docker_name = bench.name(), bench.name()
    bench.build(bench.folder / "iris", name)
    bench.docker.build_and_push(context, docker_name, cached=True)
    ours, bare, docker = [], [], []
    for _ in range(max(5, repetitions)):
        _edit(bench.folder / "iris" / "model" / "model.py")
        ours.append(bench.build(bench.folder / "iris", name))
        bare.append(measured_run([str(PYTHON), "-c", "print({})"], {}).seconds)
        _edit(context.folder / "app" / "model" / "model.py")
        docker.append(bench.docker.build_and_push(context, docker_name, cached=True))
    uploaded = max(run.told["bytes_uploaded"] for run in ours)
    seconds = [run.seconds for run in ours]
    measured["edit"] = {"ours": seconds, "bare": bare, "docker": docker, "bytes_uploaded": uploaded}
    more = statistics.median(seconds) - statistics.median(bare)
    return [
        _told(Figure("after an edit: build and push, beyond a bare Python start", more, 0.5, "s")),
        _told(Figure("after an edit: uploaded", uploaded / _KIB, 64, "KiB")),
    ]


def _second(bench: _Bench, measured: dict[str, Any]) -> Figure:
    """What a second model with the same requirements uploads, into a repository of its own."""
    second = bench.folder / "second"
    subprocess.run([PYTHON, "-c", _MAKE["iris"], second], check=True, stdout=subprocess.DEVNULL)
    bench.build(bench.folder / "iris", bench.name())
    told = bench.build(second, bench.name()).told
    layers = told["layers"]
    own = sum(layer["bytes"] for layer in layers if layer["created_by"].startswith(("data", "the model")))
    measured["second"] = {"uploaded": told["bytes_uploaded"], "own": own}
    besides = (told["bytes_uploaded"] - own) / _KIB
    return _told(Figure("a second model: uploaded besides its own data and code", besides, 64, "KiB"))


def _large(bench: _Bench, repetitions: int, measured: dict[str, Any]) -> list[Figure]:
    """A file of two gigabytes: memory, and whether it is read again after an edit."""
    truss_dir = bench.folder / _BARE
    (truss_dir / "data").mkdir(exist_ok=True)
    block = os.urandom(_MB)
    with (truss_dir / "data" / "weights").open("wb") as file:
        for _ in range(_WEIGHTS // _MB):
            file.write(block)
    name = bench.name()
    first = bench.build(truss_dir, name)
    after = []
    for _ in range(max(3, repetitions)):
        _edit(truss_dir / "model" / "model.py")
        after.append(bench.build(truss_dir, name))
    measured["large"] = {"first": _described(first), "after": [_described(run) for run in after]}
    peak = max(run.peak for run in (first, *after))
    return [
        _told(Figure("weights of 2 GB: memory at most", peak / _MB, 200, "MB")),
        _told(Figure("weights of 2 GB: read after an edit", max(run.read for run in after) / _MB, 100, "MB")),
    ]


def _watched(bench: _Bench, measured: dict[str, Any]) -> Figure:
    """From a saved edit to its answer, out of the running container; the model is not loaded again."""
    truss_dir = bench.folder / "watched"
    subprocess.run([PYTHON, "-c", _MAKE["iris"], truss_dir], check=True, stdout=subprocess.DEVNULL)
    variables = {**bench.truss.variables(), "DOCKER_HOST": bench.docker.engine.host}
    seconds = seconds_to_answer(truss_dir, variables, _EDITS)
    measured["watched"] = seconds
    return _told(Figure("under `--watch`: a saved edit until it answers", statistics.median(seconds), 1, "s"))


def _edit(file: Path) -> None:
    with file.open("a") as out:
        out.write(f"# {time.time_ns()}\n")


def _told(figure: Figure) -> Figure:
    print(f"{figure.title}: {figure.value:.3g} {figure.unit} (at most {figure.limit:g})", flush=True)
    return figure


def _described(run: Run) -> dict[str, Any]:
    return {"seconds": run.seconds, "peak": run.peak, "read": run.read}


_BARE = "bare"
_MAKE = {
    "iris": """
import sys, truss
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
truss.create(LogisticRegression(max_iter=1000).fit(*load_iris(return_X_y=True)), sys.argv[1])
""",
    "layer": """
import sys, torch, truss
truss.create(torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)), sys.argv[1])
""",
    _BARE: """
import sys
from pathlib import Path
folder = Path(sys.argv[1])
(folder / "model").mkdir(parents=True)
(folder / "config.yaml").write_text("model_name: bare\\npython_version: py311\\n")
(folder / "model" / "model.py").write_text(
    "class Model:\\n    def predict(self, request):\\n        return request\\n"
)
""",
}
"""What makes the Trusses: two models, and one that needs nothing."""

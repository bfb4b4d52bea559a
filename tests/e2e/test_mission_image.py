"""The promise, second part: the packaged model in a container, by two commands as people are told them.

One image of PyTorch is built for all that is asked of it here: its answer, its size, and what is not in it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tiny_t5 import MAKE_T5, PIPELINE, Environment, python_with_transformers_4, running_hub

import truss
from truss.testing import engine as engines
from truss.testing import registry as registries
from truss.testing.images import Bench, running_bench

ROOT = Path(__file__).parents[2]
BASE = ROOT / ".images" / "base.tar"
README = ROOT / "README.md"

pytestmark = [
    pytest.mark.network,
    pytest.mark.registry,
    pytest.mark.engine,
    pytest.mark.xdist_group("images"),
    pytest.mark.skipif(
        not (shutil.which(registries.PROGRAM) and BASE.exists()), reason="not set up: scripts/setup-base"
    ),
    pytest.mark.skipif(
        not shutil.which(engines.PROGRAM) or os.geteuid() != 0, reason="not set up: scripts/setup-engine"
    ),
]

RUN = "truss run-image my_model"
ASK = """curl -X POST http://127.0.0.1:8080/v1/models/model:predict -d '{"inputs": ["..."]}'"""

MOST_BESIDES = 12_000_000
"""The bytes, compressed, that an image may have besides its base, the wheels and the data."""

CUDA = re.compile(
    r"^opt/truss/site/(nvidia|triton)|lib(torch_)?(cuda|cudart|cublas|cudnn|nccl|nvrtc|cufft)[^/]*\.so"
)


@dataclass(frozen=True)
class Desk:
    """A folder with a Truss in `my_model`, where commands are typed.

    Attributes:
        folder: The folder.
        bench: What builds need.
        engine: What runs containers.
    """

    folder: Path
    bench: Bench
    engine: engines.RunningEngine

    def type(self, command: str) -> str:
        """What a command prints, typed as it is."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = {"DOCKER_HOST": self.engine.host, "TRUSS_HOME": str(self.folder / "home"), "PATH": path}
        done = subprocess.run(
            command,
            shell=True,
            cwd=self.folder,
            env={**os.environ, **self.bench.variables(), **variables},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def ask(self, command: str) -> Any:
        """What the container answers to a command, after it was started and before it is removed."""
        self.type(RUN)
        try:
            return json.loads(self.type(command))
        finally:
            self.type("truss kill my_model")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with running_bench(BASE, tmp_path_factory.mktemp("bench")) as running:
        yield running


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.RunningEngine]:
    with engines.running_engine(tmp_path_factory.mktemp("engine")) as running:
        yield running


@pytest.fixture(scope="module")
def t5(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder in which the promised lines were run, and what they printed."""
    environment = Environment(python_with_transformers_4(), tmp_path_factory.mktemp("t5"))
    environment.run(MAKE_T5, HF_HUB_OFFLINE="1")
    asked = PIPELINE.replace("translate: hello world in german", "...")
    with running_hub() as hub:
        return environment.folder, ast.literal_eval(environment.run(asked, HF_ENDPOINT=hub))


@pytest.fixture
def port_8080() -> None:
    try:
        socket.create_server(("127.0.0.1", 8080)).close()
    except OSError:
        pytest.skip("another program uses port 8080, which the commands name")


@pytest.mark.usefixtures("port_8080")
def test_the_promised_commands_answer_as_the_promised_lines(
    t5: tuple[Path, Any], bench: Bench, engine: engines.RunningEngine
) -> None:
    folder, expected = t5
    assert [*expected["predictions"][0]] == ["translation_text"]
    assert Desk(folder, bench, engine).ask(ASK) == expected


@pytest.mark.usefixtures("port_8080")
def test_the_same_commands_with_flowers(tmp_path: Path, bench: Bench, engine: engines.RunningEngine) -> None:
    rows = [[5.1, 3.5, 1.4, 0.2], [6.2, 3.4, 5.4, 2.3]]
    model = LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))
    handle = truss.mk_truss(model, target_directory=tmp_path / "my_model")
    expected = handle.server_predict({"inputs": rows})
    answer = Desk(tmp_path, bench, engine).ask(ASK.replace('["..."]', json.dumps(rows)))
    assert answer["predictions"] == list(expected["predictions"])
    assert answer["probabilities"] == [pytest.approx(row) for row in expected["probabilities"]]


@pytest.mark.usefixtures("port_8080")
def test_the_commands_of_the_readme(tmp_path: Path, bench: Bench, engine: engines.RunningEngine) -> None:
    shown = re.search(r"^```sh\n(truss run-image .*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    assert shown is not None
    truss.create(LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True)), tmp_path / "iris")
    printed = Desk(tmp_path, bench, engine).type(f"set -e\n{shown[1]}")
    assert '"predictions":[0]' in printed
    assert engine.docker("ps", "--all", "--quiet", "--filter", "label=io.truss.container") == ""


def test_a_cpu_image_of_pytorch_is_small_and_carries_no_cuda(
    t5: tuple[Path, Any], bench: Bench, tmp_path: Path
) -> None:
    folder, _ = t5
    layout = tmp_path / "layout"
    done = bench.run("build", folder / "my_model", "--output", layout, "--json")
    assert done.returncode == 0, done.stderr
    layers = json.loads(done.stdout)["layers"]
    assert any(layer["created_by"].startswith("wheel torch-2") for layer in layers)
    besides = [layer for layer in layers if not layer["created_by"].startswith(("base", "wheel", "data"))]
    assert 0 < sum(layer["bytes"] for layer in besides) <= MOST_BESIDES
    for layer in layers:
        with tarfile.open(layout / "blobs" / layer["digest"].replace(":", "/")) as archive:
            assert [name for name in archive.getnames() if CUDA.search(name)] == []

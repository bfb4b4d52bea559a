"""A command is tested as a user runs it: a process, its two streams and its exit code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

ECHO_MODEL = """
    class Model:
        def __init__(self, config):
            self.factor = config["model_metadata"].get("factor", 2)

        def predict(self, request):
            return {"predictions": [value * self.factor for value in request["inputs"]]}
"""


@dataclass(frozen=True)
class Ran:
    """A command that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """stdout, which must be exactly one JSON document."""
        return json.loads(self.out)


@pytest.fixture
def truss(tmp_path: Path) -> Callable[..., Ran]:
    """Run `truss WORDS...` in the test's folder."""

    def run(
        *words: str | Path,
        stdin: str = "",
        cwd: Path = tmp_path,
        environment: Mapping[str, str] | None = None,
    ) -> Ran:
        ended = subprocess.run(
            [sys.executable, "-m", "truss.cli", *map(str, words)],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **(environment or {})},
            timeout=120,
            check=False,
        )
        return Ran(ended.returncode, ended.stdout, ended.stderr)

    return run


@pytest.fixture
def make_truss(tmp_path: Path) -> Callable[..., Path]:
    """Write a Truss by hand: the source of its model class, its config and its examples."""

    def make(model: str = ECHO_MODEL, config: str = "", examples: str | None = None) -> Path:
        folder = tmp_path / "my_model"
        (folder / "model").mkdir(parents=True)
        (folder / "model" / "__init__.py").touch()
        (folder / "model" / "model.py").write_text(dedent(model))
        (folder / "config.yaml").write_text(dedent(config))
        if examples is not None:
            (folder / "examples.yaml").write_text(dedent(examples))
        return folder

    return make

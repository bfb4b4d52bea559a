"""Which captured requirements a packaged model cannot do without: each is taken away in turn.

The environment is made from the requirements of the Truss alone, without Truss itself. A distribution is
taken away whole, with its metadata: a process is shown a folder of links to all the others.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from truss.config import read_config
from truss.environments import ensure_environment, wanted_by
from truss.testing import run_model_class

_START = """
import runpy, site, sys
site.addsitedir(sys.argv[1])
runpy.run_path(sys.argv[2], run_name="__main__")
"""
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")


@dataclass(frozen=True)
class Attempt:
    """A fresh process that was asked to load the model and to answer.

    Attributes:
        answer: Its answer, in JSON's types; None when it failed.
        failure: The last line of what it said when it failed.
    """

    answer: Any = None
    failure: str | None = None


@dataclass(frozen=True)
class Environment:
    """The environment of a Truss, made from its captured requirements alone.

    Attributes:
        truss_dir: The Truss.
        python: The environment's interpreter.
    """

    truss_dir: Path
    python: Path

    @property
    def requirements(self) -> tuple[str, ...]:
        """The names of the distributions that the Truss requires, as indexes compare them."""
        found = map(_NAME.match, read_config(self.truss_dir).requirements)
        return tuple(_normal(match.group()) for match in found if match)

    def attempt(self, request: Any, without: str | None = None) -> Attempt:
        """Load the model in a fresh process and answer, all distributions there, or without one of them.

        Args:
            request: In JSON's types.
            without: The distribution to take away.

        Raises:
            LookupError: the environment has no such distribution.
        """
        with TemporaryDirectory() as scratch:
            shown = Path(scratch, "site-packages")
            shown.mkdir()
            _link(self._packages, shown, set(self._files(without)) if without else set())
            done = subprocess.run(
                # Without `site`: only what is shown is importable.
                [self.python, "-S", "-c", _START, shown, run_model_class.__file__],
                input=json.dumps(self._task(request)),
                capture_output=True,
                text=True,
                check=False,
                cwd=scratch,
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            )
        if done.returncode:
            return Attempt(failure=(done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1])
        (answer,) = json.loads(done.stdout.splitlines()[-1])
        return Attempt(answer)

    @property
    def _packages(self) -> Path:
        (folder,) = self.python.parents[1].glob("lib/python*/site-packages")
        return folder

    def _files(self, name: str) -> Iterator[Path]:
        for found in distributions(path=[str(self._packages)]):
            if _normal(found.metadata["Name"]) == name:
                return (self._packages / file for file in found.files or ())
        raise LookupError(f"{name} is not in {self.python.parents[1]}")

    def _task(self, request: Any) -> dict[str, Any]:
        config = read_config(self.truss_dir)
        return {
            "model_file": str(self.truss_dir / "model" / "model.py"),
            "data_dir": str(self.truss_dir / "data"),
            "config": {"model_metadata": config.model_metadata, "model_type": config.model_type},
            "paths": [str(self.truss_dir / "packages")],
            "requests": [request],
        }


def environment_of(truss_dir: Path) -> Environment:
    """Make the environment of a Truss, unless it is kept already.

    Raises:
        EnvironmentBuildError: a requirement cannot be met.
    """
    python = ensure_environment(wanted_by(truss_dir, read_config(truss_dir), own=None))
    return Environment(truss_dir, python)


def _link(source: Path, target: Path, hidden: set[Path]) -> None:
    """Fill `target` with links to all that is in `source`, but for the hidden files.

    A folder is linked whole unless it holds hidden files; one that holds nothing else is left out.
    """
    with_hidden = {parent for file in hidden for parent in file.parents}
    for item in source.iterdir():
        if item in hidden or item.name == "__pycache__":
            continue
        if item not in with_hidden:
            (target / item.name).symlink_to(item)
        elif any(_kept(item, hidden)):
            (target / item.name).mkdir()
            _link(item, target / item.name, hidden)


def _kept(folder: Path, hidden: set[Path]) -> Iterator[Path]:
    """The files of other distributions in a folder."""
    for root, _, names in os.walk(folder):
        if not root.endswith("__pycache__"):
            yield from (path for name in names if (path := Path(root, name)) not in hidden)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()

"""Run a command in the Truss's own environment instead of this one."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from truss.cli.output import note, progress

_Function = TypeVar("_Function", bound=Callable[..., Any])

# They would put modules or settings of the environment that is left into the one that is entered.
_LEFT_BEHIND = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")


def isolated(function: _Function) -> _Function:
    """`--isolated`: run in the Truss's own environment; passed as `isolated`."""
    return click.option(
        "--isolated",
        is_flag=True,
        help="In an environment of its own with just the Truss's requirements, made on first use.",
    )(function)


def run_in_its_environment(truss_dir: Path, words: Sequence[str | Path]) -> NoReturn:
    """Become `truss WORDS...` in the environment of a Truss, made first if need be.

    Raises:
        NotATrussError, ConfigError: the folder or its config is not right.
        EnvironmentBuildError: the environment cannot be made.
        MissingExtraError: uv is not installed.
    """
    from truss.config import read_config
    from truss.environments import ensure_environment, own_requirement, wanted_by

    config = read_config(truss_dir)
    wanted = wanted_by(truss_dir, config, own_requirement())
    with progress("Making the environment"):
        python = ensure_environment(wanted)
    if config.system_packages:
        note(f"system packages are not installed: {', '.join(config.system_packages)}")
    note(f"environment: {python.parents[1]}")
    sys.stdout.flush()
    command = [str(python), "-m", "truss.cli", *map(str, words)]
    os.execve(python, command, entering(python.parents[1], os.environ))  # noqa: S606 - no shell is meant


def entering(environment: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The variables of a process that runs in a virtual environment."""
    kept = {name: value for name, value in variables.items() if name not in _LEFT_BEHIND}
    path = os.pathsep.join([str(environment / "bin"), kept.get("PATH", os.defpath)])
    # With `-m`, a folder `truss` in the current directory would be run in place of the installed one.
    return {**kept, "VIRTUAL_ENV": str(environment), "PATH": path, "PYTHONSAFEPATH": "1"}

"""CPU builds of PyTorch, and the default builds where those cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from truss.environments.wanted import Wanted
from truss.errors import EnvironmentBuildError

_T = TypeVar("_T")

_INDEX = "download.pytorch.org"


def with_cpu_builds(work: Callable[[Wanted], _T], wanted: Wanted) -> _T:
    """What `work` makes of the wishes.

    Where the index of CPU builds cannot be reached, the default builds are taken: larger, and as right.

    Raises:
        EnvironmentBuildError: as `work`.
    """
    try:
        return work(wanted)
    except EnvironmentBuildError as error:
        if wanted.cpu_builds and _INDEX in error.message and "No solution" not in error.message:
            return work(replace(wanted, cpu_builds=False))
        raise

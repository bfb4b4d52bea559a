"""Packages that are published as source only: made into wheels here, where that compiles nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from truss.build.components import normal
from truss.build.pylock import MARK
from truss.errors import EnvironmentBuildError

_NAME = re.compile(r"^([A-Za-z0-9._-]+)==.*" + MARK + r"$", re.MULTILINE)
_MISSING = (
    re.compile(r"Wheels are required for `([A-Za-z0-9._-]+)`"),
    re.compile(r"\b([A-Za-z0-9._-]+?)(?:==\S+)? has no usable wheels"),
)
_HINT = "choose a version that has wheels, or make one (`pip wheel`) and name its file in the requirements"


def from_source(lock: str) -> list[str]:
    """The packages of a resolution that have no wheel."""
    return _NAME.findall(lock)


def allowed(names: list[str]) -> list[str]:
    """Uv's options that let it use the source of these packages, and of no others."""
    return [text for name in names for text in ("--no-binary", name)]


def missing_wheels(error: EnvironmentBuildError) -> list[str]:
    """The packages that a resolution failed for because they have no wheels."""
    said = f"{error.message} {error.hint or ''}"
    return sorted({normal(name) for pattern in _MISSING for name in pattern.findall(said)})


def check_pure(names: list[str], lay: Callable[[Path], None], folder: Path, platform: str) -> None:
    """Make the wheels of packages that have none, and see that they run anywhere.

    Args:
        names: Which.
        lay: Makes and installs them into a folder.
        folder: An empty folder.
        platform: What the image runs on, for messages.

    Raises:
        EnvironmentBuildError: a wheel cannot be made, or holds what was compiled for this machine.
    """
    try:
        lay(folder)
    except EnvironmentBuildError as error:
        raise EnvironmentBuildError(
            f"{', '.join(names)}: there is no wheel for {platform}, and none can be made: {error.message}",
            where=error.where,
            hint=_HINT,
        ) from error
    for file in sorted(folder.glob("*.dist-info/WHEEL")):
        tags = re.findall(r"^Tag: *(\S+)", file.read_text("utf-8"), re.MULTILINE)
        if not all(tag.endswith("-none-any") for tag in tags):
            raise EnvironmentBuildError(
                f"{file.parent.name.removesuffix('.dist-info')} has no wheel for {platform}, and its source "
                f"has to be compiled there (here it makes {', '.join(tags)})",
                hint=_HINT,
            )

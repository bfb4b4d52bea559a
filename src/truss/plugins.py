"""What installed packages add to Truss, through entry points.

The environment variable `TRUSS_PLUGINS` limits which of them are used: `none`, or names separated by
commas; all of them when it is unset.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Container, Iterator
from importlib.metadata import entry_points
from typing import Any

VARIABLE = "TRUSS_PLUGINS"
"""The environment variable that limits what others add."""


def plugins(group: str, what: str, built_in: Container[str]) -> Iterator[tuple[str, Any]]:
    """One object of each class that installed packages declare, with its name, in the order of those.

    One that cannot be imported is left out with a warning, as is one that has the name of a built-in one.

    Args:
        group: The group of entry points.
        what: What one is called, for warnings.
        built_in: Names that are taken.
    """
    allowed = _allowed()
    for entry_point in sorted(entry_points(group=group), key=lambda point: point.name):
        if allowed is not None and entry_point.name not in allowed:
            continue
        if entry_point.name in built_in:
            _warn(what, entry_point.name, entry_point.value, f"its name is taken by a built-in {what}")
            continue
        try:
            found = entry_point.load()()
        except Exception as error:  # noqa: BLE001 - one broken package must not stop the others
            _warn(what, entry_point.name, entry_point.value, f"{type(error).__name__}: {error}")
        else:
            yield entry_point.name, found


def _allowed() -> frozenset[str] | None:
    """The names that the variable lets through; None when it lets all through."""
    value = os.environ.get(VARIABLE)
    if value is None:
        return None
    return frozenset(name.strip() for name in value.split(",")) - {"", "none"}


def _warn(what: str, name: str, place: str, reason: str) -> None:
    warnings.warn(
        f"the {what} '{name}' ({place}) is left out: {reason}; "
        f"set {VARIABLE}=none to do without what others add",
        RuntimeWarning,
        stacklevel=3,
    )

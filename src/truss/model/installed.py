"""Requirements of a Truss that what is installed here does not meet."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

_BUILDS = (
    ("tensorflow", "tensorflow-cpu"),
    ("onnxruntime", "onnxruntime-gpu"),
    ("xgboost", "xgboost-cpu"),
)
"""Distributions of the same library for different processors: one meets what asks for the other."""

_NAME_OR_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:===?\s*([^\s,;*]+))?")


def unmet(lines: Iterable[str]) -> list[str]:
    """A line for each requirement that is not met, e.g. `joblib==1.3: 1.4.2 is installed`.

    Looked at are names, and names with an exact version, which is how packaging writes them. The rest of
    what pip takes (ranges, markers, addresses) is left to installers. A local version (`2.1+cpu`) is a
    build of the public one, and meets it.
    """
    return [complaint for line in lines if (complaint := _complaint(line)) is not None]


def _complaint(line: str) -> str | None:
    match = _NAME_OR_PIN.fullmatch(line.partition(" #")[0].strip())
    if match is None:
        return None
    name, wanted = match.groups()
    found = _installed(name)
    if found is None:
        return f"{line}: not installed"
    if wanted is None or _same(found, wanted):
        return None
    return f"{line}: {found} is installed"


def _installed(name: str) -> str | None:
    """The version of the distribution, or of another build of its library."""
    normal = re.sub(r"[-_.]+", "-", name).lower()
    builds = next((builds for builds in _BUILDS if normal in builds), ())
    for candidate in (name, *builds):
        with suppress(PackageNotFoundError):
            return version(candidate)
    return None


def _same(found: str, wanted: str) -> bool:
    public = found if "+" in wanted else found.partition("+")[0]
    return _without_zeros(public) == _without_zeros(wanted)


def _without_zeros(text: str) -> str:
    """1.2.0 is 1.2."""
    return re.sub(r"(\.0)+$", "", text.lower())

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

_PROCESSOR = re.compile(r"(cpu|cu|cuda|rocm|xpu)\d*(\..+)?")
"""The local version of a build that was made for a kind of processor: `cpu`, `cu128`, `cuda12.cudnn89`."""

_NAME_OR_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*(?:===?\s*([^\s,;*]+))?")


def unmet(lines: Iterable[str], *, gpus: bool) -> list[str]:
    """A line for each requirement that is not met, e.g. `joblib==1.3: 1.4.2 is installed`.

    Looked at are names, and names with an exact version, which is how packaging writes them. The rest of
    what pip takes (ranges, markers, addresses) is left to installers. A local version (`2.1+cpu`) is a
    build of the public one, and meets it. Builds of one version for different processors (`2.1+cu128`,
    `2.1+rocm6.4`) meet each other, but for a build for CPUs where one for GPUs is stated and wanted.

    Args:
        lines: The requirements of a Truss.
        gpus: Whether it asks for a GPU.
    """
    return [complaint for line in lines if (complaint := _complaint(line, gpus=gpus)) is not None]


def _complaint(line: str, *, gpus: bool) -> str | None:
    match = _NAME_OR_PIN.fullmatch(line.partition(" #")[0].strip())
    if match is None:
        return None
    name, wanted = match.groups()
    found = _installed(name)
    if found is None:
        return f"{line}: not installed"
    if wanted is None or _meets(found, wanted, gpus=gpus):
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


def _meets(found: str, wanted: str, *, gpus: bool) -> bool:
    (version, _, build), (wanted_version, _, wanted_build) = found.partition("+"), wanted.partition("+")
    if _without_zeros(version) != _without_zeros(wanted_version):
        return False
    if not wanted_build or wanted_build.lower() == build.lower():
        return True
    if any(one and not _PROCESSOR.fullmatch(one.lower()) for one in (build, wanted_build)):
        return False
    return not (gpus and build.lower().startswith("cpu"))


def _without_zeros(text: str) -> str:
    """1.2.0 is 1.2."""
    return re.sub(r"(\.0)+$", "", text.lower())

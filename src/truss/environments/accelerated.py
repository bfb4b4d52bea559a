"""Builds for GPUs of the libraries that come in several distributions, or bring them by an extra.

A Truss is usually packaged on a machine without a GPU, and states what is installed there. PyTorch is not
among these: the index tells its builds apart (see `Wanted.cpu_builds`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from types import MappingProxyType

_FOR_GPUS = MappingProxyType(
    {
        "jax": "jax[cuda12]",
        "tensorflow": "tensorflow[and-cuda]",
        "tensorflow-cpu": "tensorflow[and-cuda]",
        "onnxruntime": "onnxruntime-gpu",
        "xgboost-cpu": "xgboost",
    }
)
_NAME_AND_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(\s*(?:==\s*[^\s,;]+)?)")


def for_gpus(lines: Iterable[str]) -> tuple[str, ...]:
    """Requirement lines with the builds for GPUs, in the versions that they state.

    Only names, and names with an exact version, which is how packaging writes them, are looked at. A line
    with extras, markers or a range says itself what is wanted.
    """
    return tuple(map(_line, lines))


def _line(line: str) -> str:
    match = _NAME_AND_PIN.fullmatch(line.strip())
    build = None if match is None else _FOR_GPUS.get(re.sub(r"[-_.]+", "-", match[1]).lower())
    return line if match is None or build is None else build + match[2]

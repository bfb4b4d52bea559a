"""Builds for GPUs, or for CPUs, of the libraries that come in several distributions or bring one by an extra.

A Truss is usually packaged on a machine of another kind than it runs on, and states what is installed there.
Of PyTorch only a version with the name of its build (`2.9.0+cu128`) is looked at: the index tells its builds
apart (see `Wanted.cpu_builds`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from types import MappingProxyType
from typing import NamedTuple

_FOR_GPUS = MappingProxyType(
    {
        "jax": "jax[cuda12]",
        "tensorflow": "tensorflow[and-cuda]",
        "tensorflow-cpu": "tensorflow[and-cuda]",
        "onnxruntime": "onnxruntime-gpu",
        "xgboost-cpu": "xgboost",
    }
)
_FOR_CPUS = MappingProxyType({"onnxruntime-gpu": "onnxruntime"})
_EXTRAS_FOR_GPUS = MappingProxyType(
    {
        "jax": re.compile(r"(cuda|rocm)\d*([-_]local)?"),  # https://docs.jax.dev/en/latest/installation.html
        "tensorflow": re.compile(r"and[-_]cuda"),  # https://www.tensorflow.org/install/pip
    }
)
_LOCAL_FOR_GPUS = re.compile(r"\+(cu\d+|cuda\d*|rocm\d*|xpu)(\.\w+)*$")
_NAME_AND_PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[([^\]]*)\])?(\s*(?:==\s*[^\s,;]+)?)")


class _Stated(NamedTuple):
    """A line that is a name, with extras or without, with an exact version or without."""

    name: str
    extras: tuple[str, ...]
    pin: str

    @property
    def normal(self) -> str:
        """The name as indexes compare it."""
        return re.sub(r"[-_.]+", "-", self.name).lower()


def for_gpus(lines: Iterable[str]) -> tuple[str, ...]:
    """Requirement lines with the builds for GPUs, in the versions that they state.

    Only names, and names with an exact version, which is how packaging writes them, are looked at. A line
    with extras, markers or a range says itself what is wanted; so does a version of a build for GPUs.
    """
    return tuple(_replaced(line, _gpu_line) for line in lines)


def for_cpus(lines: Iterable[str]) -> tuple[str, ...]:
    """Requirement lines without builds for GPUs, in the versions that they state.

    Looked at are the same lines, also those with extras. Other extras stay.
    """
    return tuple(_replaced(line, _cpu_line) for line in lines)


def _replaced(line: str, change: Callable[[_Stated], str | None]) -> str:
    match = _NAME_AND_PIN.fullmatch(line.strip())
    if match is None:
        return line
    extras = tuple(extra.strip() for extra in (match[2] or "").split(",") if extra.strip())
    changed = change(_Stated(match[1], extras, match[3]))
    return line if changed is None else changed


def _gpu_line(stated: _Stated) -> str | None:
    """The line for GPUs; None when it stays as it is."""
    pin = stated.pin.removesuffix("+cpu")
    build = None if stated.extras else _FOR_GPUS.get(stated.normal)
    if build is not None:
        return build + pin
    return None if pin == stated.pin else _written(stated.name, stated.extras, pin)


def _cpu_line(stated: _Stated) -> str | None:
    """The line for CPUs; None when it stays as it is."""
    bring_gpus = _EXTRAS_FOR_GPUS.get(stated.normal)
    extras = tuple(
        extra for extra in stated.extras if bring_gpus is None or not bring_gpus.fullmatch(extra.lower())
    )
    pin = _LOCAL_FOR_GPUS.sub("", stated.pin)
    build = _FOR_CPUS.get(stated.normal)
    if build is None and (extras, pin) == (stated.extras, stated.pin):
        return None
    return _written(build or stated.name, extras, pin)


def _written(name: str, extras: tuple[str, ...], pin: str) -> str:
    return f"{name}[{','.join(extras)}]{pin}" if extras else name + pin

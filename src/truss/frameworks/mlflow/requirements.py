"""The requirements that a folder of MLflow states, as the lines of a Truss."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.mlflow.folder import Description

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_PIN = re.compile(r"\s*==\s*([^\s,;*]+)\s*(?:;.*)?")
_MLFLOW = frozenset({"mlflow", "mlflow-skinny"})
_OF_MODEL_CLASS = ("numpy", "pandas")

_LOADED_BY_SKINNY = frozenset(
    {
        "mlflow.pyfunc.model",
        "mlflow.sklearn",
        "mlflow.xgboost",
        "mlflow.lightgbm",
        "mlflow.onnx",
        "mlflow.catboost",
        "mlflow.statsmodels",
    }
)
"""Loaders that need none of what `mlflow` requires beyond `mlflow-skinny`, the same code."""


@dataclass(frozen=True)
class Stated:
    """What a model requires.

    Attributes:
        lines: Requirement lines, to be kept as they are.
        names: Distributions of which any version does, so that the one that is here may be pinned.
        if_needed: Exact pins of what is installed here, which may be more than the model needs.
        are_here: Whether all versions that it states are those installed here.
    """

    lines: tuple[str, ...]
    names: tuple[str, ...]
    if_needed: tuple[str, ...] = ()
    are_here: bool = False


def stated_requirements(described: Description) -> Stated:
    """What the model states, with MLflow itself and what the model class imports.

    It comes from `requirements.txt`, or of older models from the pip section of `conda.yaml`. `mlflow` is
    replaced by `mlflow-skinny` of the same version where that loads the model.

    What is stated without a version is left to be pinned to the one here only if the model's other versions
    are those that are here: in another environment than the model's own, versions may not go together.

    Raises:
        PackagingError: a file that the requirements refer to is missing, or conda.yaml cannot be read.
    """
    lines = list(_lines_of(described))
    if not any(name_of(line) in _MLFLOW for line in lines):
        lines.append(_mlflow_line(described))
    named = {name_of(line) for line in lines}
    lines += [name for name in _OF_MODEL_CLASS if name not in named]
    slim = tuple(_slim(line, described.loader) for line in lines)
    free = tuple(line for line in slim if _NAME.fullmatch(line) and _installed(line) is not None)
    rest = tuple(line for line in slim if line not in free)
    if not all(map(_is_what_is_here, rest)):
        return Stated(slim, ())
    pins = tuple(line for line in rest if name_of(line) not in (*_MLFLOW, *_OF_MODEL_CLASS))
    return Stated(tuple(line for line in rest if line not in pins), free, pins, are_here=True)


def conda_packages(described: Description) -> tuple[str, ...]:
    """The packages of conda's own that the model states, but for Python and pip; pip cannot install them."""
    if (described.path / "requirements.txt").is_file():
        return ()
    stated = [item for item in _conda_dependencies(described) if isinstance(item, str)]
    return tuple(item for item in stated if name_of(item) not in ("python", "pip"))


def name_of(line: str) -> str:
    """The distribution's name in a requirement line, as indexes compare it; empty when it names none."""
    match = _NAME.match(line)
    return "" if match is None else re.sub(r"[-_.]+", "-", match.group()).lower()


def _lines_of(described: Description) -> Iterator[str]:
    file = described.path / "requirements.txt"
    if file.is_file():
        yield from _read(file)
        return
    for item in _conda_dependencies(described):
        if isinstance(item, dict):
            yield from (str(line) for line in item.get("pip", ()))


def _read(file: Path) -> list[str]:
    """The lines of a requirements file, those of files that it includes among them.

    A constraint of something that the file names without a version becomes its line.
    """
    lines: list[str] = []
    constraints: dict[str, str] = {}
    for line in _without_comments(file):
        option, _, rest = line.replace("=", " ", 1).partition(" ") if line.startswith("-") else ("", "", "")
        if option in ("-r", "--requirement"):
            lines += _read(_beside(file, rest.strip()))
        elif option in ("-c", "--constraint"):
            constraints |= {name_of(found): found for found in _read(_beside(file, rest.strip()))}
        else:
            lines.append(line)
    return [constraints.get(line.lower(), line) for line in lines]


def _without_comments(file: Path) -> Iterator[str]:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PackagingError(
            f"the model's requirements cannot be read: {getattr(error, 'strerror', None) or error}",
            where=str(file),
            hint="copy the folder again, or log the model anew",
        ) from error
    for line in text.replace("\\\n", " ").splitlines():
        kept = re.sub(r"(^|\s)#.*", "", line).strip()
        if kept:
            yield kept


def _beside(file: Path, name: str) -> Path:
    return file.parent / name


def _conda_dependencies(described: Description) -> list[Any]:
    """What conda.yaml lists, packages of conda as texts and those of pip in a mapping."""
    import yaml

    file = described.path / "conda.yaml"
    if not file.is_file():
        return []
    try:
        content = yaml.safe_load(file.read_text("utf-8")) or {}
        return list(content.get("dependencies") or ())
    except (OSError, ValueError, AttributeError, yaml.YAMLError) as error:
        raise PackagingError(
            f"the model's conda environment cannot be read: {error}",
            where=str(file),
            hint="copy the folder again, or log the model anew",
        ) from error


def _mlflow_line(described: Description) -> str:
    if described.mlflow_version is not None:
        return f"mlflow=={described.mlflow_version}"
    return f"mlflow=={_installed('mlflow-skinny') or _installed('mlflow')}"


def _slim(line: str, loader: str) -> str:
    """The line with `mlflow-skinny` for `mlflow`, where that is enough."""
    if name_of(line) != "mlflow" or loader not in _LOADED_BY_SKINNY or line.startswith("mlflow["):
        return line
    return f"mlflow-skinny{line.strip()[len('mlflow') :]}"


def _is_what_is_here(line: str) -> bool:
    """Whether a line pins the version that is installed here, of whichever build (`2.9.0+cu128`)."""
    name = name_of(line)
    pin = _PIN.fullmatch(_NAME.sub("", line, count=1))
    installed = _installed(name) or (_installed("mlflow-skinny") if name in _MLFLOW else None)
    return pin is not None and installed is not None and _public(pin.group(1)) == _public(installed)


def _public(version_text: str) -> str:
    return version_text.partition("+")[0]


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None

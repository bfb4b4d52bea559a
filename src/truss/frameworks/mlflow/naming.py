"""Which modules the files of a folder of MLflow name, where its flavour lets that be told.

MLflow states every package that was imported when it loaded the model to see, and a process that has many
libraries installed may import many. The files of a library's model name what the model is made of.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zipfile import BadZipFile, ZipFile

from truss.frameworks.mlflow.folder import Description

_LIBRARIES: MappingProxyType[str, tuple[str, ...]] = MappingProxyType(
    {
        "mlflow.sklearn": ("sklearn",),
        "mlflow.xgboost": ("xgboost",),
        "mlflow.lightgbm": ("lightgbm",),
        "mlflow.catboost": ("catboost",),
        "mlflow.statsmodels": ("statsmodels",),
        "mlflow.onnx": ("onnx", "onnxruntime"),
    }
)
"""What each loader imports."""

_FILES = MappingProxyType({"sklearn": "pickled_model", "lightgbm": "data", "statsmodels": "data"})
"""Under which setting of its own each flavour that pickles names its file."""

_SCHEMA = "schema.json"


@dataclass(frozen=True)
class Named:
    """What the files of a model name.

    Attributes:
        modules: Modules, with those that the loader imports.
        pickles: Files that are plain pickles, whose modules are to be added.
    """

    modules: tuple[str, ...]
    pickles: tuple[Path, ...] = ()


def named_by_files(described: Description) -> Named | None:
    """What a model's files name; None where that cannot be told, as of code that was logged with it."""
    library = _LIBRARIES.get(described.loader)
    if library is None or described.flavor.get("code"):
        return None
    flavor = described.loader.rpartition(".")[2]
    settings = described.metadata.flavors.get(flavor, {})
    estimator = ("sklearn",) if ".sklearn." in str(settings.get("model_class", "")) else ()
    file = described.path / str(settings.get(_FILES.get(flavor, ""), ""))
    if flavor not in _FILES or not file.is_file() or str(settings.get("model_class", "")).endswith("Booster"):
        return Named((*library, *estimator))
    if settings.get("serialization_format") == "skops":
        found = _modules_in_skops(file)
        return None if found is None else Named((*library, *estimator, "skops", *found))
    return Named((*library, *estimator), (file,)) if _is_pickle(file) else None


def _is_pickle(file: Path) -> bool:
    """Whether a file begins as plain pickles do, since version 2 of their protocol."""
    with file.open("rb") as stream:
        return stream.read(1) == b"\x80"


def _modules_in_skops(file: Path) -> tuple[str, ...] | None:
    """The modules in a file of skops: an archive with a description of its objects."""
    try:
        with ZipFile(file) as archive:
            schema = json.loads(archive.read(_SCHEMA))
    except (OSError, BadZipFile, KeyError, ValueError):
        return None
    return tuple(dict.fromkeys(_modules(schema)))


def _modules(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("__module__"), str):
            yield node["__module__"]
        node = list(node.values())
    if isinstance(node, list):
        for item in node:
            yield from _modules(item)

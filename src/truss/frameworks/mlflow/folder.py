"""A folder that MLflow saved a model to: its `MLmodel` file says what is in it, and how it is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.pickles import reason_of

FILE = "MLmodel"

_FLAVOR = "python_function"

_BOUNDED = frozenset({"mlflow.onnx", "mlflow.catboost"})
"""Loaders of numbers and graphs, whose files name no code."""

_LIBRARY_CLASS = re.compile(r"xgboost\.sklearn\.XGB\w+|xgboost\.core\.Booster")


@dataclass(frozen=True)
class MlflowFolder:
    """A model of MLflow in a local folder, loaded when it is first asked.

    Attributes:
        path: The folder, with the `MLmodel` file in it.
    """

    path: Path

    @cached_property
    def loaded(self) -> Any:
        """The model as a pyfunc object."""
        return import_mlflow("loading a model of MLflow").pyfunc.load_model(str(self.path))


@dataclass(frozen=True)
class Description:
    """What the `MLmodel` file of a folder says.

    Attributes:
        path: The folder.
        metadata: The file, as MLflow's `Model`.
    """

    path: Path
    metadata: Any

    @property
    def flavor(self) -> dict[str, Any]:
        """The settings of the flavour `python_function`."""
        settings: dict[str, Any] = self.metadata.flavors[_FLAVOR]
        return settings

    @property
    def loader(self) -> str:
        """The module that loads it, e.g. `mlflow.sklearn`."""
        return str(self.flavor.get("loader_module", ""))

    @property
    def mlflow_version(self) -> str | None:
        """The version of MLflow that saved it; None where it was so old as not to say."""
        version = self.metadata.mlflow_version
        return None if version is None else str(version)

    @property
    def python_version(self) -> str | None:
        """The Python that saved it, e.g. `3.11`."""
        version = str(self.flavor.get("python_version", ""))
        return ".".join(version.split(".")[:2]) or None

    @property
    def runs_code(self) -> bool:
        """Whether loading it may run code of its maker: unless it is known not to."""
        if "code" in self.flavor:
            return True
        if self.loader == "mlflow.sklearn":
            settings = self.metadata.flavors.get("sklearn", {})
            return settings.get("serialization_format") != "skops" or bool(
                settings.get("skops_trusted_types")
            )
        if self.loader == "mlflow.xgboost":
            named = str(self.metadata.flavors.get("xgboost", {}).get("model_class", ""))
            return _LIBRARY_CLASS.fullmatch(named) is None
        return self.loader not in _BOUNDED


def describe(folder: Path) -> Description:
    """Read a folder's `MLmodel` file; nothing of the model is loaded.

    Raises:
        PackagingError: it cannot be read, or cannot be loaded as a Python function.
        MissingExtraError: MLflow is not installed.
    """
    model_type = import_mlflow("reading a model of MLflow").models.Model
    try:
        metadata = model_type.load(str(folder))
    except Exception as error:
        raise PackagingError(
            f"its {FILE} file cannot be read: {reason_of(error)}",
            where=str(folder / FILE),
            hint="copy the folder again, or log the model anew",
        ) from error
    if _FLAVOR not in metadata.flavors:
        raise PackagingError(
            f"it lacks the flavour {_FLAVOR}, by which it is served, and has {sorted(metadata.flavors)}",
            where=str(folder / FILE),
            hint="log it with a flavour of MLflow's that writes it, or as a `mlflow.pyfunc.PythonModel`",
        )
    return Description(folder, metadata)


def import_mlflow(purpose: str) -> Any:
    """The mlflow module, with those of its parts that are used here.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import mlflow.artifacts
        import mlflow.models
        import mlflow.pyfunc
    except ImportError as error:
        name = (error.name or "mlflow").partition(".")[0]
        raise MissingExtraError(name, "mlflow", purpose) from None
    return mlflow

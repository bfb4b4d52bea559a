"""Save a model of MLflow that is in memory only: one that was never logged, or never even saved.

MLflow saves it itself. What a class of the user's needs is not searched for by MLflow, which would load the
model in another process to see, but found as for every other pickled object.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.mlflow.folder import import_mlflow
from truss.frameworks.pickles import reason_of, unpicklable_error
from truss.frameworks.recording import recording_pickler

PICKLE = "python_model.pkl"
"""Where MLflow lays an object of a user's class in a model's folder."""

_LIBRARIES = MappingProxyType(
    {
        "mlflow.sklearn": "scikit-learn",
        "mlflow.xgboost": "xgboost",
        "mlflow.lightgbm": "lightgbm",
        "mlflow.catboost": "catboost",
        "mlflow.statsmodels": "statsmodels",
    }
)
"""Loaders of models that MLflow gives back as they were saved, each with its library."""

_FORMATS = ("skops", "cloudpickle")


@dataclass(frozen=True)
class Code:
    """The code that a model which is saved anew refers to.

    Attributes:
        references: Objects outside of its pickle; what they belong to has to go along.
        by_value: Whether code is in the pickle itself, so that only this Python version can run it.
    """

    references: tuple[object, ...] = ()
    by_value: bool = False


def is_python_model(model: object) -> bool:
    """Whether `model` is an object of a class derived from `mlflow.pyfunc.PythonModel`."""
    return any(
        base.__name__ == "PythonModel" and base.__module__ == "mlflow.pyfunc.model"
        for base in type(model).__mro__
    )


def save_anew(model: Any, folder: Path) -> Code:
    """Save a `PythonModel`, or what `mlflow.pyfunc.load_model` gave, to a folder that is not there yet.

    Raises:
        PackagingError: it cannot be pickled, its files are gone, or nothing in memory is the whole model.
        MissingExtraError: MLflow is not installed.
    """
    if is_python_model(model):
        return _save_python_model(model, folder)
    kept: dict[str, Any] = {"metadata": model.metadata.metadata}
    if not model.metadata._is_signature_from_type_hint():  # noqa: SLF001  # it will be made of them again
        kept["signature"] = model.metadata.signature
    implementation = model._model_impl  # noqa: SLF001  # which MLflow says is stable
    inner = getattr(implementation, "python_model", None)
    if is_python_model(inner):
        context = implementation.context
        kept |= {"artifacts": context.artifacts, "model_config": context.model_config}
        return _save_python_model(inner, folder, **kept)
    if model.loader_module in _LIBRARIES:
        return _save_of_library(model, folder, kept)
    raise PackagingError(
        f"this pyfunc model was never logged, and loaded by {model.loader_module} it cannot be saved again",
        hint='give the folder in its place: `truss.create("FOLDER", trust_pickle=True)`, or the model in it: '
        "`truss.create(model.get_raw_model())`",
    )


def _save_python_model(model: Any, folder: Path, **kept: Any) -> Code:
    pickler = recording_pickler(io.BytesIO())
    try:
        pickler.dump(model)
    except Exception as error:
        raise unpicklable_error(model, error, f"this {type(model).__name__}") from error
    _save(import_mlflow("saving a model of MLflow").pyfunc, folder, {"python_model": model, **kept}, [])
    return Code(tuple(pickler.references), pickler.by_value)


def _save_of_library(model: Any, folder: Path, kept: dict[str, Any]) -> Code:
    """By the flavour that loaded it, in the same format."""
    from importlib import import_module

    flavor = model.loader_module.rpartition(".")[2]
    settings = model.metadata.flavors.get(flavor, {})
    raw = model.get_raw_model()
    required = [_LIBRARIES[model.loader_module]]
    if settings.get("serialization_format"):
        kept["serialization_format"] = settings["serialization_format"]
        kept["skops_trusted_types"] = settings.get("skops_trusted_types")
        required += [name for name in _FORMATS if name == settings["serialization_format"]]
    if flavor == "sklearn":
        kept["pyfunc_predict_fn"] = model.metadata.flavors["python_function"].get("predict_fn", "predict")
    _save(import_module(model.loader_module), folder, {_ARGUMENTS[flavor]: raw, **kept}, required)
    return Code((raw,) if flavor in _PICKLED else ())


_ARGUMENTS = MappingProxyType(
    {
        "sklearn": "sk_model",
        "xgboost": "xgb_model",
        "lightgbm": "lgb_model",
        "catboost": "cb_model",
        "statsmodels": "statsmodels_model",
    }
)
"""What each flavour calls its model."""

_PICKLED = frozenset({"sklearn", "lightgbm", "statsmodels"})
"""Flavours whose files name modules beside the library's own."""


def _save(flavor: Any, folder: Path, arguments: dict[str, Any], required: list[str]) -> None:
    try:
        flavor.save_model(path=str(folder), pip_requirements=required, **arguments)
    except Exception as error:
        raise PackagingError(
            f"MLflow cannot save this model: {reason_of(error)}",
            hint="see that `save_model` of its flavour works, and give `truss.create` the folder",
        ) from error

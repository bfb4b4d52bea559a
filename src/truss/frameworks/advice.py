"""What to tell somebody whose object no framework recognises: the likeliest slip, and the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, TypeAlias

Advisor: TypeAlias = Callable[[Any], "str | None"]

_WRAP = "wrap it in a function that takes the request and returns the answer, and package that function"

_LIBRARIES = {
    "torch": "PyTorch",
    "keras": "Keras",
    "tensorflow": "TensorFlow",
    "xgboost": "XGBoost",
    "lightgbm": "LightGBM",
    "catboost": "CatBoost",
    "onnxruntime": "ONNX Runtime",
    "statsmodels": "statsmodels",
    "spacy": "spaCy",
    "jax": "JAX",
    "flax": "Flax",
}


def advice_for(model: object) -> str:
    """One sentence on what to package instead of `model`."""
    for advisor in _ADVISORS:
        advice = advisor(model)
        if advice is not None:
            return advice
    return _WRAP


def library_of(model: object, names: Mapping[str, str] = _LIBRARIES) -> str | None:
    """The display name of the known ML library that `model`'s type, or one of its bases, comes from."""
    packages = (base.__module__.partition(".")[0] for base in type(model).__mro__)
    return next((names[package] for package in packages if package in names), None)


def _nothing(model: object) -> str | None:
    if model is None:
        return (
            "this is None: methods such as `model.fit_transform` and functions without `return` give no model"
        )
    return None


def _class(model: object) -> str | None:
    if isinstance(model, type):
        return f"this is the class {model.__name__}, not an object of it: pass a fitted instance, `{model.__name__}(...)`"
    return None


def _module(model: object) -> str | None:
    if type(model).__name__ == "module":
        return "this is a module: pass the model or the function that lives in it"
    return None


def _path(model: object) -> str | None:
    if isinstance(model, (str, bytes, PathLike)):
        return (
            "this is a name or a path, not a model: load the model first and pass the object; "
            "a folder that already is a Truss is opened with `truss.load(path)`"
        )
    return None


def _collection(model: object) -> str | None:
    if isinstance(model, (Mapping, Sequence, set, frozenset)):
        return (
            f"this is a {type(model).__name__} of {len(model)} items: package each model by itself, or write a "
            "function that takes the request and calls them, and package that function"
        )
    return None


def _library(model: object) -> str | None:
    library = library_of(model)
    return f"no built-in framework packages {library} objects yet: {_WRAP}" if library else None


def _predicts(model: object) -> str | None:
    if callable(getattr(model, "predict", None)):
        return (
            f"it has a `predict` method: package a function that calls it, `lambda request: ...`, or {_WRAP}"
        )
    return None


_ADVISORS: tuple[Advisor, ...] = (_nothing, _class, _module, _path, _library, _collection, _predicts)

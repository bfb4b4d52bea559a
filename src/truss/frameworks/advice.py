"""What to tell somebody whose object no framework recognises: the likeliest slip, and the way out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from types import MappingProxyType, ModuleType
from typing import TypeAlias

Advisor: TypeAlias = Callable[[object], "str | None"]

_LIBRARIES = MappingProxyType(
    {
        "torch": "PyTorch",
        "transformers": "transformers",
        "diffusers": "diffusers",
        "sentence_transformers": "sentence-transformers",
        "keras": "Keras",
        "tensorflow": "TensorFlow",
        "xgboost": "XGBoost",
        "lightgbm": "LightGBM",
        "catboost": "CatBoost",
        "onnxruntime": "ONNX Runtime",
        "statsmodels": "statsmodels",
        "spacy": "spaCy",
        "jax": "JAX",
        "jaxlib": "JAX",
        "flax": "Flax",
    }
)

_WRAP = (
    "package a function that calls it: one argument, the request such as "
    '{"inputs": [...]}, and the answer returned, such as {"predictions": [...]}'
)


def advice_for(model: object) -> str:
    """One sentence on what to package instead of `model`."""
    answers = (advisor(model) for advisor in _ADVISORS)
    return next((answer for answer in answers if answer is not None), _WRAP)


def library_of(model: object) -> str | None:
    """The known ML library that `model`'s type or one of its bases comes from, by its display name.

    None for objects of other packages, and for plain functions, wherever they live.
    """
    packages = (base.__module__.partition(".")[0] for base in type(model).__mro__)
    return next((_LIBRARIES[package] for package in packages if package in _LIBRARIES), None)


def _nothing(model: object) -> str | None:
    if model is None:
        return "this is None: a function without `return`, or a method that works in place, gives no model"
    return None


def _class(model: object) -> str | None:
    if isinstance(model, type):
        name = model.__name__
        return (
            f"this is the class {name} itself: pass an instance that has been fitted or set up, `{name}(...)`"
        )
    return None


def _module(model: object) -> str | None:
    if isinstance(model, ModuleType):
        return f"this is the module {model.__name__}: pass the model or the function that lives in it"
    return None


def _path(model: object) -> str | None:
    if isinstance(model, (str, bytes, PathLike)):
        return (
            "this is a name or a path: load the model first and pass the object; "
            "a folder that already is a Truss is opened with `truss.load(path)`"
        )
    return None


def _state_dict(model: object) -> str | None:
    if isinstance(model, Mapping) and model and all(map(_is_tensor, model.values())):
        return (
            "these are weights without their code: make the module, `module.load_state_dict(weights)`, "
            "and pass the module"
        )
    return None


def _is_tensor(value: object) -> bool:
    return any(base.__module__ == "torch" and base.__name__ == "Tensor" for base in type(value).__mro__)


def _collection(model: object) -> str | None:
    if isinstance(model, (Mapping, Sequence, set, frozenset)):
        return f"this is a {type(model).__name__} of {len(model)}: package each model by itself, or {_WRAP}"
    return None


def _session(model: object) -> str | None:
    if library_of(model) == "ONNX Runtime":
        return "a session of ONNX Runtime does not give its model away: pass the path of its .onnx file"
    return None


def _library(model: object) -> str | None:
    library = library_of(model)
    if library is None:
        return None
    return f"no framework here packages this kind of {library} object: {_WRAP}"


_ADVISORS: tuple[Advisor, ...] = (
    _nothing,
    _class,
    _module,
    _path,
    _session,
    _library,
    _state_dict,
    _collection,
)

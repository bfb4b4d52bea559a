"""Find the layers and functions of a Keras model that are not Keras' own, so that they can go along."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import FunctionType
from typing import Any

_MAIN = ("__main__", "__mp_main__")


def custom_objects_of(model: Any) -> dict[str, Any]:
    """The classes and functions that loading the model's file needs, by the names that the file uses."""
    import keras

    found = (item for layer in _layers(model) for item in (type(layer), *_named_in(layer)))
    return {keras.saving.get_registered_name(item): item for item in found if not _is_of_keras(item)}


def lambdas_of(model: Any) -> list[str]:
    """The names of the layers whose function is a lambda; the model's file holds its bytecode."""
    return [layer.name for layer in _layers(model) if _is_lambda(getattr(layer, "function", None))]


def lives_in_session(item: Any) -> bool:
    """Whether a class or function exists in this process only, so that it is saved by value."""
    module = getattr(item, "__module__", None)
    return module in _MAIN or module not in sys.modules or "<" in getattr(item, "__qualname__", "")


def _layers(model: Any) -> Iterator[Any]:
    """The model and all layers in it, at any depth."""
    yield from model._flatten_layers(include_self=True, recursive=True)  # noqa: SLF001  # no public way


def _named_in(layer: Any) -> Iterator[Any]:
    """The functions, and the classes of the objects, that a layer's attributes hold (activations, say)."""
    for name, value in vars(layer).items():
        if hasattr(type(layer), name):  # Keras wraps methods, and lays the wrappers over them
            continue
        if isinstance(value, FunctionType):
            if not _is_lambda(value):
                yield value
        elif hasattr(type(value), "get_config"):
            yield type(value)


def _is_lambda(value: Any) -> bool:
    return isinstance(value, FunctionType) and value.__name__ == "<lambda>"


def _is_of_keras(item: Any) -> bool:
    return str(item.__module__).partition(".")[0] == "keras"

"""A model class with live objects in it instead of loaded ones."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


def serve(model_class: str, settings: Mapping[str, Any], live: Mapping[str, Any]) -> Any:
    """The model class as it will run, with `live` where its `load` would put what it read.

    Thus the live object answers under the very conventions that the packaged copy answers under, and the
    two differ only if saving lost something.
    """
    module = importlib.import_module(f"{__package__}.{model_class}")
    model = module.Model(data_dir=".", config={"model_metadata": dict(settings)})
    for name, value in live.items():
        setattr(model, name, value)
    return model


def in_precision(value: Any, dtype: object) -> Any:
    """An answer whose numbers say by their type how exact they are: as exact as the weights.

    Pipelines answer in Python's floats whatever the weights are, but single precision is the same again only
    to its own last digits: weights that are mapped from a file lie at other addresses, and sums over them
    are taken in another order.
    """
    import numpy as np

    if isinstance(value, dict):
        return {key: in_precision(item, dtype) for key, item in value.items()}
    if isinstance(value, list):
        return [in_precision(item, dtype) for item in value]
    if isinstance(value, float) and str(dtype) != "torch.float64":
        return np.float32(value) if str(dtype) == "torch.float32" else np.float16(value)
    return value


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Run a block with dropout and the like off, as a loaded model has them, and put the mode back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

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


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Run a block with dropout and the like off, as a loaded model has them, and put the mode back."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)

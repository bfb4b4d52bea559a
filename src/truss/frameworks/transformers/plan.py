"""What is to be written for an object, decided before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from truss.frameworks.base import BatchingMode

MODEL_DIRECTORY = "model"
"""The folder below the data directory that holds weights, tokenizer and configuration."""


@dataclass(frozen=True)
class Plan:
    """How one object is saved and served.

    Attributes:
        model_class: The model class file, by name.
        settings: What the model class reads from `model_metadata`.
        live: The attributes that a loaded model class has, with the live objects in them.
        model: The model whose weights are saved.
        parts: What is saved with it, by the name that a pipeline takes it under.
        batching: Whether rows of concurrent requests may be joined.
        repeatable: Whether the same request gets the same answer twice; false when answers are sampled.
        notes: What the user should know.
    """

    model_class: str
    settings: Mapping[str, Any]
    live: Mapping[str, Any]
    model: Any
    parts: Mapping[str, Any]
    batching: BatchingMode = "none"
    repeatable: bool = True
    notes: tuple[str, ...] = field(default=())

"""Whether texts may share a padded batch: tried out on the live model rather than believed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from truss.frameworks.trial import same_values

BATCH_SIZE = 32
"""Texts per batch: enough to keep a CPU or a small GPU busy, little enough to keep answers quick."""

_TEXTS = (
    "a",
    "a text of several words, rather longer than the first, so that that one is padded",
    "two words",
)

_TOLERANCES = {"float64": 1e-9, "float32": 1e-5}
"""Of the largest value: rounding, and no more. Half precision rounds to about a hundredth."""


def best_batch_size(predict: Callable[[int, list[Any]], Any], kind: str, dtype: str) -> int:
    """`BATCH_SIZE` when texts of different lengths in one batch are answered as each by itself, else 1.

    Args:
        predict: Answers inputs with a batch size.
        kind: `CrossEncoder` takes pairs of texts, any other kind texts.
        dtype: The number format of the weights, which says how equal answers must be.
    """
    inputs: list[Any] = [["a question", text] if kind == "CrossEncoder" else text for text in _TEXTS]
    try:
        separate, joined = predict(1, inputs), predict(len(inputs), inputs)
    except Exception:  # noqa: BLE001 - a tokenizer that cannot pad, a text the model cannot take
        return 1
    return BATCH_SIZE if same_values(separate, joined, _TOLERANCES.get(dtype, 2e-2)) else 1

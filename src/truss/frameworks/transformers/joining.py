"""Whether texts may share a padded batch: tried out on the live model rather than believed.

With an attention mask most models answer for a text in a padded batch what they answer for the text alone,
up to the rounding of sums. Some do not (convolutions and Fourier mixing see the padding), and no table of
architectures is complete, so three texts of different lengths are answered both ways.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isclose
from typing import Any

BATCH_SIZE = 32
"""Texts per batch: enough to keep a CPU or a small GPU busy, little enough to keep answers quick."""

_TEXTS = [
    "a",
    "a text of several words, rather longer than the first, so that that one is padded",
    "two words",
]

# Relative and absolute; a half-precision model's own rounding is about a hundredth.
_TOLERANCES = {"torch.float64": (1e-9, 1e-9), "torch.float32": (1e-4, 1e-5)}
_HALF_PRECISION = (2e-2, 2e-2)


def best_batch_size(predict: Callable[[int, list[str]], list[Any]], dtype: object) -> int:
    """`BATCH_SIZE` when batched answers are the separate ones, else 1.

    Args:
        predict: Answers texts with a batch size.
        dtype: The number format of the weights, which says how equal answers must be.
    """
    tolerance = _TOLERANCES.get(str(dtype), _HALF_PRECISION)
    try:
        separate, joined = predict(1, _TEXTS), predict(len(_TEXTS), _TEXTS)
    except Exception:  # noqa: BLE001 - a tokenizer that cannot pad, a text the model cannot take
        return 1
    return BATCH_SIZE if _close(separate, joined, *tolerance) else 1


def _close(one: Any, other: Any, relative: float, absolute: float) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(
            _close(one[key], other[key], relative, absolute) for key in one
        )
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(
            _close(first, second, relative, absolute) for first, second in zip(one, other, strict=True)
        )
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=relative, abs_tol=absolute)
    return bool(one == other)

"""Let the numbers of a live answer say how exact they are, so that a copy is compared no closer than that.

Answers hold Python's floats whatever the model computes in. But single precision is the same again only to
its own last digits: the order in which sums are taken depends on where arrays lie and on how many rows
there are.
"""

from __future__ import annotations

from typing import Any


def in_precision(value: Any, dtype: str) -> Any:
    """An answer whose floats have the type that the model computes in.

    Args:
        value: The answer: floats in lists and dicts, to any depth; other values stay as they are.
        dtype: NumPy's name of the type; `bfloat16`, which NumPy lacks, is taken for float16.
    """
    import numpy as np

    if isinstance(value, dict):
        return {key: in_precision(item, dtype) for key, item in value.items()}
    if isinstance(value, list):
        return [in_precision(item, dtype) for item in value]
    if isinstance(value, float) and dtype in ("float32", "float16", "bfloat16"):
        return np.float32(value) if dtype == "float32" else np.float16(value)
    return value

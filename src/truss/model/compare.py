"""Compare two answers, numbers within the precision of their type.

The same model gives answers that differ in the last digits between machines, library versions and
batch sizes. How many digits count is decided by the type with the fewest among the expected answer's
arrays: a float32 network's answers are compared as float32 numbers even where they came out as Python
floats.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from truss.model.images import same_image
from truss.model.values import to_plain

TOLERANCES = {"float16": 1e-2, "bfloat16": 2e-2, "float32": 1e-4, "float64": 1e-9}
"""Relative difference allowed per type: its resolution, with room for sums taken in another order."""

_SHOWN = 5


def difference(expected: Any, actual: Any, tolerance: float | None = None) -> str | None:
    """What sets two answers apart, readable; None when nothing does.

    Args:
        expected: The answer that is right.
        actual: The answer to judge.
        tolerance: Relative difference allowed between numbers, and absolute below 1; default: that of
            the least precise number type in `expected`.

    Returns:
        The first differences with their paths, one a line.
    """
    allowed = tolerance_of(expected) if tolerance is None else tolerance
    found = list(islice(_differences(to_plain(expected), to_plain(actual), allowed, ""), _SHOWN + 1))
    if not found:
        return None
    more = ["... and more"] if len(found) > _SHOWN else []
    return "\n".join([*found[:_SHOWN], *more])


def tolerance_of(answer: Any) -> float:
    """The tolerance of the least precise number type in an answer."""
    return max((TOLERANCES[name] for name in _float_types(answer)), default=TOLERANCES["float64"])


def _float_types(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _float_types(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _float_types(item)
    elif hasattr(value, "dtypes") and hasattr(value.dtypes, "__iter__"):  # a DataFrame has one per column
        yield from (name for name in map(str, value.dtypes) if name in TOLERANCES)
    elif hasattr(value, "dtype"):
        name = str(value.dtype).rpartition(".")[2]  # torch writes torch.float32
        if name in TOLERANCES:
            yield name


def _differences(expected: Any, actual: Any, tolerance: float, path: str) -> Iterator[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        yield from _mapping_differences(expected, actual, tolerance, path)
    elif isinstance(expected, list) and isinstance(actual, list):
        if len(expected) != len(actual):
            yield f"{path or 'the answer'}: expected {len(expected)} items, got {len(actual)}"
        for index, (one, other) in enumerate(zip(expected, actual, strict=False)):
            yield from _differences(one, other, tolerance, f"{path}[{index}]")
    elif not _equal(expected, actual, tolerance):
        yield f"{path or 'the answer'}: expected {_shown(expected)}, got {_shown(actual)}"


def _mapping_differences(
    expected: dict[str, Any], actual: dict[str, Any], tolerance: float, path: str
) -> Iterator[str]:
    for key, value in expected.items():
        place = f"{path}.{key}".lstrip(".")
        if key in actual:
            yield from _differences(value, actual[key], tolerance, place)
        else:
            yield f"{place}: expected {_shown(value)}, and it is missing"
    for key in actual.keys() - expected.keys():
        yield f"{path}.{key}".lstrip(".") + f": not expected, got {_shown(actual[key])}"


def _equal(expected: Any, actual: Any, tolerance: float) -> bool:
    if isinstance(expected, float) or isinstance(actual, float):
        return (
            _is_number(expected)
            and _is_number(actual)
            and math.isclose(expected, actual, rel_tol=tolerance, abs_tol=tolerance)
        )
    if type(expected) is not type(actual):
        return False
    if expected == actual:
        return True
    return isinstance(expected, str) and same_image(expected, actual, tolerance)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

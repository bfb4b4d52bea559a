"""Arrays in typed requests: fields that are `numpy.ndarray`, and arrays where a type has lists.

NumPy is imported only where a type names it.
"""

from __future__ import annotations

import typing
from typing import Any

_EXACT = 2**53
"""Below it a float stands for one integer."""


def read(kind: Any, value: Any) -> Any:
    """A list as the array that a field is to be: what `msgspec.convert` asks about types of other libraries.

    Raises:
        ValueError: it is not a list of numbers, flags or texts in regular rows, or the type is no array's.
    """
    if not _is_array(kind):
        raise ValueError(f"{described(kind)} cannot be read from a body")
    import numpy

    try:
        array = numpy.asarray(value, _dtype(kind))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"Expected {described(kind)}") from error
    if array.dtype.hasobject or array.ndim == 0:
        raise ValueError(f"Expected {described(kind)}")
    return array


def plain(value: Any) -> Any:
    """The value with lists in place of arrays, and 7 in place of 7.0, which JSON does not tell apart."""
    if type(value) is float:
        return int(value) if value.is_integer() and abs(value) < _EXACT else value
    if type(value).__module__ == "numpy" and hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def described(kind: Any) -> str:
    """A type of another library in words."""
    if not _is_array(kind):
        return str(getattr(kind, "__name__", kind))
    dtype = _dtype(kind)
    return "array" if dtype is None else f"array of {dtype.__name__}"


def schema(kind: Any) -> dict[str, Any]:
    """JSON Schema of a type of another library: an array's, or anything."""
    return {"type": "array"} if _is_array(kind) else {"description": f"a {described(kind)}"}


def _is_array(kind: Any) -> bool:
    whole = typing.get_origin(kind) or kind
    return getattr(whole, "__module__", "") == "numpy" and getattr(whole, "__name__", "") == "ndarray"


def _dtype(kind: Any) -> Any | None:
    """The scalar type in `numpy.typing.NDArray[...]`; None where it is open."""
    dtype = typing.get_args(kind)[1:]
    inner = typing.get_args(dtype[0]) if dtype else ()
    return inner[0] if inner and isinstance(inner[0], type) else None

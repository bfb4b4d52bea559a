"""Say where a request does not fit the model's signature, once the model has refused it.

A signature may be narrower than the model, such as one that was read off an example. So nothing is
refused that the model answers, and requests that are answered cost nothing here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any, NamedTuple

from truss.config import Column, Signature, Tensor

_MOST_NAMED = 12
_KINDS = {"f": "number", "i": "number", "u": "number", "b": "bool", "c": "number"}


class Misfit(NamedTuple):
    """What about a request does not fit, and what would."""

    message: str
    where: str
    hint: str


def misfit(request: Any, signature: Signature, complaint: str = "") -> Misfit | None:
    """The first place where a request does not fit; None when it fits, or nothing is known.

    Args:
        request: A decoded request, `{"inputs": rows}`.
        signature: What the model takes.
        complaint: What the model said about the request: values that are missing or not finite are
            mentioned only where it speaks of them.
    """
    if not signature:
        return None
    if not isinstance(request, dict):
        message = f"it is {_named_kind(request)}, and no mapping with `inputs`"
        return Misfit(message, "the request", f"send {_example(signature)}")
    if "inputs" not in request:
        return Misfit("the request has no `inputs`", "inputs", f"send {_example(signature)}")
    rows = _plain(request["inputs"])
    if isinstance(rows, dict):
        return _misfit_by_name(rows, signature)
    if not isinstance(rows, (list, tuple)):
        return None
    found = _places(rows, signature)
    first = next(found, None)
    if first is None and not rows:
        first = "inputs", "it has no rows"
    if first is None and _speaks_of_missing(complaint):
        first = next(_missing_values(rows, signature.columns), None)
    if first is None and "could not convert string to float" in complaint:
        first = next(_texts(rows, signature.columns), None)
    if first is None:
        return None
    where, problem = first
    return Misfit(problem, where, f"send {_example(signature)}")


def _misfit_by_name(given: dict[Any, Any], signature: Signature) -> Misfit | None:
    """What is missing of inputs that are given as a mapping, a list for each."""
    names = [column.name for column in signature.columns] + [tensor.name for tensor in signature.tensors]
    missing = [name for name in names if name and name not in given]
    if missing:
        return Misfit(f"lacks {_listed(map(repr, missing))}", "inputs", f"send {_example(signature)}")
    first = next(_in_lists(given, signature.tensors), None)
    return None if first is None else Misfit(first[1], first[0], f"send {_example(signature)}")


def _in_lists(given: dict[Any, Any], tensors: Sequence[Tensor]) -> Iterator[tuple[str, str]]:
    for tensor in tensors:
        if tensor.name:
            place, shape = f"inputs[{tensor.name!r}]", tensor.shape
            yield from _in_array(place, given[tensor.name], shape, tensor.dtype, 0)


def _places(rows: Sequence[Any], signature: Signature) -> Iterator[tuple[str, str]]:
    if signature.columns:
        return _in_table(rows, signature.columns)
    if len(signature.tensors) == 1 and not signature.tensors[0].name:
        return _in_tensor(rows, signature.tensors[0])
    return _in_named(rows, signature.tensors)


def _in_table(rows: Sequence[Any], columns: Sequence[Column]) -> Iterator[tuple[str, str]]:
    for number, row in enumerate(rows):
        place = f"inputs[{number}]"
        if isinstance(row, dict):
            yield from _in_record(place, row, columns)
        elif isinstance(row, (list, tuple)):
            if len(row) != len(columns):
                names = _listed(column.name for column in columns)
                yield place, f"{_values(len(row))}; the model takes {len(columns)}: {names}"
            for column, value in zip(columns, row, strict=False):
                yield from _in_value(f"{place}, column {column.name!r}", value, column.dtype)
        elif len(columns) > 1:
            yield place, f"{_kind(row)}; the model takes a record, or a list of {len(columns)} values"


def _in_record(place: str, row: dict[Any, Any], columns: Sequence[Column]) -> Iterator[tuple[str, str]]:
    missing = [column.name for column in columns if column.name not in row]
    if missing:
        one = len(missing) == 1
        meant = get_close_matches(missing[0], [str(key) for key in row], 1)
        similar = f"; it has {meant[0]!r}" if one and meant else ""
        yield place, f"lacks the column{'' if one else 's'} {_listed(map(repr, missing))}{similar}"
    for column in columns:
        if column.name in row:
            yield from _in_value(f"{place}, column {column.name!r}", row[column.name], column.dtype)


def _in_value(place: str, value: Any, dtype: str) -> Iterator[tuple[str, str]]:
    wanted = _wanted(dtype)
    if value is None or wanted is None or _is(value, wanted):
        return
    yield place, f"{_kind(value)} where the model takes {dtype}"


def _in_named(rows: Sequence[Any], tensors: Sequence[Tensor]) -> Iterator[tuple[str, str]]:
    names = [tensor.name for tensor in tensors]
    for number, row in enumerate(rows):
        place = f"inputs[{number}]"
        if not isinstance(row, dict):
            yield place, f"{_kind(row)}; the model takes a mapping with {_listed(names)}"
            continue
        missing = [name for name in names if name not in row]
        if missing:
            yield place, f"lacks {_listed(map(repr, missing))}"
        for tensor in tensors:
            if tensor.name in row:
                inner = None if tensor.shape is None else tensor.shape[1:]
                yield from _in_array(f"{place}[{tensor.name!r}]", row[tensor.name], inner, tensor.dtype, 1)


def _in_tensor(rows: Sequence[Any], tensor: Tensor) -> Iterator[tuple[str, str]]:
    inner = None if tensor.shape is None else tensor.shape[1:]
    for number, row in enumerate(rows):
        yield from _in_array(f"inputs[{number}]", row, inner, tensor.dtype, 1)


def _in_array(
    place: str, value: Any, shape: Sequence[int | None] | None, dtype: str, axis: int
) -> Iterator[tuple[str, str]]:
    """Misfits of a value against the lengths of its axes, the first of which is the request's `axis`."""
    value = _plain(value)
    if isinstance(value, dict):
        yield place, "a mapping where the model takes numbers in lists"
    elif isinstance(value, (list, tuple)):
        if shape is not None and not shape:
            yield place, "a list where the model takes one value"
            return
        wanted = None if shape is None else shape[0]
        if wanted is not None and len(value) != wanted:
            yield place, f"{_values(len(value))} along axis {axis}; the model takes {wanted}"
        inner = None if shape is None else shape[1:]
        for number, item in enumerate(value):
            yield from _in_array(f"{place}[{number}]", item, inner, dtype, axis + 1)
    elif shape:
        yield place, f"{_kind(value)} where the model takes a list"
    else:
        yield from _in_value(place, value, dtype)


def _missing_values(rows: Sequence[Any], columns: Sequence[Column]) -> Iterator[tuple[str, str]]:
    for place, value in _cells(rows, columns):
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            spelled = "null" if value is None else str(value)
            yield place, f"{spelled}, which this model does not take"


def _texts(rows: Sequence[Any], columns: Sequence[Column]) -> Iterator[tuple[str, str]]:
    """The cells that are no numbers, for models that have said that one should have been, and not which."""
    for place, value in _cells(rows, columns):
        if isinstance(value, str) and not _is_number(value):
            yield place, f"{_kind(value)} where the model takes a number"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _cells(rows: Sequence[Any], columns: Sequence[Column]) -> Iterator[tuple[str, Any]]:
    """The values in rows, each with its row and its column, by name where it has one, or its indices."""
    names = [column.name for column in columns]
    for number, row in enumerate(rows):
        if isinstance(row, dict):
            items: Iterable[tuple[Any, Any]] = row.items()
        elif isinstance(row, (list, tuple)):
            items = zip(names, row, strict=True) if len(names) == len(row) else enumerate(row)
        else:
            yield f"inputs[{number}]", row
            continue
        for key, value in items:
            if isinstance(value, (list, tuple)):
                yield from _in_lists_within(f"inputs[{number}][{key!r}]", value)
            else:
                column = f"column {key!r}" if isinstance(key, str) else f"column {key} (counted from 0)"
                yield f"inputs[{number}], {column}", value


def _in_lists_within(place: str, values: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """The values of a list, and of the lists in it, each with its indices."""
    for number, value in enumerate(values):
        inner = f"{place}[{number}]"
        if isinstance(value, (list, tuple)):
            yield from _in_lists_within(inner, value)
        else:
            yield inner, value


def _speaks_of_missing(complaint: str) -> bool:
    return _OF_MISSING.search(complaint) is not None


_OF_MISSING = re.compile(r"\b(nans?|missing|infinity|nonetype|(non-?)?finite|nulls?)\b", re.IGNORECASE)


def _wanted(dtype: str) -> str | None:
    """`number`, `bool` or `text`; None for what JSON values cannot be told apart for."""
    if dtype.startswith(("float", "int", "uint", "bfloat", "complex", "double")):
        return "number"
    return {"bool": "bool", "text": "text", "str": "text"}.get(dtype)


def _is(value: Any, wanted: str) -> bool:
    if hasattr(value, "dtype"):
        return _KINDS.get(value.dtype.kind, "text") == wanted
    # JSON clients write flags as true, and models take them as 1.
    return isinstance(value, {"number": (int, float), "bool": (bool, int), "text": (str,)}[wanted])


def _kind(value: Any) -> str:
    """A value in words, short enough for a message."""
    if value is None:
        return "null"
    if isinstance(value, str):
        shown = value if len(value) <= 20 else value[:20] + "..."
        return f"the text {shown!r}"
    if isinstance(value, (list, tuple)):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return f"the value {value!r}"[:60]


def _named_kind(request: Any) -> str:
    """What a request that is no mapping is, without its values: a frame's take many lines."""
    plain = request is None or isinstance(request, (str, list, tuple))
    return _kind(request) if plain else f"of type {type(request).__name__}"


def _values(count: int) -> str:
    return "1 value" if count == 1 else f"{count} values"


def _listed(names: Iterable[str]) -> str:
    every = list(names)
    more = f", and {len(every) - _MOST_NAMED} more" if len(every) > _MOST_NAMED else ""
    return ", ".join(every[:_MOST_NAMED]) + more


def _plain(value: Any) -> Any:
    """Lists out of an array or a frame, which come from the binary route and from notebooks."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return value.to_dict("records")
    return value.tolist() if hasattr(value, "tolist") and hasattr(value, "dtype") else value


def _example(signature: Signature) -> str:
    """The form of a request in one line."""
    if signature.columns:
        fields = [f'"{column.name}": {column.dtype}' for column in signature.columns[:_MOST_NAMED]]
        dots = ", ..." if len(signature.columns) > _MOST_NAMED else ""
        return f'{{"inputs": [{{{", ".join(fields)}{dots}}}]}}'
    if len(signature.tensors) == 1 and not signature.tensors[0].name:
        return f'{{"inputs": rows}}, {_described(signature.tensors[0])}'
    parts = [f'"{tensor.name}": {_described(tensor)}' for tensor in signature.tensors]
    return f'{{"inputs": [{{{", ".join(parts)}}}]}}'


def _described(tensor: Tensor) -> str:
    if tensor.shape is None:
        return tensor.dtype
    lengths = " x ".join("n" if length is None else str(length) for length in tensor.shape)
    return f"{tensor.dtype} of {lengths}"

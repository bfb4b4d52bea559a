"""What a request's inputs hold: as the object says it, completed by an example."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from truss.config import Column, Signature, Tensor

_MOST_COLUMNS = 2000
_LOOKED_AT = 100


def completed(stated: Signature, request: Any) -> Signature:
    """The signature that an object states; what it leaves open is read off an example.

    Args:
        stated: As the object says it; empty when it says nothing.
        request: An example, such as `{"inputs": rows}`, or None.

    Returns:
        The stated names and shapes, and types where they were open. Where nothing is stated, the columns
        of records or the shape of arrays; nothing where the inputs are neither, such as texts.
    """
    rows = _rows(request)
    if not rows:
        return stated
    seen = _seen(rows)
    if not stated:
        return seen
    if stated.columns:
        return Signature(columns=_with_types(stated.columns, rows))
    if len(stated.tensors) == 1 and len(seen.tensors) == 1 and stated.tensors[0].dtype == "any":
        (only,) = stated.tensors
        return Signature(tensors=[Tensor(name=only.name, dtype=seen.tensors[0].dtype, shape=only.shape)])
    return stated


def as_config(signature: Signature) -> dict[str, Any]:
    """The signature as config.yaml holds it; empty when nothing is known, or there are too many columns."""
    if len(signature.columns) > _MOST_COLUMNS:
        return {}
    columns = [{"name": column.name, "dtype": column.dtype} for column in signature.columns]
    tensors = [_tensor_as_config(tensor) for tensor in signature.tensors]
    return {key: value for key, value in (("columns", columns), ("tensors", tensors)) if value}


def _tensor_as_config(tensor: Tensor) -> dict[str, Any]:
    values = {"name": tensor.name, "dtype": tensor.dtype, "shape": tensor.shape}
    return {key: value for key, value in values.items() if value not in ("", None)}


def is_frame(value: Any) -> bool:
    """Whether it is a frame of pandas, or one that gives its columns and records as pandas does."""
    return hasattr(value, "columns") and hasattr(value, "to_dict")


def _rows(request: Any) -> list[Any]:
    """The first rows of an example, as plain values or arrays."""
    given = request if isinstance(request, dict) else {}
    rows: Any = given.get("inputs", given.get("instances"))
    if is_frame(rows):
        records: list[Any] = rows.head(_LOOKED_AT).to_dict("records")
        return records
    if hasattr(rows, "__array__") or isinstance(rows, (list, tuple)):
        return [_plain_series(row) for row in rows[:_LOOKED_AT]]
    return []


def _plain_series(row: Any) -> Any:
    """The values of a series of pandas, whose own keys are not places; anything else as it is."""
    return row.tolist() if hasattr(row, "iloc") and hasattr(row, "tolist") else row


def _seen(rows: Sequence[Any]) -> Signature:
    """What the rows of an example look like."""
    if all(isinstance(row, dict) for row in rows):
        names = [str(name) for name in rows[0] if all(name in row for row in rows)]
        if any(_shape(value) for row in rows for value in row.values()):
            return Signature()  # named arrays, whose lengths may well vary
        return Signature(columns=_with_types([Column(name=name) for name in names if name], rows))
    shapes = {_shape(row) for row in rows}
    if len(shapes) > 1 or None in shapes or shapes == {()}:
        return Signature()
    (shape,) = shapes
    dtypes = {_dtype(leaf) for row in rows for leaf in _leaves(row)}
    if not dtypes <= {"int64", "float64", "bool"} and len(dtypes) > 1:
        dtypes = {"any"}
    dtype = dtypes.pop() if len(dtypes) == 1 else "float64"
    return Signature(tensors=[Tensor(dtype=dtype, shape=[None, *shape])] if shape else [])


def _with_types(columns: Sequence[Column], rows: Sequence[Any]) -> list[Column]:
    """The columns with the types that the rows' values have, where a column's is open."""
    return [
        column
        if column.dtype != "any"
        else Column(name=column.name, dtype=_common([_cell(row, column.name, place) for row in rows]))
        for place, column in enumerate(columns)
    ]


def _cell(row: Any, name: str, place: int) -> Any:
    if isinstance(row, dict):
        return row.get(name)
    return row[place] if hasattr(row, "__len__") and place < len(row) else None


def _common(values: Sequence[Any]) -> str:
    """The one type of a column's values, missing ones aside; integers among floats are floats."""
    dtypes = {_dtype(value) for value in values if value is not None}
    if dtypes <= {"int64", "float64"} and len(dtypes) == 2:
        return "float64"
    return dtypes.pop() if len(dtypes) == 1 else "any"


def _dtype(value: Any) -> str:
    if hasattr(value, "dtype"):
        name = str(value.dtype).removeprefix("torch.")
        return "text" if name.startswith(("<U", "str")) else "any" if name == "object" else name
    for kind, name in ((bool, "bool"), (int, "int64"), (float, "float64"), (str, "text")):
        if isinstance(value, kind):
            return name
    return "any"


def _shape(value: Any) -> tuple[int, ...] | None:
    """The lengths of a value's axes; None when they are unequal."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return tuple(int(length) for length in value.shape)
    if not isinstance(value, (list, tuple)):
        return ()
    shapes = {_shape(item) for item in value}
    if len(shapes) > 1 or None in shapes:
        return None
    inner = shapes.pop() if shapes else ()
    return (len(value), *(inner or ()))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return [leaf for item in value for leaf in _leaves(item)]
    return [value]

"""What a model of MLflow takes, as the `signature` of a config and as rows for a trial."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from truss.config import Column, Signature
from truss.frameworks.signatures import of_row_inputs, of_width
from truss.frameworks.trial import RowInput

_COLUMN_DTYPES = MappingProxyType(
    {
        "boolean": "bool",
        "integer": "int32",
        "long": "int64",
        "float": "float32",
        "double": "float64",
        "string": "text",
    }
)
"""The types of columns whose values JSON can be told apart for; dates, bytes and nested ones are not."""


def signature_of(schema: Any) -> Signature:
    """The signature of a schema of MLflow; empty for a model without one, or whose inputs are not rows."""
    if schema is None:
        return Signature()
    if schema.is_tensor_spec():
        return of_row_inputs(_tensor_rows(schema)) if _takes_any_number(schema) else Signature()
    if not schema.has_input_names():
        return of_width(len(schema.inputs))
    return Signature(columns=[Column(name=spec.name, dtype=_dtype(spec)) for spec in schema.inputs])


def trial_inputs(schema: Any) -> list[RowInput]:
    """Rows that may be drawn at random for a trial; none where a column holds no numbers."""
    if schema is None:
        return []
    if schema.is_tensor_spec():
        return _tensor_rows(schema) if _takes_any_number(schema) else []
    dtypes = [_dtype(spec) for spec in schema.inputs]
    if any(dtype in ("any", "text") for dtype in dtypes):
        return []
    return [RowInput(str(place), dtype, ()) for place, dtype in enumerate(dtypes)]


def model_input(arrays: Mapping[str, Any], schema: Any) -> Any:
    """The arrays of `trial_inputs` as the model takes them."""
    import pandas as pd

    if not schema.is_tensor_spec():
        table = pd.DataFrame(dict(arrays))
        return table.set_axis(schema.input_names() or range(len(arrays)), axis=1)
    return dict(arrays) if schema.has_input_names() else arrays[""]


def _takes_any_number(schema: Any) -> bool:
    """Whether the first axis of every tensor is open."""
    return all(len(spec.shape) > 0 and spec.shape[0] < 0 for spec in schema.inputs)


def _tensor_rows(schema: Any) -> list[RowInput]:
    return [
        RowInput(
            spec.name or "",
            "object" if spec.type.kind in "OU" else str(spec.type),
            tuple(None if length < 0 else int(length) for length in spec.shape[1:]),
        )
        for spec in schema.inputs
    ]


def _dtype(spec: Any) -> str:
    """The type of a column; `any` for lists and mappings."""
    return _COLUMN_DTYPES.get(getattr(spec.type, "name", ""), "any")

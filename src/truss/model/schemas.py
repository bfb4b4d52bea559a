"""JSON Schema (2020-12) of what a model takes and answers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from truss.config import Column, Signature, Tensor
from truss.model import arrays
from truss.model.annotations import is_pydantic
from truss.model.values import to_plain

logger = logging.getLogger("truss.model")

Schema = dict[str, Any]

DEFINED = "#/$defs/"
"""Before the names of definitions, in references to them."""


def of_type(kind: Any, mode: Literal["validation", "serialization"] = "validation") -> Schema:
    """The schema of a type; what it names is in `$defs`. Empty, which is anything, where there is none.

    Args:
        kind: The type.
        mode: Whether values are read as it or written, which differs for some of pydantic's types.
    """
    try:
        if is_pydantic(kind):
            from pydantic import TypeAdapter

            # Answers are written under the fields' own names (`model_dump`), requests are read by alias.
            schema = TypeAdapter(kind).json_schema(mode=mode, by_alias=mode == "validation")
        else:
            schema = msgspec.json.schema(kind, schema_hook=arrays.schema)
        return dict(to_plain(schema))  # defaults may be of any type
    except Exception as error:  # noqa: BLE001  # libraries raise many kinds; a model is served without a schema
        logger.debug("no JSON Schema of %r: %s", kind, error)
        return {}


def resolved(schema: Schema) -> Schema:
    """The schema that another refers to, if it does nothing but that."""
    seen: set[str] = set()
    found = schema
    while isinstance(name := found.get("$ref"), str) and name.startswith(DEFINED) and name not in seen:
        seen.add(name)
        found = schema.get("$defs", {}).get(name.removeprefix(DEFINED), {})
    return found


def of_signature(signature: Signature) -> Schema:
    """The schema of `{"inputs": rows}` as far as a signature tells; requests are not held against it."""
    rows: Schema = {"type": "array"}
    if signature.columns:
        rows["items"] = {"anyOf": [_record(signature.columns), _row(signature.columns)]}
    elif len(signature.tensors) == 1 and not signature.tensors[0].name:
        rows["items"] = _nested(signature.tensors[0])
    elif signature.tensors:
        named = {tensor.name: _nested(tensor) for tensor in signature.tensors}
        rows["items"] = {"type": "object", "properties": named, "required": list(named)}
    return {"type": "object", "properties": {"inputs": rows}, "required": ["inputs"]}


def of_example(value: Any) -> Schema:
    """The schema of values that look like one, itself of JSON; nothing in it is required."""
    if isinstance(value, dict):
        return {"type": "object", "properties": {name: of_example(part) for name, part in value.items()}}
    if isinstance(value, list):
        kinds = [of_example(item) for item in value]
        alike = kinds and all(kind == kinds[0] for kind in kinds)
        return {"type": "array", "items": kinds[0]} if alike else {"type": "array"}
    names = ((bool, "boolean"), ((int, float), "number"), (str, "string"))
    return next(({"type": name} for kind, name in names if isinstance(value, kind)), {})


def _record(columns: Sequence[Column]) -> Schema:
    cells = {column.name: _cell(column.dtype) for column in columns}
    return {"type": "object", "properties": cells, "required": list(cells)}


def _row(columns: Sequence[Column]) -> Schema:
    cells = [_cell(column.dtype) for column in columns]
    return {"type": "array", "prefixItems": cells, "minItems": len(cells), "maxItems": len(cells)}


def _nested(tensor: Tensor) -> Schema:
    """One row of a tensor."""
    schema = _value(tensor.dtype)
    for length in reversed((tensor.shape or [])[1:]):
        schema = {"type": "array", "items": schema}
        if length is not None:
            schema |= {"minItems": length, "maxItems": length}
    return schema if tensor.shape is not None else {}


def _cell(dtype: str) -> Schema:
    """A table's cell: it may be unknown."""
    schema = _value(dtype)
    return {**schema, "type": [schema["type"], "null"]} if schema else {}


def _value(dtype: str) -> Schema:
    if dtype.startswith(("int", "uint")):
        return {"type": "integer"}
    if dtype.startswith(("float", "bfloat", "double")):
        return {"type": "number"}
    kind = {"bool": "boolean", "text": "string", "str": "string"}.get(dtype)
    return {"type": kind} if kind else {}

"""A value that a JSON Schema allows, to show in an example."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from truss.model.schemas import DEFINED, Schema

_EMPTY: tuple[Any, ...] = (None, [], {})
_MOST_ITEMS = 100


def sample(schema: Schema, text: str = "text") -> Any:
    """A value as far as types, bounds, defaults and examples tell; patterns, for one, are not looked at.

    Args:
        schema: The schema; what it refers to is in its `$defs`.
        text: What stands for texts of no known format.
    """
    return _Sampler(schema.get("$defs", {}), text).of(schema)


@dataclass(frozen=True)
class _Sampler:
    """Makes values.

    Attributes:
        definitions: The schemas that may be referred to.
        text: What stands for texts of no known format.
        within: The names of those that are being made.
    """

    definitions: Mapping[str, Schema]
    text: str
    within: tuple[str, ...] = ()

    def of(self, schema: Any) -> Any:
        """A value of a schema."""
        if not isinstance(schema, dict):
            return None
        stated = _stated(schema)
        if stated not in _EMPTY:
            return stated
        if "$ref" in schema:
            return self._referred(schema["$ref"].removeprefix(DEFINED))
        for key in ("anyOf", "oneOf", "allOf"):
            if schema.get(key):
                return self.of(_first(schema[key]))
        return self._of_type(schema)

    def _referred(self, name: str) -> Any:
        if name in self.within:
            return None
        return replace(self, within=(*self.within, name)).of(self.definitions.get(name, {}))

    def _of_type(self, schema: Schema) -> Any:
        kind: Any = schema.get("type")
        kind = _first(kind) if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema:
            return self._object(schema)
        if kind == "array":
            return self._array(schema)
        if kind in ("integer", "number"):
            return _number(schema, whole=kind == "integer")
        return _text(schema, self.text) if kind == "string" else kind == "boolean" or None

    def _object(self, schema: Schema) -> dict[str, Any]:
        needed = set(schema.get("required", ()))
        parts = schema.get("properties", {})
        return {name: self.of(part) for name, part in parts.items() if name in needed or _is_shown(part)}

    def _array(self, schema: Schema) -> list[Any]:
        fixed = [self.of(part) for part in schema.get("prefixItems", ())]
        items = schema.get("items")
        if fixed or schema.get("maxItems") == 0 or not isinstance(items, dict):
            return fixed
        if items.get("$ref", "").removeprefix(DEFINED) in self.within:
            return []
        return [self.of(items)] * min(max(1, schema.get("minItems", 1)), _MOST_ITEMS)


def _stated(schema: Schema) -> Any:
    """A value that the schema itself names."""
    example, allowed = [(schema.get(key) or [None])[0] for key in ("examples", "enum")]
    values = (schema.get("const"), example, schema.get("default"), allowed)
    return next((value for value in values if value not in _EMPTY), None)


def _is_shown(part: Any) -> bool:
    """Whether a value that may be left out is worth showing."""
    return isinstance(part, dict) and (part.get("examples") or part.get("default")) not in _EMPTY


def _first(kinds: Sequence[Any]) -> Any:
    """The first of several that is not null."""
    return next((kind for kind in kinds if kind not in ("null", {"type": "null"})), kinds[0])


def _number(schema: Schema, *, whole: bool) -> int | float:
    step = schema.get("multipleOf") or (1 if whole else 0.5)
    low = schema.get("minimum", schema.get("exclusiveMinimum", -math.inf) + step)
    high = schema.get("maximum", schema.get("exclusiveMaximum", math.inf) - step)
    found = (low + high) / 2 if low > high else min(max(1, low), high)
    if "multipleOf" in schema:
        found = math.ceil(found / step) * step
    return int(found) if whole else float(found)


_FORMATS = {
    "date-time": "2025-01-01T00:00:00Z",
    "date": "2025-01-01",
    "time": "12:00:00Z",
    "duration": "PT1S",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "decimal": "1",
}


def _text(schema: Schema, text: str) -> str:
    if schema.get("contentEncoding") == "base64":
        return "AAAA"
    known = _FORMATS.get(schema.get("format", ""), text)
    return known.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]

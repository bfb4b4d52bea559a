"""The JSON schema of `config.yaml`, generated from the types, for editors to complete and check with."""

from __future__ import annotations

from typing import Any

import msgspec

from truss.config.schema import TrussConfig


def json_schema() -> dict[str, Any]:
    """The schema (draft 2020-12). Keys it does not know are allowed, as they are in the file."""
    schema = msgspec.json.schema(TrussConfig)
    for definition in schema["$defs"].values():
        definition.get("properties", {}).pop("unknown", None)
    own = schema["$defs"].pop("TrussConfig")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_relaxed(own),
        "title": "Truss config.yaml",
        "$defs": {name: _relaxed(definition) for name, definition in sorted(schema["$defs"].items())},
    }


def _relaxed(node: Any) -> Any:
    """Accept what reading accepts: numbers where text is meant, nothing where a collection is."""
    if isinstance(node, list):
        return [_relaxed(item) for item in node]
    if not isinstance(node, dict):
        return node
    made = {key: _relaxed(value) for key, value in node.items()}
    if made.get("type") == "string":
        made["type"] = ["string", "number", "boolean"]
    elif made.get("type") in ("array", "object"):
        made["type"] = [made["type"], "null"]
    return made

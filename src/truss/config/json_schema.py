"""The JSON schema of config.yaml, made from the types; editors complete and check with it.

It describes the recommended way to write each value. Reading takes more: `"4"` for 4, null for a key
left out.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from truss.config.schema import TrussConfig

SCHEMA_FILE = Path(__file__).with_name("config.schema.json")
"""The schema as a file, shipped with the package."""


def json_schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of config.yaml."""
    import msgspec

    schema = msgspec.json.schema(TrussConfig)
    definitions = schema["$defs"]
    for definition in definitions.values():
        definition.get("properties", {}).pop("unknown", None)
        definition.pop("title", None)
    title = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "config.yaml of a Truss"}
    return {**title, **schema}


def text() -> str:
    """The schema as its file holds it."""
    return json.dumps(json_schema(), indent=1, ensure_ascii=False, sort_keys=False) + "\n"

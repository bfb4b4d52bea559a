"""`config.yaml`: its schema, reading, comment-preserving edits."""

from truss.config.edit import append_value, remove_value, render_config, set_value
from truss.config.json_schema import json_schema
from truss.config.read import CONFIG_FILE, config_to_dict, parse_config, read_config, unknown_keys
from truss.config.schema import Batching, Resources, Runtime, TrussConfig, parse_size

__all__ = [
    "CONFIG_FILE",
    "Batching",
    "Resources",
    "Runtime",
    "TrussConfig",
    "append_value",
    "config_to_dict",
    "json_schema",
    "parse_config",
    "parse_size",
    "read_config",
    "remove_value",
    "render_config",
    "set_value",
    "unknown_keys",
]

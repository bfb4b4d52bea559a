"""config.yaml: its keys, reading it, and edits that leave its comments and layout alone."""

from truss.config.edit import append_value, remove_value, render_config, set_value
from truss.config.json_schema import SCHEMA_FILE, json_schema
from truss.config.read import CONFIG_FILE, config_to_dict, parse_config, read_config, unknown_keys
from truss.config.schema import (
    BaseImage,
    Batching,
    Build,
    DockerServer,
    HealthChecks,
    Queue,
    Resources,
    Runtime,
    Timeouts,
    Train,
    Transport,
    TrussConfig,
)
from truss.config.values import Accelerator, parse_accelerator, parse_size

__all__ = [
    "CONFIG_FILE",
    "SCHEMA_FILE",
    "Accelerator",
    "BaseImage",
    "Batching",
    "Build",
    "DockerServer",
    "HealthChecks",
    "Queue",
    "Resources",
    "Runtime",
    "Timeouts",
    "Train",
    "Transport",
    "TrussConfig",
    "append_value",
    "config_to_dict",
    "json_schema",
    "parse_accelerator",
    "parse_config",
    "parse_size",
    "read_config",
    "remove_value",
    "render_config",
    "set_value",
    "unknown_keys",
]

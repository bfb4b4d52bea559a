"""The Truss as the platform takes it: its folder as a gzipped tar, with a config that the platform knows."""

from __future__ import annotations

import copy
import tarfile
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from truss.config import CONFIG_FILE, config_to_dict, parse_config
from truss.deploy.release import Release
from truss.deploy.yaml_text import yaml_text

_OURS = ("signature", "train", "deploy")
"""Keys that say nothing to the platform."""

_RUNTIME = (
    "predict_concurrency",
    "streaming_read_timeout",
    "enable_tracing_data",
    "enable_debug_logs",
    "transport",
    "is_websocket_endpoint",
    "health_checks",
    "truss_server_version_override",
)
"""What the platform's server can be told: https://docs.baseten.co/reference/truss-configuration"""

_TRUSS = "app/"
"""Where the Truss is in an archive of ours; beside it is our server, which does not run there."""

_COMPRESSION = 1
"""As little as there is: weights hardly shrink."""


def config_of(release: Release) -> dict[str, Any]:
    """The config as the platform takes it: what is not as by default, without values of secrets."""
    told = config_to_dict(release.config)
    usual = config_to_dict(parse_config(""))
    said = {key: value for key, value in told.items() if key not in _OURS and value != usual.get(key)}
    if "runtime" in said:
        said["runtime"] = _changed(said["runtime"], usual["runtime"], _RUNTIME)
    if not said.get("runtime"):
        said.pop("runtime", None)
    if release.secrets:
        said["secrets"] = dict.fromkeys(release.secrets)
    resources = {key: value for key, value in told["resources"].items() if value is not None}
    return {**said, "model_name": release.name, "resources": resources}


def write_folder(archive: Path, config: Mapping[str, Any], place: Path) -> None:
    """Write the archive that is uploaded.

    Args:
        archive: The archive of the Truss, as `truss.build.archive` makes it.
        config: What stands in it for the config of the Truss.
        place: Where it is written.
    """
    with zipfile.ZipFile(archive) as held, tarfile.open(place, "w:gz", compresslevel=_COMPRESSION) as folder:
        for one in held.infolist():
            name = one.filename.removeprefix(_TRUSS)
            if one.filename.startswith(_TRUSS) and name != CONFIG_FILE:
                about = _entry(name, one.file_size, (one.external_attr >> 16) & 0o777 or 0o644)
                with held.open(one) as content:
                    folder.addfile(about, content)
        text = yaml_text(copy.deepcopy(dict(config))).encode()
        folder.addfile(_entry(CONFIG_FILE, len(text), 0o644), BytesIO(text))


def _changed(told: Mapping[str, Any], usual: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    return {key: told[key] for key in keys if told[key] != usual[key]}


def _entry(name: str, size: int, mode: int) -> tarfile.TarInfo:
    about = tarfile.TarInfo(name)
    about.size, about.mode = size, mode
    return about

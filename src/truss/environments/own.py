"""The requirement that brings Truss itself, as it runs here, into another environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from truss.version import __version__

_NAME = "truss"
_EXTRA = "runtime"


def own_requirement() -> str:
    """The line that installs what is running now, with the packages that serving needs.

    A source tree is installed in place, so that edits show; a file or a commit is installed from where it
    was; a release by its version.
    """
    try:
        found = distribution(_NAME)
    except PackageNotFoundError:
        return _from_source(Path(__file__).parents[3])
    return requirement_of(_origin(found), found.version)


def requirement_of(origin: Mapping[str, Any], version: str) -> str:
    """The line for an installation with this origin (PEP 610; empty when it came from an index)."""
    if not origin:
        return f"{_NAME}[{_EXTRA}]=={version}"
    url = origin["url"]
    if origin.get("dir_info", {}).get("editable"):
        return f"-e {unquote(urlsplit(url).path)}[{_EXTRA}]"
    if "vcs_info" in origin:
        url = f"{origin['vcs_info']['vcs']}+{url}@{origin['vcs_info']['commit_id']}"
    folder = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
    return f"{_NAME}[{_EXTRA}] @ {url}{folder}"


def source_of(requirement: str) -> Path | None:
    """The source tree that a line installs in place; None for every other kind of line."""
    if not requirement.startswith("-e "):
        return None
    return Path(requirement.removeprefix("-e ").rpartition("[")[0])


def _from_source(root: Path) -> str:
    """Truss that is merely on the import path: its source tree, if there is one, else this release."""
    in_place = (root / "pyproject.toml").is_file()
    return requirement_of(
        {"url": root.as_uri(), "dir_info": {"editable": True}} if in_place else {}, __version__
    )


def _origin(found: Distribution) -> dict[str, Any]:
    record = found.read_text("direct_url.json")
    return {} if record is None else dict(json.loads(record))

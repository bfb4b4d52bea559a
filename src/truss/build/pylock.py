"""What uv resolves, read: for each package the one file that was chosen for the target.

https://packaging.python.org/en/latest/specifications/pylock-toml/
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from truss.errors import EnvironmentBuildError

MARK = "# from its source"
"""Ends the line of a package that has no wheel: the digest is that of its source archive."""


def requirement_lines(pylock: str) -> str:
    """The packages of a `pylock.toml`, a line each as pip takes it: the exact version and the file's digest.

    Where a package comes from is said only of files that a requirement names itself.

    Raises:
        EnvironmentBuildError: a package has no file with a digest.
    """
    return "".join(f"{_line(package)}\n" for package in _parsed(pylock).get("packages", []))


def _parsed(pylock: str) -> dict[str, Any]:
    import sys

    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    parsed: dict[str, Any] = tomllib.loads(pylock)
    return parsed


def _line(package: Mapping[str, Any]) -> str:
    name = package["name"]
    if "archive" in package:
        archive = package["archive"]
        return f"{_place(name, archive)} {_hash(name, archive)}"
    line = f"{name}=={package.get('version', '')}"
    if "wheels" in package:
        return f"{line} {_hash(name, package['wheels'][0])}"
    return f"{line} {_hash(name, package.get('sdist', {}))} {MARK}"


def _place(name: str, archive: Mapping[str, Any]) -> str:
    """Where a file is that a requirement names: its address, or its path from the Truss."""
    if "url" in archive:
        return f"{name} @ {archive['url']}"
    path = PurePath(archive["path"])
    return f"{name} @ {path.as_uri()}" if path.is_absolute() else f"./{path.as_posix()}"


def _hash(name: str, file: Mapping[str, Any]) -> str:
    digest = file.get("hashes", {}).get("sha256")
    if digest is None:
        raise EnvironmentBuildError(
            f"the requirements cannot be met: '{name}' is not a package with a known digest",
            hint="name a released version, or a wheel",
        )
    return f"--hash=sha256:{digest}"

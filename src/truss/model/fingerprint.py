"""Tell whether a Truss changed since it was loaded, by looking at its files' names, sizes and times."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from truss.config import TrussConfig

Fingerprint = tuple[tuple[str, int, int], ...]
"""Sorted (path, size in bytes, modification time in nanoseconds) of every file that loading reads."""


def fingerprint(truss_dir: Path, config: TrussConfig) -> Fingerprint:
    """The state of a Truss's config, model code, packages and data. Reads no file's content."""
    folders = [
        config.model_module_dir,
        config.bundled_packages_dir,
        config.data_dir,
        *config.external_package_dirs,
    ]
    entries = [_entry(truss_dir / "config.yaml")]
    for folder in folders:
        entries += [_entry(path) for path in _files(truss_dir / folder)]
    return tuple(sorted(entry for entry in entries if entry is not None))


def _files(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in ("__pycache__", ".git", ".ipynb_checkpoints")]
        yield from (Path(parent, name) for name in files)


def _entry(path: Path) -> tuple[str, int, int] | None:
    try:
        facts = path.stat()
    except FileNotFoundError:  # removed while we looked: the next look sees the result
        return None
    return str(path), facts.st_size, facts.st_mtime_ns

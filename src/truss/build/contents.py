"""What a Truss brings into an image: its own files and the server's, as entries of layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from truss.build.lock import FILE as LOCK
from truss.config import TrussConfig
from truss.oci import Entry

APP = "/app"
"""Where the Truss is in an image."""

RUNTIME = "/opt/truss/runtime"
"""Where the server's code is in an image."""

LARGE = 1 << 20
"""Data files from this size on, in bytes, have a layer of their own."""

_MOST_ALONE = 40

_SERVER_ROOMS = ("config", "model", "runtime", "weights")
_SERVER_FILES = ("__init__.py", "errors.py", "version.py", "py.typed")

_NOT_SERVED = frozenset({"__pycache__", ".git", ".ipynb_checkpoints", ".venv", ".DS_Store"})


def server_files() -> list[tuple[str, Path]]:
    """The server's code: places in the image, and the files of this installation of Truss."""
    root = Path(__file__).parents[1]
    files = [root / name for name in _SERVER_FILES]
    files += [file for room in _SERVER_ROOMS for file in _files(root / room)]
    return [(f"{RUNTIME}/truss/{file.relative_to(root).as_posix()}", file) for file in files]


def truss_files(truss_dir: Path) -> list[tuple[str, Path]]:
    """All files of the Truss, without the lock: places in the image, and the files."""
    found = (file for file in _files(truss_dir) if file != truss_dir / LOCK)
    return [(place_of(truss_dir, file), file) for file in found]


def data_files(truss_dir: Path, config: TrussConfig) -> list[Path]:
    """The files of the data directory that are large enough for layers of their own, by path."""
    found = [file for file in _files(truss_dir / config.data_dir) if file.stat().st_size >= LARGE]
    largest = sorted(found, key=lambda file: (-file.stat().st_size, str(file)))
    return sorted(largest[:_MOST_ALONE])


def small_data(truss_dir: Path, config: TrussConfig) -> Iterator[Entry]:
    """The other files of the data directory."""
    alone = set(data_files(truss_dir, config))
    for file in _files(truss_dir / config.data_dir):
        if file not in alone:
            yield entry(truss_dir, file)


def code(truss_dir: Path, config: TrussConfig) -> Iterator[Entry]:
    """Everything else of the Truss: the model class, packages, config, examples.

    The lock is left out: it says how the image was made, and an image must not change by being made.
    """
    data = truss_dir / config.data_dir
    for file in _files(truss_dir):
        if not file.is_relative_to(data) and file != truss_dir / LOCK:
            yield entry(truss_dir, file)


def entry(truss_dir: Path, file: Path) -> Entry:
    """A file of the Truss where it is in the image."""
    return Entry.file(place_of(truss_dir, file), file, 0o755 if file.stat().st_mode & 0o100 else 0o644)


def place_of(truss_dir: Path, file: Path) -> str:
    """Where a file of the Truss is in the image."""
    return f"{APP}/{file.relative_to(truss_dir).as_posix()}"


def _files(folder: Path) -> list[Path]:
    """The files below a folder, links to files included, without what editors and tools leave there."""
    if not folder.is_dir():
        return []
    return sorted(
        file
        for file in folder.rglob("*")
        if file.is_file() and not _NOT_SERVED & set(file.relative_to(folder).parts) and file.suffix != ".pyc"
    )

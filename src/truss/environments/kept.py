"""Environments that are made once and kept: one folder for each set of resolved requirements.

    <cache>/resolved/<digest of what was wanted>.txt       the exact versions that this came to
    <cache>/environments/<digest of versions and Python>/  a virtual environment with just these

A second start with the same wishes reads the first file and asks no index. Both are written beside and
then renamed, so that what has its name is whole.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from truss.environments.builds import with_cpu_builds
from truss.environments.uv import run_uv
from truss.environments.wanted import Wanted, digest_of
from truss.errors import EnvironmentBuildError

CACHE_VARIABLE = "TRUSS_CACHE_DIR"
"""The environment variable that names another folder for what is kept."""


def ensure_environment(wanted: Wanted, cache: Path | None = None) -> Path:
    """Make the environment unless it is kept already.

    Args:
        wanted: What it has to hold.
        cache: The folder to keep it in; default: `cache_dir()`.

    Returns:
        The path of its Python.

    Raises:
        EnvironmentBuildError: a requirement cannot be met, or the Python version is not to be had. Nothing
            is left behind.
        MissingExtraError: uv is not installed.
    """
    folder = cache_dir() if cache is None else cache
    try:
        resolved = folder / "resolved" / f"{wanted.digest}.txt"
        if not resolved.is_file():
            _keep(resolved, with_cpu_builds(_resolve, wanted))
        lock = resolved.read_text("utf-8")
        target = folder / "environments" / digest_of(f"{wanted.python}\n{lock}")
        if not _is_there(target):
            with _only_one(target):
                if not _is_there(target):  # somebody else may have made it meanwhile
                    _build(wanted, resolved, target)
    except OSError as error:
        raise EnvironmentBuildError(
            f"the environment cannot be written: {error.strerror or error}",
            where=str(error.filename or folder),
            hint=f"free some space, or name another folder with {CACHE_VARIABLE}",
        ) from error
    return _python(target)


def cache_dir(variables: Mapping[str, str] = os.environ) -> Path:
    """Where environments are kept: `TRUSS_CACHE_DIR`, else a folder in the platform's place for caches."""
    if given := variables.get(CACHE_VARIABLE):
        return Path(given).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "truss"
    return Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "truss"


def _resolve(wanted: Wanted) -> str:
    """The exact versions of everything, one a line, with the options that say where to get them."""
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "requirements.in")
        own = () if wanted.own is None else (wanted.own,)
        lines.write_text("\n".join([*wanted.lines, *_exported(wanted), *own, ""]), encoding="utf-8")
        files = [wanted.file] if wanted.file is not None and wanted.file.name != "uv.lock" else []
        words: list[str | Path] = ["pip", "compile", lines, *files, "--python-version", wanted.python]
        words += ["--no-header", "--no-annotate", "--emit-index-url", "--emit-find-links", *wanted.options()]
        return run_uv(words, wanted.folder, "the requirements cannot be met")


def _exported(wanted: Wanted) -> list[str]:
    """The lines of a uv.lock."""
    if wanted.file is None or wanted.file.name != "uv.lock":
        return []
    words = ["export", "--frozen", "--no-emit-project", "--no-hashes", "--no-header", "--no-annotate"]
    return run_uv(words, wanted.file.parent, "the lock file cannot be read").splitlines()


def _build(wanted: Wanted, resolved: Path, target: Path) -> None:
    """Make an environment beside its place and move it there."""
    _clear(target)
    beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        built = beside / "environment"
        run_uv(
            # Relocatable: its scripts find it after the move.
            ["venv", "--relocatable", "--no-project", "--python", _interpreter(wanted.python), built],
            wanted.folder,
            f"Python {wanted.python} is not to be had",
        )
        run_uv(
            ["pip", "install", "--no-deps", "--python", _python(built), "-r", resolved, *wanted.options()],
            wanted.folder,
            "the requirements cannot be installed",
        )
        built.rename(target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _interpreter(version: str) -> str:
    """The Python to base it on: the one that runs here if it is of that version, else whichever uv finds."""
    running = f"{sys.version_info.major}.{sys.version_info.minor}"
    return sys.executable if version == running else version


def _python(environment: Path) -> Path:
    return environment / "bin" / "python"


def _is_there(target: Path) -> bool:
    """Whether the environment is there and its Python still is: the link breaks when that is removed."""
    return _python(target).is_file()


def _clear(target: Path) -> None:
    """Remove an environment without Python, and what a maker that was killed left behind."""
    for left in [target, *target.parent.glob(f".{target.name}.*")]:
        if left.is_dir():
            shutil.rmtree(left)


@contextmanager
def _only_one(target: Path) -> Iterator[None]:
    """Let one process at a time make an environment; the others wait, and find it made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{target}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _keep(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise

"""Folders: where a new Truss is built, how it takes its place, what else goes into it."""

from __future__ import annotations

import glob
import os
import random
import shutil
import string
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from truss.config import CONFIG_FILE
from truss.errors import PackagingError, TargetDirectoryError
from truss.model.secrets import local_home

LARGE = 1 << 20
"""Data files from this size on, in bytes, are marked for Git LFS."""

GITIGNORE = """\
__pycache__/
*.py[cod]
.ipynb_checkpoints/
.DS_Store
.venv/
"""

_NO_COPY = shutil.ignore_patterns("__pycache__", "*.pyc", ".git", ".ipynb_checkpoints", ".DS_Store")


def default_target(framework: str) -> Path:
    """A new folder name below the user's own models: `~/.truss/models/<framework>-XXXXXX`."""
    suffix = "".join(random.choices(string.ascii_uppercase + string.digits, k=6))  # noqa: S311  # a name, no secret
    return local_home() / "models" / f"{framework}-{suffix}"


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a target directory whose content would be lost.

    Raises:
        TargetDirectoryError: it is a file, or holds something (with `overwrite`: something else than a
            Truss).
    """
    if target.exists() and not target.is_dir():
        raise TargetDirectoryError("is a file", where=str(target), hint="choose the path of a new folder")
    if not target.is_dir() or not any(target.iterdir()):
        return
    if not (target / CONFIG_FILE).is_file():
        raise TargetDirectoryError(
            "the folder is not empty, and no Truss", where=str(target), hint="choose a new or an empty folder"
        )
    if not overwrite:
        raise TargetDirectoryError(
            "there is a Truss already",
            where=str(target),
            hint="choose another folder, or pass overwrite=True to replace it",
        )


@contextmanager
def built_beside(target: Path) -> Iterator[Path]:
    """A folder to build in, next to the target; it takes the target's place at the end.

    When the block raises, the folder is removed and whatever was at the target is untouched.

    Raises:
        TargetDirectoryError: the folder above cannot be written to.
    """
    created = _make_parents(target.parent)
    try:
        beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        yield beside
        beside.chmod(0o755)
        _take_place(beside, target)
    except BaseException:
        shutil.rmtree(beside, ignore_errors=True)
        for folder in reversed(created):
            folder.rmdir()
        raise


def _make_parents(folder: Path) -> list[Path]:
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()][::-1]
    try:
        for parent in missing:
            parent.mkdir(exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    return missing


def _cannot_write(target: Path, error: OSError) -> TargetDirectoryError:
    return TargetDirectoryError(
        f"cannot be written: {error.strerror or error}",
        where=str(target),
        hint="choose a folder you may write to",
    )


def _take_place(built: Path, target: Path) -> None:
    if not target.exists():
        built.rename(target)
        return
    if not any(target.iterdir()):
        # An existing empty folder may be the current one or a mount point: keep it, fill it.
        for child in built.iterdir():
            child.rename(target / child.name)
        built.rmdir()
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    target.rename(old / target.name)
    try:
        built.rename(target)
    except BaseException:
        (old / target.name).rename(target)
        old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def matching(pattern: str | os.PathLike[str], what: str) -> list[Path]:
    """The files and folders that a path or glob names.

    Raises:
        PackagingError: it names none.
    """
    text = os.path.expanduser(os.fspath(pattern))  # noqa: PTH111  # globs are texts
    found = [Path(text)] if Path(text).exists() else [Path(path) for path in sorted(glob.glob(text))]  # noqa: PTH207
    if not found:
        raise PackagingError(
            f"there is no {what} at '{pattern}'",
            hint=f"give an existing file, folder or glob; paths are relative to {Path.cwd()}",
        )
    return found


def copy_into(sources: Sequence[Path], folder: Path) -> None:
    """Copy files and folders into a folder, each under its own name, replacing what has that name."""
    folder.mkdir(parents=True, exist_ok=True)
    for source in sources:
        destination = folder / source.name
        if source.is_dir():
            shutil.copytree(source, destination, ignore=_NO_COPY, dirs_exist_ok=True)
        else:
            shutil.copy2(source, destination)


def write_git_files(truss_dir: Path, data_dir: str) -> None:
    """Write `.gitignore` and `.gitattributes`, so that the folder can be committed as it is."""
    (truss_dir / ".gitignore").write_text(GITIGNORE)
    (truss_dir / ".gitattributes").write_text(git_attributes(truss_dir, data_dir))


def git_attributes(truss_dir: Path, data_dir: str) -> str:
    """Git LFS for each large data file by its path, so that small ones stay readable in diffs."""
    lines = ["# Data files from 1 MiB on are kept in Git LFS (git lfs install)."]
    for path in sorted((truss_dir / data_dir).rglob("*")):
        if path.is_file() and path.stat().st_size >= LARGE:
            name = path.relative_to(truss_dir).as_posix()
            escaped = "".join("[[:space:]]" if letter == " " else letter for letter in name)
            lines.append(f"{escaped} filter=lfs diff=lfs merge=lfs -text")
    lines.append(f"{data_dir}/** -text")
    return "\n".join(lines) + "\n"


def size_of(truss_dir: Path) -> int:
    """Bytes of all files of a Truss."""
    return sum(path.stat().st_size for path in truss_dir.rglob("*") if path.is_file())

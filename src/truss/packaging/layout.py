"""Folders: where a new Truss is built, how it takes its place, what else goes into it."""

from __future__ import annotations

import errno
import glob
import os
import random
import shutil
import string
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
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

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
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
            hint="choose another folder, or replace it: overwrite=True, or --overwrite of `truss create`",
        )


@contextmanager
def built_beside(target: Path) -> Iterator[Path]:
    """A folder to build in, next to the target; it takes the target's place at the end.

    An existing empty target may be the current folder or a mount point, so it is not replaced: the folder
    to build in is inside it, and its contents move up.

    When the block raises, the folder is removed and whatever was at the target is untouched.

    Raises:
        TargetDirectoryError: the target cannot be written.
    """
    target = target.resolve()  # a link stays a link
    inside = target.is_dir() and not any(target.iterdir())
    with _parents_made(target.parent):
        with _writing(target):
            place = target if inside else target.parent
            beside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=place))
        try:
            with _writing(target, only=_FULL):  # others may be the model's own
                yield beside
            with _writing(target):
                beside.chmod(0o755)
                if inside:
                    _move_up(beside)
                else:
                    _take_place(beside, target)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise


@contextmanager
def _parents_made(folder: Path) -> Iterator[None]:
    """Make a folder and those above it; remove the made ones when the block raises."""
    made: list[Path] = []
    try:
        with _writing(folder):
            for parent in [parent for parent in (folder, *folder.parents) if not parent.exists()][::-1]:
                parent.mkdir()
                made.append(parent)
        yield
    except BaseException:
        for parent in reversed(made):
            with suppress(OSError):  # somebody else uses it meanwhile
                parent.rmdir()
        raise


@contextmanager
def _writing(target: Path, *, only: frozenset[int] | None = None) -> Iterator[None]:
    """Say which folder cannot be written when the system refuses (with `only`: for one of these reasons)."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        raise TargetDirectoryError(
            f"cannot be written: {error.strerror or error}",
            where=str(target),
            hint="choose a folder you may write to, with enough free space",
        ) from error


def _move_up(built: Path) -> None:
    for child in built.iterdir():
        child.rename(built.parent / child.name)
    built.rmdir()


def _take_place(built: Path, target: Path) -> None:
    if not target.exists():
        built.rename(target)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    try:
        target.rename(old / target.name)
        try:
            built.rename(target)
        except BaseException:
            (old / target.name).rename(target)
            raise
    except BaseException:
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


def copy_into(sources: Sequence[Path], folder: Path, *, replace: bool = False) -> None:
    """Copy files and folders into a folder, each under its own name.

    Args:
        sources: What to copy; the same one twice counts once.
        folder: Where to, made when it does not exist.
        replace: Whether to replace what has one of the names, and to add to a folder that has.

    Raises:
        PackagingError: two have one name, a source holds the folder, or one cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for source in dict.fromkeys(source.absolute() for source in sources):
        destination = folder / source.name
        if folder.resolve().is_relative_to(source.resolve()):
            raise PackagingError(
                "the folder holds the Truss itself",
                where=str(source),
                hint="give the files to copy one by one",
            )
        if destination.exists() and not replace:
            raise PackagingError(
                f"there is a '{source.name}' in {folder.name}/ already", where=str(source), hint="rename it"
            )
        _copy(source, destination)


def _copy(source: Path, destination: Path) -> None:
    try:
        if source.is_dir():
            shutil.copytree(source, destination, ignore=_NO_COPY, dirs_exist_ok=True)
        else:
            shutil.copy2(source, destination)
    except OSError as error:
        # copytree collects the reasons of all files in one error: the first tells enough.
        reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror or error
        raise PackagingError(
            f"cannot be copied: {reason}", where=str(source), hint="check your rights and the free space"
        ) from error


def write_git_files(truss_dir: Path, data_dir: Path) -> None:
    """Write `.gitignore` and `.gitattributes`, so that the folder can be committed as it is."""
    (truss_dir / ".gitignore").write_text(GITIGNORE, encoding="utf-8")
    (truss_dir / ".gitattributes").write_text(
        f"# Data files from 1 MiB on are kept in Git LFS (git lfs install).\n"
        f"{_escaped(data_dir.relative_to(truss_dir))}/** -text\n",
        encoding="utf-8",
    )
    mark_large_files(truss_dir, data_dir)


def mark_large_files(truss_dir: Path, data_dir: Path) -> None:
    """Add a Git LFS line for each large data file that `.gitattributes` does not list yet.

    Each by its path, so that small files stay readable in diffs. A Truss without the file, or with data
    elsewhere, is left as it is.
    """
    attributes = truss_dir / ".gitattributes"
    if not attributes.is_file() or not data_dir.is_relative_to(truss_dir):
        return
    text = attributes.read_text(encoding="utf-8")
    large = (path for path in sorted(data_dir.rglob("*")) if path.is_file() and path.stat().st_size >= LARGE)
    lines = [f"{_escaped(path.relative_to(truss_dir))} filter=lfs diff=lfs merge=lfs -text" for path in large]
    added = [line for line in lines if line not in text.splitlines()]
    if added:
        end = "" if not text or text.endswith("\n") else "\n"
        attributes.write_text("\n".join([f"{text}{end}{added[0]}", *added[1:], ""]), encoding="utf-8")


def _escaped(path: Path) -> str:
    """A path as a Git pattern that matches just it."""
    special = {" ": "[[:space:]]", **{letter: f"\\{letter}" for letter in "*?[]\\"}}
    return "".join(special.get(letter, letter) for letter in path.as_posix())


def size_of(truss_dir: Path) -> int:
    """Bytes of all files of a Truss."""
    return sum(path.stat().st_size for path in truss_dir.rglob("*") if path.is_file())

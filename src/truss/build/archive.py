"""A Truss and the server's code as one zip, for places that run Python of their own instead of images.

The same files give the same bytes, so an archive is named after its digest and made once.
"""

from __future__ import annotations

import hashlib
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from truss.build import contents
from truss.errors import ImageError
from truss.oci import FileContent
from truss.oci.digest import measure
from truss.oci.files import written

_COMPRESSION = 1
"""Code shrinks with any; weights hardly do, and more would take long."""

_WHEN = (1980, 1, 1, 0, 0, 0)
"""The first time that a zip can tell: when files were written must not change it."""


@dataclass(frozen=True)
class Archive:
    """An archive that has been made.

    Attributes:
        path: Where it is.
        digest: The hexadecimal SHA-256 of what it holds, names included.
    """

    path: Path
    digest: str


def archive(truss_dir: Path, folder: Path) -> Archive:
    """The archive of a Truss: the Truss below `app/`, the server's code below `truss/`.

    Args:
        truss_dir: The Truss.
        folder: Where archives are kept; made when it does not exist.

    Raises:
        ImageError: the folder cannot be written.
    """
    files = sorted(_files(truss_dir))
    digest = hashlib.sha256()
    for name, file in files:
        held, _ = measure(FileContent.of(file).blocks())
        digest.update(f"{name}\0{held.hex}\0".encode())
    made = Archive(folder / f"{digest.hexdigest()}.zip", digest.hexdigest())
    if not made.path.is_file():
        _write(made.path, files)
    return made


def _files(truss_dir: Path) -> Iterator[tuple[str, Path]]:
    for place, file in contents.server_files():
        yield place.removeprefix(f"{contents.RUNTIME}/"), file
    for place, file in contents.truss_files(truss_dir):
        yield place.removeprefix("/"), file


def _write(path: Path, files: list[tuple[str, Path]]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"the folder of archives cannot be made: {error.strerror or error}",
            where=str(path.parent),
            hint="free some space, or name another folder with TRUSS_CACHE_DIR",
        ) from error
    with written(path) as out, zipfile.ZipFile(out, "w", compresslevel=_COMPRESSION) as zipped:
        for name, file in files:
            about = zipfile.ZipInfo(name, _WHEN)
            about.compress_type = zipfile.ZIP_DEFLATED
            about.external_attr = (0o755 if file.stat().st_mode & 0o100 else 0o644) << 16
            with file.open("rb") as content, zipped.open(about, "w", force_zip64=True) as entry:
                shutil.copyfileobj(content, entry, 1 << 20)

"""What a file or folder holds, looked at without reading it whole and without running anything of it."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from truss.errors import PackagingError, UntrustedFileError

_HEAD = 4096
_ZIP = b"PK\x03\x04"
_LARGEST_JSON = 2**24


@dataclass(frozen=True)
class Contents:
    """A file or folder that somebody gave as a model.

    Attributes:
        path: Where it is.
    """

    path: Path

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return self.path.is_dir()

    @cached_property
    def head(self) -> bytes:
        """The first 4096 bytes of a file; empty for a folder."""
        if self.is_folder:
            return b""
        with self.path.open("rb") as file:
            return file.read(_HEAD)

    @cached_property
    def size(self) -> int:
        """The bytes of a file."""
        return self.path.stat().st_size

    @property
    def is_archive(self) -> bool:
        """Whether a file begins as a zip archive."""
        return self.head.startswith(_ZIP)

    @cached_property
    def names(self) -> frozenset[str]:
        """The names in a folder, or of a zip archive's members with their paths; none for other files.

        Raises:
            PackagingError: it begins as a zip archive, and the list of its members is missing.
        """
        if self.is_folder:
            return frozenset(path.name for path in self.path.iterdir())
        if not self.is_archive:
            return frozenset()
        try:
            with zipfile.ZipFile(self.path) as archive:
                return frozenset(archive.namelist())
        except (zipfile.BadZipFile, OSError, EOFError) as error:
            raise PackagingError(
                "this file begins as a zip archive and has no end: it is cut off or damaged",
                where=str(self.path),
                hint="copy it again, and compare its size with the original's",
            ) from error

    def json(self, name: str) -> Any:
        """A JSON file of the folder; None when it is none, or not there."""
        path = self.path / name
        try:
            if path.stat().st_size > _LARGEST_JSON:
                return None
            return json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None


def untrusted_error(contents: Contents, what: str) -> UntrustedFileError:
    """The error for a file whose reading would run code; `what` says what it is, e.g. `a pickle`."""
    return UntrustedFileError(
        f"this is {what}: reading it runs code that its maker chose",
        where=str(contents.path),
        hint="if you know who made it, and from what, say so: --trust-pickle on the command line, "
        "trust_pickle=True in Python (docs/guides/trust.md)",
    )

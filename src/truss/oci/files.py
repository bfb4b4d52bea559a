"""Files that appear whole or not at all."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from truss.errors import ImageError


@contextmanager
def written(path: Path) -> Iterator[BinaryIO]:
    """A file to write to that takes the name `path` when the block ends well, and goes away when it does not.

    Raises:
        ImageError: The folder cannot be written to, or the disk is full.
    """
    unfinished = path.with_name(f".{path.name[:80]}.{secrets.token_hex(6)}")
    try:
        with unfinished.open("xb") as file:
            yield file
        unfinished.replace(path)
    except OSError as error:
        raise ImageError(
            f"the file cannot be written: {error.strerror or error}",
            where=str(path),
            hint="free some space, or give yourself the right to write there, or choose another place",
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)

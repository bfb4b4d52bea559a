"""Uploads that registries have begun, noted so that another process goes on where one ended.

    <folder>/<key>         the address at which a registry takes the rest of one blob for one repository
    <folder>/<key>.lock    held by the process that sends it

A note spares work and is never needed: where none can be written, a blob is simply sent whole.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from truss.errors import ImageError
from truss.oci.digest import Digest
from truss.oci.files import written


@dataclass(frozen=True)
class Note:
    """What is noted of the upload of one blob to one repository.

    Attributes:
        place: The file that says it; None: nothing is noted.
    """

    place: Path | None = None

    def read(self) -> str:
        """Where the registry takes what is missing; empty when nothing was begun that is known of."""
        if self.place is None:
            return ""
        try:
            return self.place.read_text("utf-8")
        except (OSError, UnicodeDecodeError):
            return ""

    def write(self, location: str) -> None:
        """Remember where the registry takes what is missing."""
        if self.place is not None:
            with contextlib.suppress(ImageError), written(self.place) as file:
                file.write(location.encode())

    def forget(self) -> None:
        """Remember nothing: the blob is there, or the registry knows no such upload any more."""
        if self.place is not None:
            self.place.unlink(missing_ok=True)


@dataclass(frozen=True)
class Sessions:
    """The uploads that this user's processes have begun.

    Attributes:
        folder: Where they are noted; made when it does not exist. None: nowhere.
    """

    folder: Path | None = None

    @contextlib.contextmanager
    def of(self, registry: str, repository: str, digest: Digest) -> Iterator[Note]:
        """What is noted of one blob, for the length of the block.

        Of several processes that send the same blob at the same time, only the first one notes something.
        """
        if self.folder is None:
            yield Note()
            return
        key = hashlib.sha256(f"{registry}\0{repository}\0{digest}".encode()).hexdigest()
        with contextlib.ExitStack() as stack:
            lock = self.folder / f"{key}.lock"
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                fcntl.flock(stack.enter_context(lock.open("w")), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # another process has it, or nothing can be written there
                yield Note()
                return
            stack.callback(lock.unlink, missing_ok=True)
            yield Note(self.folder / key)

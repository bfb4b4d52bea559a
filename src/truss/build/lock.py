"""`truss.lock`: exactly which base and which wheels an image was made of, to make it again.

JSON, sorted, without an address: where packages come from is the business of whoever builds.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from truss.build.base import stands_for
from truss.errors import ImageError
from truss.oci import Platform, Reference
from truss.oci.files import written

FILE = "truss.lock"

_VERSION = 2


@dataclass(frozen=True)
class Lock:
    """What an image was made of.

    Attributes:
        python: The version of Python, `3.11`.
        base: The base's reference, with its digest: of the index, where there is one.
        wishes: A digest of the requirements that the wheels were found for.
        bases: For each platform, the digest of exactly its base.
        wheels: For each platform, the exact versions with hashes, as pip takes them.
    """

    python: str
    base: str
    wishes: str
    bases: Mapping[str, str]
    wheels: Mapping[str, str]

    @property
    def reference(self) -> Reference:
        """The base."""
        return Reference.parse(self.base)

    def beside(self, other: Lock | None) -> Lock:
        """This lock, with the platforms of another that was made for the same wishes on the same base."""
        if other is None or (self.python, self.base, self.wishes) != (other.python, other.base, other.wishes):
            return self
        return replace(self, bases={**other.bases, **self.bases}, wheels={**other.wheels, **self.wheels})

    def check(self, python: str, wishes: str, base: Reference) -> None:
        """See that the lock was made for what the Truss asks for now.

        Args:
            python: The version of Python, `3.11`.
            wishes: A digest of the requirements.
            base: The base as it is asked for, whatever mirror it is taken from.

        Raises:
            ImageError: it was not.
        """
        if (self.python, self.wishes) != (python, wishes):
            what = "requirements" if self.python == python else "version of Python"
            raise ImageError(
                f"the {what} of the Truss, or of its server, changed after the lock was written",
                where=FILE,
                hint="build once without --locked",
            )
        if not stands_for(self.reference, base):  # after Python's version, which the default base follows
            raise ImageError(
                f"the base is to be {base}, and the lock was written for {self.base}",
                where=FILE,
                hint="build once without --locked",
            )

    def wheels_for(self, platform: Platform) -> str:
        """The wheels for a platform.

        Raises:
            ImageError: the lock was not made for it.
        """
        found = self.wheels.get(str(platform))
        if found is None:
            raise ImageError(
                f"the lock holds no wheels for {platform}",
                where=FILE,
                hint=f"build once without --locked: --platform {','.join([*self.wheels, str(platform)])}",
            )
        return found


def read_lock(truss_dir: Path) -> Lock:
    """The lock of a Truss.

    Raises:
        ImageError: there is none, or it is not one.
    """
    path = truss_dir / FILE
    try:
        document = json.loads(path.read_text("utf-8"))
        if document["version"] != _VERSION:
            raise ImageError(
                f"the lock is of version {document['version']}, not {_VERSION}",
                where=str(path),
                hint="build once without --locked",
            )
        wheels = {
            str(name): "".join(f"{line}\n" for line in lines) for name, lines in document["wheels"].items()
        }
        bases = {str(name): str(digest) for name, digest in document["bases"].items()}
        return Lock(str(document["python"]), str(document["base"]), str(document["wishes"]), bases, wheels)
    except OSError as error:
        raise ImageError(
            f"there is no lock: {error.strerror}", where=str(path), hint="build once without --locked"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImageError(
            f"the lock cannot be read: {type(error).__name__}: {error}",
            where=str(path),
            hint="restore it from version control, or build without --locked",
        ) from error


def found_lock(truss_dir: Path) -> Lock | None:
    """The lock of a Truss; None where there is none that can be read."""
    try:
        return read_lock(truss_dir)
    except ImageError:
        return None


def add_to_lock(truss_dir: Path, lock: Lock) -> None:
    """Write the lock of a build into a Truss; platforms of one that is there, and is like it, stay beside.

    Raises:
        ImageError: it cannot be written.
    """
    write_lock(truss_dir, lock.beside(found_lock(truss_dir)))


def write_lock(truss_dir: Path, lock: Lock) -> None:
    """Write the lock into a Truss, whole or not at all.

    Raises:
        ImageError: it cannot be written.
    """
    document = {
        "version": _VERSION,
        "python": lock.python,
        "base": lock.base,
        "bases": dict(sorted(lock.bases.items())),
        "wishes": lock.wishes,
        "wheels": {name: text.splitlines() for name, text in sorted(lock.wheels.items())},
    }
    with written(truss_dir / FILE) as file:
        file.write((json.dumps(document, indent=1) + "\n").encode())

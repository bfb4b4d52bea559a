"""Whether data files are the ones that were packaged.

Packaging writes a checksum per data file. They are compared when the model cannot be loaded, or ends the
process at that, and by `truss validate`; a start that goes well reads nothing twice. The file is of the form
that `xxhsum -c` reads (https://xxhash.com), with 128-bit XXH3: reading gigabytes again for a cryptographic
digest would take longer than saving them, and the question is whether a copy went wrong, not whether somebody
meant harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from truss.errors import CorruptDataError, ModelLoadError

CHECKSUMS = "checksums.xxh128"
"""The file's name, at the top of a Truss."""

_MOST_FILES_NAMED = 3
_BLOCK = 1 << 18
"""Bytes that are read at a time, into the same memory: so few stay in the processor's cache."""


class Damage(NamedTuple):
    """A data file that is not the one that was packaged.

    Attributes:
        file: Its path, relative to the Truss.
        expected: The checksum of what was packaged, 32 hexadecimal digits.
        found: That of what is there; None when the file is missing.
    """

    file: str
    expected: str
    found: str | None

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.file} is missing (expected XXH128 {self.expected})"
        return f"{self.file} is not the file that was packaged: XXH128 {self.found}, expected {self.expected}"


def record(truss_dir: Path, paths: Iterable[Path]) -> None:
    """Write down the checksums of data files, besides those that are written down already.

    Args:
        truss_dir: The Truss.
        paths: Files and folders below it.
    """
    files = [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*")))]
    found = {file.relative_to(truss_dir).as_posix(): checksum(file) for file in files if file.is_file()}
    entries = read(truss_dir) | found
    lines = [f"{digest}  {name}\n" for name, digest in sorted(entries.items())]
    beside = truss_dir / f".{CHECKSUMS}.new"
    beside.write_text("".join(lines), encoding="utf-8", newline="\n")
    beside.replace(truss_dir / CHECKSUMS)


def read(truss_dir: Path) -> dict[str, str]:
    """The checksums by path; none for a Truss that holds no such file, as those of others."""
    try:
        text = (truss_dir / CHECKSUMS).read_text("utf-8")
    except OSError:
        return {}
    pairs = (line.split(maxsplit=1) for line in text.splitlines() if line.strip())
    return {pair[1]: pair[0] for pair in pairs if len(pair) == 2}


def _never() -> bool:
    return False


def damaged(truss_dir: Path, stopped: Callable[[], bool] = _never) -> list[Damage]:
    """The data files that are not those that were packaged; reads all of them.

    Args:
        truss_dir: The Truss.
        stopped: Asked all the while; from when it says so, nothing more is read.
    """
    found = []
    for name, expected in read(truss_dir).items():
        file = truss_dir / name
        actual = checksum(file, stopped) if file.is_file() else None
        if stopped():
            break
        if actual != expected:
            found.append(Damage(name, expected, actual))
    return found


def cause_in_data(
    truss_dir: Path, error: ModelLoadError, stopped: Callable[[], bool] = _never
) -> ModelLoadError:
    """The error with the damaged data files, if there are any: they are why."""
    damage = damaged(truss_dir, stopped)
    if not damage:
        return error
    return CorruptDataError(
        "; ".join(map(str, damage[:_MOST_FILES_NAMED])) + f" ({error.message})",
        where=str(truss_dir / damage[0].file),
        hint=f"copy the Truss again; if you changed the file yourself, delete {CHECKSUMS}",
    )


def checksum(file: Path, stopped: Callable[[], bool] = _never) -> str:
    """The 128-bit XXH3 of a file's content, 32 hexadecimal digits; of its beginning, once it is stopped."""
    import xxhash

    digest = xxhash.xxh3_128()
    block = memoryview(bytearray(_BLOCK))
    with file.open("rb", buffering=0) as stream:
        while not stopped() and (length := stream.readinto(block)):
            digest.update(block[:length])
    return digest.hexdigest()

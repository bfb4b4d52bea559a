"""Installed wheels as entries of layers: the same bytes whoever installed them, and where."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from truss.oci import Entry, FileContent

SITE = "/opt/truss/site"
"""Where wheels lie in an image; `PYTHONPATH` names it."""

LARGE = 16 << 20
"""Wheels from this size on, installed, have a layer of their own, in bytes."""

_GROUPS = 8
"""How many layers the other wheels share. Which one a wheel is in follows from its name alone, so a new
version of one moves an eighth of them."""

_MOST_ALONE = 48
"""Engines stack 127 layers; the base and data need some."""

# What an installer writes about the machine it ran on.
_OF_THE_INSTALLER = frozenset({"direct_url.json", "uv_cache.json", "REQUESTED", "INSTALLER"})

_SCRIPTS = "bin/"

_INTERPRETER = re.compile(rb"\A#!.*python[^\n]*\n|\A#!/bin/sh\n'''exec' [^\n]*\n' '''\n")


@dataclass(frozen=True)
class Wheel:
    """An installed distribution.

    Attributes:
        name: As its metadata folder has it, `scikit_learn-1.5.0`.
        files: Its files, relative to the folder it was installed into, `/` between the parts; texts, since
            large wheels have ten thousand and more.
        size: The bytes of all of them.
    """

    name: str
    files: tuple[str, ...]
    size: int

    @property
    def distribution(self) -> str:
        """The name without the version."""
        return self.name.partition("-")[0]


@dataclass(frozen=True)
class Group:
    """Wheels that share a layer."""

    name: str
    wheels: tuple[Wheel, ...]


def installed(folder: Path) -> list[Wheel]:
    """The distributions in a folder that `uv pip install --target` wrote, by name."""
    return [_wheel(folder, record) for record in sorted(folder.glob("*.dist-info/RECORD"))]


def grouped(wheels: Sequence[Wheel]) -> list[Group]:
    """Which wheels share a layer: large ones are alone, the largest first when there are too many."""
    by_size = sorted(wheels, key=lambda wheel: (-wheel.size, wheel.name))
    alone = [wheel for wheel in by_size if wheel.size >= LARGE][:_MOST_ALONE]
    rest: dict[int, list[Wheel]] = {}
    for wheel in sorted(set(wheels) - set(alone), key=lambda wheel: wheel.name):
        rest.setdefault(_group_of(wheel.name), []).append(wheel)
    groups = [Group(f"wheel {wheel.name}", (wheel,)) for wheel in sorted(alone, key=lambda wheel: wheel.name)]
    return groups + [Group(f"wheels, group {number}", tuple(rest[number])) for number in sorted(rest)]


def shared_files(wheels: Sequence[Wheel]) -> frozenset[str]:
    """The files that several wheels write, so that what is in them depends on who came last."""
    writers = Counter(file for wheel in wheels for file in wheel.files)
    return frozenset(file for file, count in writers.items() if count > 1)


def entries(folder: Path, wheels: Iterable[Wheel]) -> Iterator[Entry]:
    """The files of wheels, as they lie in an image.

    Scripts start whichever `python3` comes first; what the installer wrote about itself is left out.
    """
    for wheel in wheels:
        for file in wheel.files:
            source = folder / file
            place = f"{SITE}/{file}"
            if file.endswith("/RECORD") and _is_about(file):
                yield Entry.file(place, _record(source, wheel.files))
            elif file.startswith(_SCRIPTS):
                yield Entry.file(
                    place, _INTERPRETER.sub(b"#!/usr/bin/env python3\n", source.read_bytes()), 0o755
                )
            else:
                content = FileContent.of(source)
                yield Entry.file(place, content, 0o755 if content.mode & 0o100 else 0o644)


def _wheel(folder: Path, record: Path) -> Wheel:
    sizes = {file: _size(f"{folder}/{file}") for file in _recorded(record) if _is_kept(file)}
    files = sorted((file for file, size in sizes.items() if size is not None), key=_parts)
    return Wheel(
        record.parent.name.removesuffix(".dist-info"), tuple(files), sum(filter(None, sizes.values()))
    )


def _size(path: str) -> int | None:
    """The bytes of a file; None where there is none."""
    try:
        state = os.stat(path)  # noqa: PTH116  # a path is made for each file of large wheels
    except OSError:
        return None
    return state.st_size if stat.S_ISREG(state.st_mode) else None


def _recorded(record: Path) -> Iterator[str]:
    """The files that a RECORD lists.

    https://packaging.python.org/en/latest/specifications/recording-installed-packages/
    """
    with record.open(encoding="utf-8", newline="") as file:
        for row in csv.reader(file):
            if row:
                yield _below(row[0])


def _below(path: str) -> str:
    """Scripts are listed as `../../bin/name`, where an environment would have them."""
    return "/".join(part for part in _parts(path) if part not in ("", ".", ".."))


def _is_kept(file: str) -> bool:
    about_installer = file.rpartition("/")[2] in _OF_THE_INSTALLER and _is_about(file)
    return not about_installer and not file.endswith(".pyc")


def _is_about(file: str) -> bool:
    """Whether it is of a distribution's own metadata: some carry others, with theirs, in their folders."""
    folder, *names = _parts(file)
    return len(names) == 1 and folder.endswith(".dist-info")


def _record(source: Path, files: Sequence[str]) -> bytes:
    """The RECORD with the files that are in the image; scripts are other bytes there, so without hashes."""
    rows: Mapping[str, list[str]]
    with source.open(encoding="utf-8", newline="") as file:
        rows = {_below(row[0]): row for row in csv.reader(file) if row}
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    for path in files:
        writer.writerow([path, *(("", "") if path.startswith(_SCRIPTS) else rows[path][1:])])
    return out.getvalue().encode()


def _parts(path: str) -> list[str]:
    return path.split("/")


def _group_of(name: str) -> int:
    """A number that follows from the distribution's name, without its version."""
    return zlib.crc32(name.partition("-")[0].lower().encode()) % _GROUPS

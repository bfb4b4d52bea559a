"""Layers: archives of an image's files, the same bytes whoever makes them, wherever and whenever.

A layer is made from an explicit list of entries. Paths, permissions, owners and the time are what the
entries say; nothing is taken from the disk but the content. Two ways to make one:

- `plain_layer`: not compressed, and never written anywhere: it is read from the entries whenever it is
  needed.
- `packed_layer`: compressed into a file, in one pass that finds digest, diff ID and sizes.
"""

from __future__ import annotations

import posixpath
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from truss.errors import ImageError
from truss.oci import tar
from truss.oci.compression import Compression, compressed
from truss.oci.content import Content, FileContent, Joined, Memory
from truss.oci.descriptor import Blob, Descriptor
from truss.oci.digest import Digest, Meter, measure
from truss.oci.files import written
from truss.oci.media_types import LAYER

BASE_FOLDERS = frozenset(
    [
        *("bin", "boot", "dev", "etc", "home", "lib", "lib32", "lib64", "libx32", "media", "mnt", "opt"),
        *("proc", "root", "run", "sbin", "srv", "sys", "tmp", "usr", "var"),
        *("var/lock", "var/run", "var/tmp"),
    ]
)
"""What comes with every base, some with permissions of their own, some as links: never stated as parents."""


@dataclass(frozen=True)
class Entry:
    """One file, folder or link of a layer.

    Attributes:
        path: Where it is in the image, `/` between the parts; with or without the first `/`.
        kind: What it is.
        mode: Its permissions.
        content: What a file holds; `None` for folders and links.
        link: What a link points to.
        uid: The number of its owner.
        gid: The number of its group.
    """

    path: str
    kind: tar.Kind
    mode: int
    content: Content | None = None
    link: str = ""
    uid: int = 0
    gid: int = 0

    @classmethod
    def file(cls, path: str, source: Path | bytes | Content, mode: int = 0o644) -> Entry:
        """A file with what `source` holds now.

        Raises:
            ImageError: `source` is no regular file, or cannot be read.
        """
        if isinstance(source, bytes):
            return cls(path, "file", mode, Memory(source))
        if isinstance(source, Path):
            return cls(path, "file", mode, FileContent.of(source))
        return cls(path, "file", mode, source)

    @classmethod
    def folder(cls, path: str, mode: int = 0o755) -> Entry:
        """A folder. Parents need no entry: those that no entry states are made, with mode 0755."""
        return cls(path, "directory", mode)

    @classmethod
    def symlink(cls, path: str, target: str) -> Entry:
        """A symbolic link."""
        return cls(path, "symlink", 0o777, link=target)


@dataclass(frozen=True)
class Layer:
    """A layer of an image.

    Attributes:
        blob: What is stored and transferred.
        diff_id: The digest of the archive before compression.
        created_by: What the image's history says about it.
    """

    blob: Blob
    diff_id: Digest
    created_by: str = ""


def plain_layer(
    entries: Iterable[Entry], *, mtime: int = 0, digest: Digest | None = None, created_by: str = ""
) -> Layer:
    """A layer that is not compressed and needs no room on the disk: it is read from the entries' sources.

    Args:
        entries: What is in it, in any order.
        mtime: When every entry was last written, in seconds since the epoch.
        digest: Its digest, when it is known from before; else everything is read once to find it.
        created_by: What the image's history says about it.

    Raises:
        ImageError: Two entries are in each other's way, one leaves the image, or a source cannot be read.
    """
    content = archive(entries, mtime=mtime)
    if digest is None:
        digest, _ = measure(content.blocks())
    return Layer(Blob(Descriptor(LAYER["none"], digest, content.size), content), digest, created_by)


def packed_layer(
    entries: Iterable[Entry],
    file: Path,
    *,
    compression: Compression = "gzip",
    mtime: int = 0,
    created_by: str = "",
) -> Layer:
    """A layer that is written to `file`, whole or not at all, in one pass and with little memory.

    Args:
        entries: What is in it, in any order.
        file: What to write; its folder exists.
        compression: How; `zstd` needs the package zstandard.
        mtime: When every entry was last written, in seconds since the epoch.
        created_by: What the image's history says about it.

    Raises:
        ImageError: As `plain_layer`, or `file` cannot be written.
        MissingExtraError: `zstd` is asked for and its package is not installed.
    """
    content = archive(entries, mtime=mtime)
    before, after = Meter(), Meter()
    with written(file) as out:
        for block in compressed(_metered(content.blocks(), before), compression):
            after.feed(block)
            out.write(block)
    descriptor = Descriptor(LAYER[compression], after.digest, after.size)
    return Layer(Blob(descriptor, FileContent.of(file)), before.digest, created_by)


def archive(entries: Iterable[Entry], *, mtime: int = 0) -> Joined:
    """The archive that holds `entries`, read from their sources when it is read.

    Raises:
        ImageError: Two entries are in each other's way, or one leaves the image.
    """
    parts: list[Content] = []
    for path, entry in _complete(entries):
        size = entry.content.size if entry.content is not None else 0
        member = tar.Member(path, entry.kind, entry.mode, size, entry.link, mtime, entry.uid, entry.gid)
        parts.append(Memory(tar.header(member)))
        if entry.content is not None and size:
            parts += [entry.content, Memory(tar.padding(size))]
    parts.append(Memory(tar.END))
    return Joined.of(parts)


def folder_entries(folder: Path, at: str) -> Iterator[Entry]:
    """All that is in `folder`, placed under `at` in the image.

    Permissions become 0755 for folders and for files that their owner may run, 0644 for others. Links
    are kept.

    Raises:
        ImageError: Something is neither file, folder nor link, or cannot be read.
    """
    for source in sorted(folder.rglob("*")):
        path = posixpath.join(at, source.relative_to(folder).as_posix())
        mode = source.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield Entry.symlink(path, PurePosixPath(source.readlink()).as_posix())
        elif stat.S_ISDIR(mode):
            yield Entry.folder(path)
        else:
            yield Entry.file(path, source, 0o755 if mode & stat.S_IXUSR else 0o644)


def _complete(entries: Iterable[Entry]) -> Iterator[tuple[str, Entry]]:
    """The entries with their parents, by path: parents come first, as their paths are shorter."""
    stated: dict[str, Entry] = {}
    for entry in entries:
        path = _inside(entry)
        if stated.setdefault(path, entry) != entry:
            raise ImageError("two entries of a layer have the same path", where=f"/{path}")
    for path, entry in list(stated.items()):
        for parent in _parents(path):
            if parent not in stated and parent not in BASE_FOLDERS:
                stated[parent] = Entry.folder(parent)
            elif parent in stated and stated[parent].kind != "directory":
                raise ImageError(
                    f"the path leads through a {stated[parent].kind} of the same layer, '/{parent}'",
                    where=f"/{entry.path.lstrip('/')}",
                )
    return iter(sorted(stated.items(), key=lambda item: item[0].encode()))


def _parents(path: str) -> Iterator[str]:
    while path := path.rpartition("/")[0]:
        yield path


def _inside(entry: Entry) -> str:
    """The path as archives have it; it stays inside the image."""
    path = entry.path.strip("/")
    parts = path.split("/")
    if not path or any(part in ("", ".", "..") for part in parts) or "\0" in path or not _is_text(path):
        raise ImageError(f"{entry.path!r} is not a path inside an image")
    if entry.kind == "symlink":
        _check_link(path, entry.link)
    return path


def _check_link(path: str, target: str) -> None:
    if not target or "\0" in target or not _is_text(target):
        raise ImageError(f"the link points to {target!r}, which is no path", where=f"/{path}")
    resolved = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    if resolved.split("/")[0] == "..":
        raise ImageError(f"the link points outside of the image, to '{target}'", where=f"/{path}")


def _is_text(value: str) -> bool:
    """Whether a path is UTF-8: names of files on disk need not be."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _metered(blocks: Iterator[bytes], meter: Meter) -> Iterator[bytes]:
    for block in blocks:
        meter.feed(block)
        yield block

"""Headers of tar archives, byte for byte the same on every Python and machine.

The format is POSIX ustar, with a pax header before the entries whose path, link or size has no room in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BLOCK = 512
END = bytes(2 * BLOCK)
"""What ends an archive."""

Kind = Literal["file", "directory", "symlink"]
_TYPES: dict[Kind, bytes] = {"file": b"0", "directory": b"5", "symlink": b"2"}
_LARGEST_OCTAL = 8**11  # what 11 octal digits cannot say any more


@dataclass(frozen=True)
class Member:
    """One entry of an archive.

    Attributes:
        path: Where it is, relative to the archive's root, with `/` between the parts.
        kind: What it is.
        mode: Its permissions.
        size: Bytes of content that follow the header; 0 but for files.
        link: What a symbolic link points to.
        mtime: When it was last written, in whole seconds since the epoch.
        uid: The number of its owner.
        gid: The number of its group.
    """

    path: str
    kind: Kind
    mode: int
    size: int = 0
    link: str = ""
    mtime: int = 0
    uid: int = 0
    gid: int = 0


def header(member: Member) -> bytes:
    """What comes before the member's content: one block, or more where a pax header is needed."""
    path = (member.path + "/" if member.kind == "directory" else member.path).encode()
    link = member.link.encode()
    extended: dict[str, bytes] = {}
    prefix, name = _split(path)
    if not name or not path.isascii():
        extended["path"] = path
        prefix, name = b"", path[:100]
    if len(link) > 100 or not link.isascii():
        extended["linkpath"] = link
    if member.size >= _LARGEST_OCTAL:
        extended["size"] = str(member.size).encode()
    return _pax(extended) + _ustar(member, prefix, name, link[:100])


def padding(size: int) -> bytes:
    """What fills the last block after `size` bytes of content."""
    return bytes(-size % BLOCK)


def _split(path: bytes) -> tuple[bytes, bytes]:
    """A path as ustar's prefix (up to 155 bytes) and name (up to 100); both empty when it does not fit."""
    if len(path) <= 100:
        return b"", path
    cut = path.rfind(b"/", 0, 156)
    while cut > 0 and cut == len(path) - 1:  # the slash that ends a directory is part of its name
        cut = path.rfind(b"/", 0, cut)
    if cut <= 0 or len(path) - cut - 1 > 100:
        return b"", b""
    return path[:cut], path[cut + 1 :]


def _pax(extended: dict[str, bytes]) -> bytes:
    if not extended:
        return b""
    records = b"".join(_record(key.encode(), value) for key, value in sorted(extended.items()))
    return _block(b"././@PaxHeader", 0o644, len(records), b"x") + records + padding(len(records))


def _record(key: bytes, value: bytes) -> bytes:
    r"""`length key=value\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def _ustar(member: Member, prefix: bytes, name: bytes, link: bytes) -> bytes:
    return _block(
        name,
        member.mode,
        member.size if member.size < _LARGEST_OCTAL else 0,
        _TYPES[member.kind],
        link=link,
        mtime=member.mtime,
        owner=(member.uid, member.gid),
        prefix=prefix,
    )


def _block(
    name: bytes,
    mode: int,
    size: int,
    kind: bytes,
    *,
    link: bytes = b"",
    mtime: int = 0,
    owner: tuple[int, int] = (0, 0),
    prefix: bytes = b"",
) -> bytes:
    before = b"%s%s%s%s%s%s" % (
        name.ljust(100, b"\0"),
        _octal(mode, 7),
        _octal(owner[0], 7),
        _octal(owner[1], 7),
        _octal(size, 11),
        _octal(mtime, 11),
    )
    after = b"%s%sustar\x0000%s%s%s%s" % (
        kind,
        link.ljust(100, b"\0"),
        bytes(64),  # names of owner and group
        _octal(0, 7) + _octal(0, 7),  # device numbers
        prefix.ljust(155, b"\0"),
        bytes(12),
    )
    checksum = sum(before) + 8 * ord(" ") + sum(after)
    return b"%s%06o\0 %s" % (before, checksum, after)


def _octal(value: int, digits: int) -> bytes:
    return b"%0*o\0" % (digits, value)

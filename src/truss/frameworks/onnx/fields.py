"""Tell an ONNX file by its fields: protocol buffers have no mark at their beginning.

A `ModelProto` is a sequence of numbered fields, each with its length, so the way from one to the next is
known without reading what is in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from truss.errors import PackagingError

_IR_VERSION = 1
_GRAPH = 7
_OPERATOR_SETS = 8
_FIELDS = frozenset({1, 2, 3, 4, 5, 6, _GRAPH, _OPERATOR_SETS, 14, 20, 25, 26})

_VARINT, _LENGTH = 0, 2
_LARGEST_IR_VERSION = 100
_MAX_FIELDS = 10_000


def is_model_file(path: Path) -> bool:
    """Whether a file is a `ModelProto` from its first field to its last.

    Raises:
        PackagingError: its graph begins, and the file ends before the graph does.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if not _begins(file):
            return False
        found = {_IR_VERSION}
        for _ in range(_MAX_FIELDS):
            if file.tell() == size:
                break
            field = _skip(file, size)
            if field is None:
                return False
            number, end = field
            if end > size and _GRAPH in {number, *found}:
                raise PackagingError(
                    f"this ONNX model is cut off: it has {size} bytes of at least {end}",
                    where=str(path),
                    hint="copy it again, or export the model again",
                )
            if end > size:
                return False
            found.add(number)
            file.seek(end)
        return _GRAPH in found


def _begins(file: BinaryIO) -> bool:
    """Whether the first field is a version of the format; exporters write it first."""
    if file.read(1) != bytes([_IR_VERSION << 3 | _VARINT]):
        return False
    version = _varint(file)
    return version is not None and 0 < version < _LARGEST_IR_VERSION


def _skip(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """The number of the field that begins here, and where it ends; None when it is no field of a model."""
    key = _varint(file)
    if key is None or key >> 3 not in _FIELDS:
        return None
    value = _varint(file)
    if value is None:
        return None
    if key & 7 == _VARINT:
        return key >> 3, file.tell()
    return (key >> 3, file.tell() + value) if key & 7 == _LENGTH and value < 2**40 + size else None


def _varint(file: BinaryIO) -> int | None:
    """A number of seven bits a byte; None when the file ends in it or it has more bits than any."""
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if not byte[0] & 0x80:
            return value
    return None

"""Protocol Buffers on the wire, as far as tensors need them: fields out of bytes, and into bytes.

Long fields are views of what was received: a tensor is an array over them. There is no schema here; what
fields mean is with those who read them. https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Any

from truss.errors import MalformedBodyError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5

Value = int | memoryview
_MASK = 2**64 - 1
_LONGEST_VARINT = 10


def fields(message: memoryview) -> Iterator[tuple[int, int, Value]]:
    """The fields of a message in their order: number, wire type, and value; fixed ones are views as well.

    Raises:
        MalformedBodyError: the bytes are no message.
    """
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if not number:
            raise _broken(position)
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, position = _varint(message, position)
        elif kind in (FIXED64, FIXED32):
            size = 8 if kind == FIXED64 else 4
        else:
            raise _broken(position)
        if position + size > end:
            raise _broken(position)
        yield number, kind, message[position : position + size]
        position += size


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    for place in range(position, min(position + _LONGEST_VARINT, len(message))):
        byte = message[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & _MASK, place + 1
        shift += 7
    raise _broken(position)


def _broken(position: int) -> MalformedBodyError:
    return MalformedBodyError(
        f"the message breaks off or is none, at byte {position}",
        hint="send what the service's own stubs write",
    )


def signed(value: int) -> int:
    """A varint as the `int64` it stands for."""
    return value - 2**64 if value >= 2**63 else value


def text(value: Value) -> str:
    """A field as text.

    Raises:
        MalformedBodyError: it is none, or not UTF-8.
    """
    return _bytes(value).decode(errors="strict") if _is_utf8(value) else _not_text()


def _is_utf8(value: Value) -> bool:
    try:
        _bytes(value).decode()
    except UnicodeDecodeError:
        return False
    return True


def _not_text() -> str:
    raise MalformedBodyError("a name is not UTF-8 text", hint="send what the service's own stubs write")


def _bytes(value: Value) -> bytes:
    return bytes(message(value))


def message(value: Value) -> memoryview:
    """A field as a message or as bytes.

    Raises:
        MalformedBodyError: it is a number.
    """
    if isinstance(value, int):
        raise MalformedBodyError(
            "a number stands where a message or text belongs", hint="send what the service's own stubs write"
        )
    return value


def integers(kind: int, value: Value) -> Any:
    """The numbers of a repeated field, packed or not, as an array of uint64.

    Raises:
        MalformedBodyError: the last one breaks off, or one is too long.
    """
    import numpy

    if kind == VARINT:
        return numpy.array([value], "u8")
    packed: Any = numpy.frombuffer(message(value), "u1")
    last: Any = numpy.flatnonzero(packed < 0x80)
    if len(packed) and (not len(last) or last[-1] != len(packed) - 1):
        raise _broken(len(packed))
    first: Any = numpy.concatenate([[0], last[:-1] + 1]).astype("i8") if len(last) else last
    sizes = last - first + 1
    if len(sizes) and sizes.max() > _LONGEST_VARINT:
        raise _broken(0)
    numbers: Any = numpy.zeros(len(last), "u8")
    for place in range(int(sizes.max()) if len(sizes) else 0):
        longer = sizes > place
        part = packed[first[longer] + place].astype("u8") & numpy.uint64(0x7F)
        numbers[longer] |= part << numpy.uint64(7 * place)
    return numbers


# --- into bytes ---


def varint(value: int) -> bytes:
    """A number, negative ones as their `int64`."""
    value &= _MASK
    written = bytearray()
    while value > 0x7F:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    written.append(value)
    return bytes(written)


def number_field(number: int, value: int) -> bytes:
    """A field with a number; one that is 0 is left out, as messages do."""
    return varint(number << 3) + varint(value) if value else b""


def bytes_field(number: int, value: bytes | memoryview | str) -> list[bytes | memoryview]:
    """A field with bytes, text or a message, in parts; the bytes are not copied."""
    written = value.encode() if isinstance(value, str) else value
    return [varint(number << 3 | BYTES) + varint(len(written)), written]


def joined(*parts: Iterable[bytes | memoryview]) -> bytes:
    """The parts of several fields as one message."""
    return b"".join([piece for part in parts for piece in part])


def packed(values: Iterable[int]) -> bytes:
    """Numbers behind each other."""
    return b"".join([varint(value) for value in values])


def double(value: memoryview) -> float:
    """A fixed field of 8 bytes as a float."""
    (number,) = struct.unpack("<d", value)
    return float(number)

"""Bodies to Python values and back: JSON, and msgpack with NumPy arrays.

JSON answers follow `truss.model.values`. In requests, the literals `NaN`, `Infinity` and `-Infinity`,
which Python's own `json` writes, are accepted although JSON has no such numbers.

msgpack follows the original project's binary route: arrays as the `msgpack-numpy` package writes them
(a map with the byte-string keys `nd`, `type`, `kind`, `shape`, `data`), and datetime, date, time,
timedelta, Decimal and UUID as maps with a marker key. Bytes stay bytes.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec

from truss.errors import AnswerEncodingError, MalformedBodyError
from truss.model import encode_json
from truss.model.values import to_encodable
from truss.runtime.protocols.tensors import is_hollow

__all__ = ["decode_json", "decode_msgpack", "encode_json", "encode_msgpack"]


def decode_json(body: bytes | memoryview) -> Any:
    """The value of a JSON body.

    Raises:
        MalformedBodyError: not JSON; says where, and for Python literals what was probably meant.
    """
    try:
        return _json_decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return _decode_leniently(bytes(body), error)


def _decode_leniently(body: bytes, error: Exception) -> Any:
    if not body.strip():
        raise MalformedBodyError("the body is empty", hint='send JSON, e.g. {"inputs": [...]}')
    try:
        return json.loads(body.decode())  # knows NaN and Infinity, and counts lines and columns when it fails
    except UnicodeDecodeError as fault:
        raise MalformedBodyError(
            f"the body is not UTF-8 text: byte {fault.start} is 0x{body[fault.start]:02x}",
            hint="send UTF-8 JSON; msgpack belongs to the :predict_binary route",
        ) from error
    except json.JSONDecodeError as fault:
        raise MalformedBodyError(
            f"the body is not JSON: {fault.msg} at line {fault.lineno} column {fault.colno}",
            hint=_correction(fault.doc),
        ) from error
    except RecursionError:
        raise MalformedBodyError("the body is nested too deeply", hint="send a flatter request") from error


_HINT_LENGTH = 500


def _correction(text: str) -> str:
    """What the client probably meant: a Python literal, or JSON whose quotes a shell took away."""
    stripped = text.strip()
    if len(stripped) > 100_000:
        return "check the JSON with a validator"
    try:
        meant = json.dumps(ast.literal_eval(stripped))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return 'send JSON with double quotes, e.g. {"inputs": [...]}'
    # The text comes back between single quotes, ready for a shell.
    quoted = meant.replace("'", "'\\''")
    if len(quoted) > _HINT_LENGTH:
        return "JSON takes double quotes around strings, and true, false, null in lower case"
    return f"JSON takes double quotes; send it as -d '{quoted}'"


_BROKEN = (
    msgspec.DecodeError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What Python's own types and NumPy's dtypes raise when they are made of what they are not made of."""


def decode_msgpack(body: bytes | memoryview) -> Any:
    """The value of a msgpack body; arrays are read-only NumPy arrays over the body's memory.

    Raises:
        MalformedBodyError: not msgpack, an array of objects, or an array whose size and shape disagree.
    """
    try:
        return _revive(_msgpack_decoder.decode(body))
    except _BROKEN as error:
        raise MalformedBodyError(
            f"the body is not msgpack as this route takes it: {error}",
            hint="write it with msgpack and msgpack-numpy; JSON belongs to the :predict route",
        ) from error


def encode_msgpack(answer: Any) -> bytes:
    """The answer as msgpack, arrays and NaN kept.

    Raises:
        AnswerEncodingError: a part of the answer has no msgpack form.
    """
    try:
        return _msgpack_encoder.encode(_mark(answer))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise AnswerEncodingError(
            f"the answer cannot be written as msgpack: {error}",
            hint="return plain Python values or NumPy arrays; convert others in `postprocess`",
        ) from error


def _mark(value: Any) -> Any:
    """Replace what msgpack does not know by marked maps, through dicts, lists and tuples."""
    if isinstance(value, dict):
        return {key: _mark(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_mark(item) for item in value]
    for kind, mark in _MARKS:
        if isinstance(value, kind):
            return mark(value)
    return value


# datetime before date: it is one.
_MARKS: tuple[tuple[type, Callable[[Any], dict[bytes, Any]]], ...] = (
    (datetime, lambda value: {b"__dt_datetime_iso__": True, b"data": value.isoformat()}),
    (date, lambda value: {b"__dt_date_iso__": True, b"data": value.isoformat()}),
    (time, lambda value: {b"__dt_time_iso__": True, b"data": value.isoformat()}),
    (
        timedelta,
        lambda value: {b"__dt_timedelta__": True, b"data": [value.days, value.seconds, value.microseconds]},
    ),
    (Decimal, lambda value: {b"__decimal__": True, b"data": str(value)}),
    (UUID, lambda value: {b"__uuid__": True, b"data": str(value)}),
)

_REVIVALS: dict[bytes, Callable[[Any], Any]] = {
    b"__dt_datetime_iso__": lambda data: datetime.fromisoformat(data.replace("Z", "+00:00")),
    b"__dt_date_iso__": date.fromisoformat,
    b"__dt_time_iso__": time.fromisoformat,
    b"__dt_timedelta__": lambda data: timedelta(days=data[0], seconds=data[1], microseconds=data[2]),
    b"__decimal__": Decimal,
    b"__uuid__": UUID,
}


def _revive(value: Any) -> Any:
    if isinstance(value, list):
        return [_revive(item) for item in value] if _may_hold_maps(value) else value
    if not isinstance(value, dict):
        return value
    if b"nd" in value:
        return _array(value)
    for marker, revival in _REVIVALS.items():
        if marker in value:
            return revival(value[b"data"])
    return {key: _revive(item) for key, item in value.items()}


def _may_hold_maps(items: list[Any]) -> bool:
    # Long lists of numbers are the common case, and hold nothing to revive.
    return any(isinstance(item, (dict, list)) for item in items)


def _array(marked: dict[Any, Any]) -> Any:
    import numpy

    kind = marked.get(b"kind", b"")
    if kind in (b"O", "O"):
        raise ValueError("arrays of Python objects are not accepted")
    descriptor = marked[b"type"]
    if isinstance(descriptor, list):
        dtype = numpy.dtype(
            [(_text(field[0]), _text(field[1]), *map(tuple, field[2:])) for field in descriptor]
        )
    else:
        dtype = numpy.dtype(_text(descriptor))
    if dtype.hasobject:
        raise ValueError("arrays of Python objects are not accepted")
    values = numpy.frombuffer(marked[b"data"], dtype=dtype)
    if not marked[b"nd"]:
        return values[0]
    array = values.reshape(marked[b"shape"])
    if is_hollow(array.shape):
        raise ValueError(f"an array of shape {list(array.shape)} has too many rows of nothing")
    return array


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _encode_other(value: Any) -> Any:
    """What `msgspec` writes instead of a value that it does not know."""
    package = type(value).__module__.partition(".")[0]
    if package == "torch" and hasattr(value, "detach"):
        value, package = value.detach().cpu().numpy(), "numpy"
    if package == "numpy" and hasattr(value, "dtype"):
        return _marked_array(value)
    return to_encodable(value)


def _marked_array(value: Any) -> dict[bytes, Any]:
    if value.dtype.hasobject:
        raise TypeError("an array of Python objects; convert it with .tolist()")
    is_array = hasattr(value, "reshape") and value.ndim > 0
    names = value.dtype.names
    return {
        b"nd": bool(is_array),
        b"type": [_field(*field) for field in value.dtype.descr] if names else value.dtype.str,
        b"kind": b"V" if names else b"",
        b"shape": list(value.shape),
        b"data": value.tobytes(),
    }


def _field(name: str, kind: Any, shape: tuple[int, ...] = ()) -> list[Any]:
    return [name, str(kind), list(shape)] if shape else [name, str(kind)]


_json_decoder = msgspec.json.Decoder()
_msgpack_decoder = msgspec.msgpack.Decoder()
_msgpack_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other)

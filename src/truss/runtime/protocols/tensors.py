"""Tensors as the Open Inference Protocol names and writes them, and NumPy arrays.

Raw tensors are row-major and little-endian. Numbers become arrays over the body's memory; nothing is
converted, and no list is made. https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from truss.errors import AnswerEncodingError, InvalidInputError

NUMPY_NAMES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
"""Datatype -> NumPy's name of it. `BYTES` are texts; `BF16` has no NumPy form and becomes float32."""

_NAMES = {name.lstrip("<"): datatype for datatype, name in NUMPY_NAMES.items()} | {"b1": "BOOL"}
_LENGTH = struct.Struct("<I")
_MOST_AXES = 32
_LARGEST = 2**58
_MOST_HOLLOW = 1 << 16


def datatype_of(dtype: str) -> str:
    """The datatype for a dtype's name in a signature: `float32` is `FP32`; what is no number is `BYTES`."""
    import numpy

    try:
        return _NAMES.get(numpy.dtype(dtype).str[1:], "BYTES")
    except TypeError:
        return {"bfloat16": "BF16", "any": "FP32"}.get(dtype, "BYTES")


def check_shape(name: str, shape: Sequence[int]) -> int:
    """How many elements a tensor of this shape has.

    Raises:
        InvalidInputError: a length is negative, or they are more or larger than those of an array.
    """
    # A length of zero makes a tensor empty, but not the other lengths possible.
    span = math.prod(max(length, 1) for length in shape[:_MOST_AXES])
    wrong = len(shape) > _MOST_AXES or any(length < 0 for length in shape) or span > _LARGEST
    if wrong or is_hollow(shape):
        raise InvalidInputError(
            f"the shape of {name!r} is {list(shape)[: _MOST_AXES + 1]}",
            where=name,
            hint=f"send up to {_MOST_AXES} lengths that are not negative, and no more than there are values",
        )
    return math.prod(shape)


def is_hollow(shape: Sequence[int]) -> bool:
    """Whether a shape names very many rows that hold nothing, as (2**31, 0) does.

    They take no bytes in a body, and fill the memory as soon as somebody makes lists of them.
    """
    return 0 in shape and math.prod(takewhile(bool, shape)) > _MOST_HOLLOW


def from_raw(name: str, datatype: str, shape: Sequence[int], data: memoryview) -> Any:
    """The array in the bytes of a tensor: read-only, over the bytes themselves where they are aligned.

    Args:
        name: The tensor's name, for messages.
        datatype: Its datatype.
        shape: Its shape.
        data: Its bytes.

    Returns:
        A NumPy array; for `BYTES` a list of texts, nested by shape (`bytes` where one is not UTF-8).

    Raises:
        InvalidInputError: bytes, datatype and shape do not belong together.
    """
    import numpy

    count = check_shape(name, shape)
    if datatype == "BYTES":
        return _nested(split_bytes(name, data, count), shape)
    item = numpy.dtype("<u2" if datatype == "BF16" else dtype_of(name, datatype))
    if len(data) != count * item.itemsize:
        raise InvalidInputError(
            f"{name!r} has {len(data)} bytes; {datatype} of shape {list(shape)} has {count * item.itemsize}",
            where=name,
            hint="send the array's own bytes, row-major and little-endian",
        )
    array = numpy.frombuffer(data, item)
    if datatype == "BF16":  # the upper half of a float32
        array = (array.astype("<u4") << 16).view("<f4")
    # Bytes that begin anywhere (behind other tensors) are moved once: libraries count on alignment.
    return numpy.require(array.reshape(shape), requirements="A")


def from_values(name: str, datatype: str, shape: Sequence[int], values: Any) -> Any:
    """The array of a tensor whose values stand in JSON, flat or nested.

    Raises:
        InvalidInputError: values, datatype and shape do not belong together.
    """
    import numpy

    count = check_shape(name, shape)
    if datatype == "BYTES":
        texts = _flat(values)
        if len(texts) != count:
            raise _wrong_count(name, len(texts), count, shape)
        return _nested(texts, shape)
    dtype = "<f4" if datatype == "BF16" else dtype_of(name, datatype)
    try:
        array = numpy.asarray(values, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidInputError(
            f"the values of {name!r} are not {datatype}: {error}", where=name, hint="send numbers"
        ) from error
    if array.size != count:
        raise _wrong_count(name, array.size, count, shape)
    return array.reshape(shape)


def dtype_of(name: str, datatype: str) -> str:
    """NumPy's name of a datatype of numbers.

    Raises:
        InvalidInputError: there is no such datatype.
    """
    dtype = NUMPY_NAMES.get(datatype)
    if dtype is None:
        known = ", ".join([*NUMPY_NAMES, "BF16", "BYTES"])
        raise InvalidInputError(
            f"{name!r} is of datatype {datatype!r}", where=name, hint=f"one of {known} is known"
        )
    return dtype


def split_bytes(name: str, data: memoryview, count: int) -> list[Any]:
    """The elements of a BYTES tensor: each stands behind its length, a little-endian `u32`.

    Raises:
        InvalidInputError: the bytes do not hold exactly so many elements.
    """
    elements: list[Any] = []
    position = 0
    while position + _LENGTH.size <= len(data) and len(elements) < count:
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if position + length > len(data):
            break
        elements.append(_text(bytes(data[position : position + length])))
        position += length
    if len(elements) != count or position != len(data):
        raise InvalidInputError(
            f"the {len(data)} bytes of {name!r} do not hold {count} elements",
            where=name,
            hint="write each element behind its length, as a little-endian 32-bit number",
        )
    return elements


def _text(element: bytes) -> str | bytes:
    try:
        return element.decode()
    except UnicodeDecodeError:
        return element


def _flat(values: Any) -> list[Any]:
    flat: list[Any] = values if isinstance(values, list) else [values]
    while any(isinstance(value, list) for value in flat):
        flat = [item for value in flat for item in (value if isinstance(value, list) else [value])]
    return flat


def _nested(elements: list[Any], shape: Sequence[int]) -> Any:
    """The elements in lists within lists; their objects are Python's own, so an array would save nothing."""
    if not shape:
        return elements[0]
    for length in reversed(shape[1:]):
        size = max(length, 1)
        elements = [elements[start : start + size] for start in range(0, len(elements), size)]
    return elements


def _wrong_count(name: str, found: int, count: int, shape: Sequence[int]) -> InvalidInputError:
    return InvalidInputError(
        f"{name!r} has {found} values; shape {list(shape)} has {count}",
        where=name,
        hint="send as many values as the shape says",
    )


# --- from the model ---


def as_array(name: str, value: Any) -> Any:
    """A model's output as an array that has a datatype: numbers as they are, all else as texts.

    Raises:
        AnswerEncodingError: it cannot be written.
    """
    import numpy

    if type(value).__module__.partition(".")[0] == "torch" and hasattr(value, "detach"):
        value = _torch_values(value)
    try:
        array = numpy.asarray(value)
    except (ValueError, TypeError):  # rows of unequal length
        array = _objects(value)
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("<"))
    if array.dtype.str[1:] in _NAMES:
        return array if array.ndim else array.reshape(1)
    if array.dtype.kind in "OUSMmV":
        return _texts(value if array.dtype.kind == "O" else array)
    raise AnswerEncodingError(
        f"the output {name!r} is of {array.dtype}, which this protocol does not have",
        where=name,
        hint="convert it in `postprocess`",
    )


def _torch_values(value: Any) -> Any:
    tensor = value.detach().cpu()
    return (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()


def _objects(value: Any) -> Any:
    import numpy

    array = numpy.empty(len(value), object)
    array[:] = list(value)
    return array


def _texts(value: Any) -> Any:
    """An array of `bytes`: texts in UTF-8, everything else as JSON."""
    import numpy

    from truss.model import encode_json

    def write(item: Any) -> bytes:
        if isinstance(item, bytes):
            return item
        return item.encode() if isinstance(item, str) else encode_json(item)

    array = value if isinstance(value, numpy.ndarray) else None
    if array is None or array.dtype.kind not in "USO":
        array = _object_rows(value if array is None else array.astype(str))
    written = numpy.empty(array.shape or (1,), object)
    written.reshape(-1)[:] = [write(item) for item in array.reshape(-1).tolist()]
    return written


def _object_rows(value: Any) -> Any:
    """One object per row of a list or tuple, or of nested lists of texts one per text."""
    import numpy

    if hasattr(value, "dtype"):
        return value
    if not isinstance(value, (list, tuple)):
        array = numpy.empty(1, object)
        array[0] = value
        return array
    return numpy.asarray(value, object) if _is_texts(value) else _objects(value)


def _is_texts(value: Sequence[Any]) -> bool:
    return all(isinstance(item, (str, bytes)) for item in value)


def datatype(array: Any) -> str:
    """The datatype of an array that `as_array` gave."""
    return _NAMES.get(array.dtype.str[1:], "BYTES")


def raw(array: Any) -> bytes | memoryview:
    """The bytes of such an array; numbers are not copied where they are in order."""
    import numpy

    if array.dtype.kind == "O":
        return b"".join([_LENGTH.pack(len(item)) + item for item in array.reshape(-1)])
    data: memoryview = numpy.ascontiguousarray(array).reshape(-1).view("u1").data
    return data


def values(array: Any) -> Any:
    """The values of such an array, flat, for JSON; texts that are not UTF-8 have no JSON form.

    Raises:
        AnswerEncodingError: such a text is among them.
    """
    if array.dtype.kind != "O":
        return array.reshape(-1).tolist()
    try:
        return [item.decode() for item in array.reshape(-1)]
    except UnicodeDecodeError as error:
        raise AnswerEncodingError(
            "an output has bytes that are no text", hint="ask for it as binary data"
        ) from error

"""Arrays and images as bodies: `.npy` files, Arrow streams, and image files. All become `{"inputs": ...}`.

`.npy`: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
Arrow: https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format
"""

from __future__ import annotations

import io
from typing import Any

from truss.config import Signature
from truss.errors import MalformedBodyError, UnsupportedBodyError
from truss.model.tables import rows_of
from truss.runtime.protocols.tensors import is_hollow
from truss.runtime.tabular import check_cells

_LONGEST_HEADER = 1 << 14


def decode_npy(body: bytes | memoryview, signature: Signature | None) -> dict[str, Any]:  # noqa: ARG001  # one form for all
    """The array of a `.npy` body, read-only, over the body's own memory.

    Raises:
        MalformedBodyError: not such a file, an array of objects, or one of another length than it says.
    """
    import numpy

    view = memoryview(body)
    shape, fortran_order, dtype, start = _npy_header(view)
    if dtype.hasobject:
        raise MalformedBodyError("the array holds Python objects", hint="send an array of numbers")
    data = view[start:]
    try:
        flat = numpy.frombuffer(data, dtype) if len(data) else numpy.empty(0, dtype)
        array = flat.reshape(shape, order="F" if fortran_order else "C")
    except ValueError as error:
        raise MalformedBodyError(
            f"the file holds {len(data)} bytes; an array of {dtype} and shape {list(shape)} has others",
            hint="send the whole file that numpy.save wrote, and nothing else",
        ) from error
    array = numpy.require(array, requirements="A")
    return {"inputs": array if array.ndim else array.reshape(1)}


def _npy_header(view: memoryview) -> tuple[tuple[int, ...], bool, Any, int]:
    from numpy.lib import format as npy

    file = io.BytesIO(view[:_LONGEST_HEADER])
    try:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran_order, dtype = read(file)
    except Exception as error:  # a damaged header raises whatever Python's parser does
        raise MalformedBodyError(
            f"the body is not a .npy file: {error}", hint="send the bytes that numpy.save writes"
        ) from error
    if any(length < 0 for length in shape) or is_hollow(shape):
        raise MalformedBodyError(f"the array has the shape {list(shape)}", hint="send what numpy.save writes")
    return shape, fortran_order, dtype, file.tell()


def decode_arrow(body: bytes | memoryview, signature: Signature | None) -> dict[str, Any]:
    """The table of an Arrow IPC stream: an array where all columns hold numbers, else rows as for Parquet.

    Columns are put in the order of the signature's, where it names them. A single column of lists of one
    length is an array with a row for each.

    Raises:
        UnsupportedBodyError: pyarrow, which reads it, is not installed where the model runs.
        MalformedBodyError: not such a stream, or one of far more cells than its bytes can hold.
    """
    try:
        import pyarrow
    except ImportError:
        raise UnsupportedBodyError(
            "this model's environment cannot read Arrow: pyarrow is not installed",
            hint="add pyarrow to `requirements` in config.yaml, or send .npy, CSV or JSON",
        ) from None
    try:
        with pyarrow.ipc.open_stream(pyarrow.BufferReader(pyarrow.py_buffer(body))) as reader:
            table = reader.read_all()
        table.validate(full=True)
    except (pyarrow.ArrowException, OSError, ValueError, MemoryError) as error:
        raise MalformedBodyError(
            f"the body is not an Arrow IPC stream: {error}", hint="write it with pyarrow.ipc.new_stream"
        ) from error
    check_cells(table.num_rows, table.num_columns, len(body))
    names = _in_order(table.column_names, signature)
    array = _numbers(pyarrow, [table.column(name) for name in names])
    if array is not None:
        return {"inputs": array}
    cells = [column.to_pylist() for column in table.columns]
    return {"inputs": rows_of(table.column_names, list(zip(*cells, strict=True)), signature)}


def _in_order(names: list[str], signature: Signature | None) -> list[int]:
    """The places of the columns, in the model's order."""
    wanted = [column.name for column in signature.columns] if signature else []
    if sorted(wanted) == sorted(names):
        return [names.index(name) for name in wanted]
    return list(range(len(names)))


def _numbers(pyarrow: Any, columns: list[Any]) -> Any:
    """The columns as one array, or None when some hold anything but numbers."""
    import numpy

    if len(columns) == 1 and pyarrow.types.is_fixed_size_list(columns[0].type):
        return _tensor(pyarrow, columns[0])
    kinds = [column.type for column in columns]
    if not kinds or not all(pyarrow.types.is_integer(kind) or _is_float(pyarrow, kind) for kind in kinds):
        return None
    return numpy.column_stack([column.to_numpy() for column in columns])


def _is_float(pyarrow: Any, kind: Any) -> bool:
    return bool(pyarrow.types.is_floating(kind))


def _tensor(pyarrow: Any, column: Any) -> Any:
    """Lists of one length, to any depth, as an array over their memory; None when values are missing."""
    values = column.combine_chunks()
    if isinstance(values, pyarrow.ChunkedArray):
        values = pyarrow.concat_arrays(values.chunks)
    shape = [len(values)]
    while pyarrow.types.is_fixed_size_list(values.type):
        if values.null_count:
            return None
        shape.append(values.type.list_size)
        values = values.flatten()
    if not (pyarrow.types.is_integer(values.type) or _is_float(pyarrow, values.type)):
        return None
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def decode_image(body: bytes | memoryview, signature: Signature | None) -> dict[str, Any]:
    """An image file: its bytes, as models of images take them; its pixels for a model that takes arrays.

    Returns:
        `{"inputs": [file]}`, or with `signature.tensors` an array of (1, height, width, channels), uint8.

    Raises:
        UnsupportedBodyError: Pillow, which reads it, is not installed where the model runs.
        MalformedBodyError: not an image that it reads.
    """
    if signature is None or not signature.tensors:
        return {"inputs": [bytes(body)]}
    try:
        from PIL import Image
    except ImportError:
        raise UnsupportedBodyError(
            "this model's environment cannot read images: Pillow is not installed",
            hint="add pillow to `requirements` in config.yaml, or send the pixels as .npy",
        ) from None
    import numpy

    try:
        with Image.open(io.BytesIO(body)) as image:
            pixels = numpy.asarray(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"))
    except Exception as error:  # damaged bytes lead Pillow's readers to errors of every kind
        raise MalformedBodyError(
            f"the body is not an image: {error}", hint="send the bytes of a PNG, JPEG or WebP file"
        ) from error
    return {"inputs": pixels[None] if pixels.ndim == 3 else pixels[None, :, :, None]}

"""Tables as bodies: CSV (RFC 4180, https://www.rfc-editor.org/rfc/rfc4180) and Parquet.

Both become `{"inputs": rows}`: records by column name, or lists for a model that knows no names. CSV says
nothing of types, so a column is one of numbers where all its cells are, unless the signature calls it text.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from typing import Any

from truss.config import Signature
from truss.errors import MalformedBodyError, UnsupportedBodyError
from truss.model.tables import rows_of

_FLAGS = {"true": True, "false": False}
_FEW_CELLS = 1 << 20
_CELLS_PER_BYTE = 64
_FEW_BYTES = 64 << 20
_UNPACKED_PER_BYTE = 64


def decode_csv(body: bytes | memoryview, signature: Signature | None) -> dict[str, Any]:
    """The rows of a CSV body. Its first line holds the columns' names unless all its cells are numbers.

    Empty cells are null. Lines without cells are left out.

    Raises:
        MalformedBodyError: not UTF-8, not CSV, or lines of unequal length; says which line.
    """
    names, lines = _read(body)
    kinds = {column.name: column.dtype for column in signature.columns} if signature else {}
    columns = [
        _typed([line[place] for line in lines], kinds.get(name, "any")) for place, name in enumerate(names)
    ]
    data = list(zip(*columns, strict=True))
    if _is_header(names):
        return {"inputs": rows_of(names, data, signature)}
    return {"inputs": [list(row) for row in data]}


def decode_parquet(body: bytes | memoryview, signature: Signature | None) -> dict[str, Any]:
    """The rows of a Parquet body (https://parquet.apache.org/docs/file-format/).

    Raises:
        UnsupportedBodyError: pyarrow, which reads it, is not installed where the model runs.
        MalformedBodyError: not Parquet, or a table of far more cells, or bytes, than its own can hold.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UnsupportedBodyError(
            "this model's environment cannot read Parquet: pyarrow is not installed",
            hint="add pyarrow to `requirements` in config.yaml, or send CSV or JSON",
        ) from None
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(body))
        about = file.metadata
        groups = [about.row_group(place) for place in range(about.num_row_groups)]
        # What is read is what the groups say, of which the whole need not be the sum.
        rows = max(about.num_rows, sum(max(0, group.num_rows) for group in groups))
        check_cells(rows, about.num_columns, len(body))
        unpacked = sum(max(0, group.total_byte_size) for group in groups)
        if unpacked > max(_FEW_BYTES, _UNPACKED_PER_BYTE * len(body)):
            raise MalformedBodyError(
                f"the {len(body)} bytes say that they unpack to {unpacked}", hint="send fewer rows at a time"
            )
        table = file.read()
        columns = [column.to_pylist() for column in table.columns]
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError, MemoryError) as error:
        raise MalformedBodyError(
            f"the body is not Parquet: {error}", hint="send the bytes of a file that pandas or Arrow wrote"
        ) from error
    return {"inputs": rows_of(table.column_names, list(zip(*columns, strict=True)), signature)}


def check_cells(rows: int, columns: int, size: int) -> None:
    """Refuse a table that a few bytes blow up to one that fills the memory: one of nulls, or of one value.

    Args:
        rows: How many rows it has.
        columns: How many columns.
        size: Bytes of its body.

    Raises:
        MalformedBodyError: it has more cells than `_FEW_CELLS`, and than `_CELLS_PER_BYTE` for each byte.
    """
    if rows * columns > max(_FEW_CELLS, _CELLS_PER_BYTE * size):
        raise MalformedBodyError(
            f"the {size} bytes say that they are {rows} rows of {columns} columns",
            hint="send tables of data, or fewer rows at a time",
        )


def _read(body: bytes | memoryview) -> tuple[list[str], list[list[str]]]:
    """The columns' names, or the first line's numbers in their place, and the lines."""
    try:
        text = bytes(body).decode("utf-8-sig")
    except UnicodeDecodeError as fault:
        raise MalformedBodyError(
            f"the body is not UTF-8 text: byte {fault.start} is 0x{bytes(body)[fault.start]:02x}",
            hint="send the CSV in UTF-8",
        ) from fault
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[list[str]] = []
    try:
        for line in reader:
            if lines and line and len(line) != len(lines[0]):
                raise MalformedBodyError(
                    f"line {reader.line_num} has {len(line)} cells, the first line has {len(lines[0])}",
                    hint="quote cells that hold commas",
                )
            if line:
                lines.append(line)
    except csv.Error as fault:
        raise MalformedBodyError(
            f"the body is not CSV: {fault} at line {reader.line_num}", hint="quote cells that hold quotes"
        ) from fault
    if not lines:
        raise MalformedBodyError("the body is empty", hint="send a line of column names, and a line per row")
    names = lines[0]
    if len(set(names)) < len(names) and _is_header(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedBodyError(f"two columns are named {twice!r}", hint="give each column its own name")
    return names, lines[1:] if _is_header(names) else lines


def _is_header(cells: Sequence[str]) -> bool:
    return any(_number(cell) is None for cell in cells)


def _typed(cells: Sequence[str], dtype: str) -> list[Any]:
    """The cells of a column as numbers, flags or texts; empty ones are None."""
    if dtype in ("text", "str"):
        return [cell or None for cell in cells]
    readers: tuple[Callable[[str], Any], ...] = (_number, lambda cell: _FLAGS.get(cell.lower()))
    for read in readers:
        values = [read(cell) if cell else None for cell in cells]
        if all(value is not None or not cell for value, cell in zip(values, cells, strict=True)):
            return values
    return [cell or None for cell in cells]


def _number(cell: str) -> int | float | None:
    if "_" in cell:  # which Python would take for a separator of digits
        return None
    try:
        return int(cell)
    except ValueError:
        pass
    try:
        return float(cell)
    except ValueError:
        return None

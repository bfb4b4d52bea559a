"""Find out by trial whether a model answers each row by itself.

That a model takes any number of rows does not yet mean that rows are independent: what looks like rows
may be a sequence, and rows may be scaled by their neighbours. So the model is run on rows drawn at
random, together and one by one, and the answers are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

Run: TypeAlias = Callable[[Mapping[str, Any]], Sequence[Any]]
"""Computes the outputs (arrays, or lists of mappings, one entry per row) of arrays of rows, by input name."""

_ROWS = 2
_LENGTHS = (4, 32, 224)
"""Lengths tried, one after the other, for the other axes whose length is not fixed."""

_TOLERANCE = 1e-3
"""Of the largest value: far more than rounding does to 32-bit numbers, far less than a neighbour does."""


@dataclass(frozen=True)
class RowInput:
    """One input of a model that takes rows.

    Attributes:
        name: What the model calls it.
        dtype: NumPy's name of the element type; `object` for texts.
        row_shape: The length of each axis of one row; None where any will do.
    """

    name: str
    dtype: str
    row_shape: tuple[int | None, ...]


class Finding(Enum):
    """What a trial showed; the value says it as a clause, for a note."""

    INDEPENDENT = "each row is answered by itself"
    DEPENDENT = "in a trial with random rows, the answer to a row depended on the other rows"
    RANDOM = "in a trial with random rows, the same rows were answered differently the second time"
    UNKNOWN = "a trial with random rows was not possible, so it is not known whether rows are independent"


def try_rows(run: Run, inputs: Sequence[RowInput]) -> Finding:
    """Run a model on random rows, together and one by one, and compare.

    A model that refuses random rows (of every length tried) leaves the question open.
    """
    for length in _LENGTHS:
        rows = random_rows(inputs, length)
        try:
            joined = run(rows)
            separate = [run(_row(rows, index)) for index in range(_ROWS)]
        except Exception:  # noqa: BLE001, S112  # rows of this length do not suit the model
            continue
        if all(
            _same_rows(output, [answer[index] for answer in separate]) for index, output in enumerate(joined)
        ):
            return Finding.INDEPENDENT
        # A large model is run no more often than it takes: random answers would not have agreed.
        return Finding.DEPENDENT if all(map(same_values, joined, run(rows))) else Finding.RANDOM
    return Finding.UNKNOWN


def random_rows(inputs: Sequence[RowInput], length: int) -> dict[str, Any]:
    """The same few random rows at each call, as one array per input; `length` is that of open axes."""
    import numpy as np

    random = np.random.default_rng(0)
    return {item.name: _random(random, item, length) for item in inputs}


def same_values(one: Any, other: Any, tolerance: float = _TOLERANCE) -> bool:
    """Whether two outputs agree but for rounding, by `tolerance` times the largest value."""
    import numpy as np

    first, second = _values(one), _values(other)
    if first.shape != second.shape:
        return False
    if first.dtype.kind != "f":
        return bool(np.array_equal(first, second))
    largest = np.max(np.abs(first[np.isfinite(first)]), initial=0.0)
    return bool(np.allclose(first, second, rtol=0, atol=tolerance * float(largest), equal_nan=True))


def _random(random: Any, item: RowInput, length: int) -> Any:
    import numpy as np

    shape = (_ROWS, *(length if size is None else size for size in item.row_shape))
    dtype = np.dtype(item.dtype)
    if dtype.kind == "O":
        return random.choice(np.array(["a", "b"], dtype=object), shape)
    if dtype.kind == "f":
        return random.standard_normal(shape).astype(dtype)
    # Whole numbers may be positions in a table or a mask: small ones fit both. Rows are not all the same.
    drawn = random.integers(0, 2, shape)
    drawn[-1] = 1 - drawn[0]
    return drawn.astype(dtype)


def _row(rows: Mapping[str, Any], index: int) -> dict[str, Any]:
    return {name: array[index : index + 1] for name, array in rows.items()}


def _same_rows(joined: Any, separate: list[Any]) -> bool:
    """Whether single answers have one entry each, which are the entries of the joined answer."""
    import numpy as np

    if any(len(rows) != 1 for rows in separate):
        return False
    parts = [_values(rows) for rows in separate]
    if len({part.shape for part in parts}) != 1:
        return False
    return same_values(np.concatenate(parts), joined)


def _values(output: Any) -> Any:
    """An array; of mappings, one per row, their values. Formats that NumPy lacks become 32-bit numbers."""
    import numpy as np

    if isinstance(output, list):
        output = [list(row.values()) if isinstance(row, Mapping) else row for row in output]
    array = np.asarray(output)
    return array.astype("float32") if array.dtype.kind == "V" else array

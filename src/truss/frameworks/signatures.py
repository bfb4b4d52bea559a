"""What models say about the inputs of a request, as the `signature` of a config."""

from __future__ import annotations

import re
from collections.abc import Sequence

from truss.config import Column, Signature, Tensor
from truss.frameworks.trial import RowInput

# What libraries call columns that were given no names: f0, Column_0, 0.
_NO_NAME = re.compile(r"(f|Column_)?\d+")


def of_features(names: Sequence[str]) -> Signature:
    """Of a table with these columns; where the library has numbered them, only their count is said."""
    if all(_NO_NAME.fullmatch(name) for name in names):
        return of_width(len(names))
    return Signature(columns=[Column(name=name) for name in names])


def of_width(count: int) -> Signature:
    """Of rows with so many values each."""
    return Signature(tensors=[Tensor(shape=[None, count])])


def of_row_inputs(inputs: Sequence[RowInput]) -> Signature:
    """Of rows that are arrays; with several inputs a row is a mapping by their names."""
    if len(inputs) == 1:
        return Signature(tensors=[_tensor("", inputs[0])])
    return Signature(tensors=[_tensor(one.name, one) for one in inputs])


def _tensor(name: str, one: RowInput) -> Tensor:
    dtype = "text" if one.dtype == "object" else one.dtype
    return Tensor(name=name, dtype=dtype, shape=[None, *one.row_shape])

"""`signature`: what the inputs of a request hold, so that one that does not fit is told why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from truss.config.schema.section import NOT_EMPTY, NOT_NEGATIVE, Complaint, Section, doc, repeated

_DTYPE = "What its values are: a NumPy name such as `float32` or `int64`, or `bool`, `text`, or `any`."


class Column(Section, frozen=True, kw_only=True):
    """One of `signature.columns`."""

    name: Annotated[Annotated[str, NOT_EMPTY], doc("The column's name.", "truss")]
    dtype: Annotated[str, doc(_DTYPE, "truss")] = "any"


class Tensor(Section, frozen=True, kw_only=True):
    """One of `signature.tensors`."""

    name: Annotated[str, doc("The input's name; empty for a model with a single one.", "truss")] = ""
    dtype: Annotated[str, doc(_DTYPE, "truss")] = "any"
    shape: Annotated[
        list[Annotated[int, NOT_NEGATIVE] | None] | None,
        doc("The length of each axis, the rows' first; null where it varies, or is not known.", "truss"),
    ] = None


class Signature(Section, frozen=True, kw_only=True):
    """What the inputs of a request hold: a table's columns, or arrays. Empty when nothing is known."""

    columns: Annotated[list[Column], doc("The columns of a table, in the model's order.", "truss")] = []
    tensors: Annotated[list[Tensor], doc("The arrays, one per input of the model.", "truss")] = []

    def __bool__(self) -> bool:
        """Whether anything is known."""
        return bool(self.columns or self.tensors)

    def complaints(self) -> Iterator[Complaint]:
        """What cannot be said together."""
        if self.columns and self.tensors:
            yield Complaint("tensors", "cannot be combined with `columns`", "one of the two")
        yield from repeated("columns", "name", [column.name for column in self.columns])
        yield from repeated("tensors", "name", [tensor.name for tensor in self.tensors])

"""What a session says about its inputs and outputs, as plain values for the config."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from truss.config import Signature as RequestSignature
from truss.errors import PackagingError
from truss.frameworks.signatures import of_row_inputs
from truss.frameworks.trial import RowInput

_DTYPES = MappingProxyType(
    {
        "float": "float32",
        "double": "float64",
        "float16": "float16",
        "int8": "int8",
        "int16": "int16",
        "int32": "int32",
        "int64": "int64",
        "uint8": "uint8",
        "uint16": "uint16",
        "uint32": "uint32",
        "uint64": "uint64",
        "bool": "bool",
        "string": "object",
    }
)
"""NumPy's names for the element types that arrays of it can hold."""

_CLASSIFIER_OUTPUTS = frozenset(
    {("label", "probabilities"), ("output_label", "output_probability"), ("label", "probability_tensor")}
)
"""How converters name the two outputs of classifiers."""


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: As in the graph.
        dtype: NumPy's name of its element type; `object` for texts.
        shape: The length of each axis; None where any will do.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a model.

    Attributes:
        inputs: In the graph's order; never empty.
        outputs: Their names, in the graph's order.
        by_row: Whether the first axis of every input and output may have any length.
        precision: NumPy's name of the least exact type of number among the outputs; float64 without any.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    by_row: bool
    precision: str

    @property
    def answer_keys(self) -> tuple[str, ...]:
        """The keys of an answer, one per output; empty when several outputs go into one record."""
        if len(self.outputs) == 1:
            return ("predictions",)
        if self.by_row and self.outputs in _CLASSIFIER_OUTPUTS:
            return ("predictions", "probabilities")
        return ()

    @property
    def row_inputs(self) -> list[RowInput]:
        """The inputs, for a model whose first axis is that of the rows."""
        return [RowInput(item.name, item.dtype, item.shape[1:]) for item in self.inputs]

    def of_requests(self) -> RequestSignature:
        """What a request's inputs hold; empty where they are not rows."""
        return of_row_inputs(self.row_inputs) if self.by_row else RequestSignature()

    def metadata(self) -> dict[str, Any]:
        """What the model class reads from the config."""
        return {
            "inputs": [
                {"name": item.name, "dtype": item.dtype, "shape": list(item.shape)} for item in self.inputs
            ],
            "outputs": list(self.outputs),
            "by_row": self.by_row,
            "answer_keys": list(self.answer_keys),
        }


def signature_of(session: Any) -> Signature:
    """Read the signature of a session.

    Raises:
        PackagingError: it takes no input, or one that is no array.
    """
    inputs = tuple(_input(item) for item in session.get_inputs())
    if not inputs:
        raise PackagingError(
            "this ONNX model takes no input, so its answer never changes",
            hint="export it with its parameters as initializers and its features as inputs",
        )
    shapes = [item.shape for item in inputs]
    shapes += [_shape(output.shape) for output in session.get_outputs() if _is_tensor(output.type)]
    return Signature(
        inputs=inputs,
        outputs=tuple(output.name for output in session.get_outputs()),
        by_row=all(shape[:1] == (None,) for shape in shapes),
        precision=_least_exact([output.type for output in session.get_outputs()]),
    )


def _input(item: Any) -> Input:
    element = item.type.removeprefix("tensor(").removesuffix(")")
    if not _is_tensor(item.type) or element not in _DTYPES:
        raise PackagingError(
            f"the input '{item.name}' is of the type {item.type}, which a request cannot hold",
            hint="export the model with arrays of numbers or texts as inputs (float32 in place of bfloat16)",
        )
    return Input(item.name, _DTYPES[element], _shape(item.shape))


def _least_exact(kinds: list[str]) -> str:
    """The type of number in `tensor(float)`, or inside `seq(map(int64,tensor(float)))`."""
    exactness = {"tensor(float16)": "float16", "tensor(float)": "float32"}
    return next((name for kind, name in exactness.items() if any(kind in text for text in kinds)), "float64")


def _is_tensor(kind: str) -> bool:
    return kind.startswith("tensor(")


def _shape(shape: list[Any]) -> tuple[int | None, ...]:
    return tuple(axis if isinstance(axis, int) else None for axis in shape)

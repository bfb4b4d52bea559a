"""What a signature says about its inputs and outputs, as plain values for the config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from truss.config import Signature as RequestSignature
from truss.errors import PackagingError
from truss.frameworks.signatures import of_row_inputs
from truss.frameworks.trial import RowInput

_PRECISIONS = ("bfloat16", "float16", "float32")
_KINDS = "biuf"


@dataclass(frozen=True)
class Input:
    """One input of a signature.

    Attributes:
        name: As the signature calls it.
        dtype: TensorFlow's name of its element type, e.g. `float32` or `string`.
        shape: The length of each axis, None where any will do; None when even their number is open.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a function.

    Attributes:
        inputs: In their order; never empty.
        outputs: Their names.
        by_row: Whether the first axis of every input and output may have any length. A single output may
            have any shape at all.
        precision: NumPy's name of the least exact type of number among the outputs; float64 without any.
    """

    inputs: tuple[Input, ...]
    outputs: tuple[str, ...]
    by_row: bool
    precision: str

    @property
    def row_inputs(self) -> list[RowInput]:
        """The inputs, for a function whose first axis is that of the rows."""
        return [RowInput(item.name, _numpy_name(item.dtype), (item.shape or ())[1:]) for item in self.inputs]

    def of_requests(self) -> RequestSignature:
        """What a request's inputs hold; empty where they are not rows."""
        return of_row_inputs(self.row_inputs) if self.by_row else RequestSignature()

    def metadata(self) -> dict[str, Any]:
        """What the model class reads from the config about inputs and outputs."""
        return {
            "inputs": [
                {
                    "name": item.name,
                    "dtype": item.dtype,
                    "shape": None if item.shape is None else list(item.shape),
                }
                for item in self.inputs
            ],
            "outputs": list(self.outputs),
            "by_row": self.by_row,
        }


def signature_of(function: Any) -> Signature:
    """Read the signature of a function that takes and gives tensors by name.

    Raises:
        PackagingError: it takes nothing, gives nothing, or takes what a request cannot hold.
    """
    inputs = tuple(_input(name, spec) for name, spec in function.structured_input_signature[1].items())
    outputs = dict(function.structured_outputs)
    if not inputs or not outputs:
        raise PackagingError(
            f"this signature {'gives' if inputs else 'takes'} nothing",
            hint="choose one that takes features and gives predictions",
        )
    shapes = [item.shape for item in inputs]
    given = [_shape(output) for output in outputs.values()]
    return Signature(
        inputs=inputs,
        outputs=tuple(outputs),
        by_row=all(shape is not None and shape[:1] == (None,) for shape in shapes)
        and all(shape[:1] == (None,) if shape is not None else len(given) == 1 for shape in given),
        precision=_least_exact([output.dtype.name for output in outputs.values()]),
    )


def _input(name: str, spec: Any) -> Input:
    dtype = spec.dtype
    if dtype.name not in ("string", "bfloat16") and _kind(dtype) not in _KINDS:
        raise PackagingError(
            f"the input '{name}' is of the type {dtype.name}, which a request cannot hold",
            hint="write a function that takes numbers, truth values or texts, and converts them",
        )
    return Input(name, dtype.name, _shape(spec))


def _kind(dtype: Any) -> str:
    import numpy as np

    return str(np.dtype(dtype.as_numpy_dtype).kind)


def _shape(spec: Any) -> tuple[int | None, ...] | None:
    return None if spec.shape.rank is None else tuple(spec.shape.as_list())


def _least_exact(names: list[str]) -> str:
    return next((name for name in _PRECISIONS if name in names), "float64")


def _numpy_name(dtype: str) -> str:
    """NumPy has no bfloat16: single precision is converted to it. Texts have no fixed length."""
    return {"string": "object", "bfloat16": "float32"}.get(dtype, dtype)

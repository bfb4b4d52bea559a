"""What a Keras model says about its inputs and outputs, as plain values for the config."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from truss.config import Signature as RequestSignature
from truss.errors import PackagingError
from truss.frameworks.signatures import of_row_inputs
from truss.frameworks.trial import RowInput

Structure: TypeAlias = Literal["single", "list", "dict", "unknown"]
"""How the model takes its inputs; `unknown` when its own code decides."""


@dataclass(frozen=True)
class Signature:
    """The inputs and outputs of a model.

    Attributes:
        structure: How the model takes its inputs.
        inputs: In the model's order; empty when only its own code knows.
        outputs: The names of its outputs where it gives a list of them; else empty.
        batch_size: The number of rows that the model was built for; None when any will do.
    """

    structure: Structure
    inputs: tuple[RowInput, ...] = ()
    outputs: tuple[str, ...] = ()
    batch_size: int | None = None

    def of_requests(self) -> RequestSignature:
        """What a request's inputs hold; empty where the model's own code decides."""
        if not self.inputs or (self.structure == "dict" and len(self.inputs) == 1):
            return RequestSignature()
        return of_row_inputs(self.inputs)

    def metadata(self) -> dict[str, Any]:
        """What the model class reads from the config."""
        return {
            "input_structure": self.structure,
            "inputs": [
                {
                    "name": item.name,
                    "dtype": None if item.dtype == "object" else item.dtype,
                    "shape": list(item.row_shape),
                }
                for item in self.inputs
            ],
            "outputs": list(self.outputs),
        }


def signature_of(model: Any) -> Signature:
    """Read the signature of a built model.

    Raises:
        PackagingError: its inputs are nested deeper than a list or a dict.
    """
    if not getattr(model, "inputs", None):
        return Signature("unknown")
    # A Sequential has one input and one output, and only lists of them.
    given = getattr(model, "input", model.inputs[0])
    if isinstance(given, dict):
        structure: Structure = "dict"
        tensors = dict(given)
    elif isinstance(given, (list, tuple)):
        structure = "list"
        tensors = {getattr(tensor, "name", ""): tensor for tensor in given}
    else:
        structure, tensors = "single", {"inputs": given}
    if any(not hasattr(tensor, "shape") for tensor in tensors.values()):
        raise PackagingError(
            "the inputs of this Keras model are nested, which a row of a request cannot be",
            hint="give the model a list of inputs, or a dict of inputs by name",
        )
    sizes = {tensor.shape[0] for tensor in tensors.values()} - {None}
    return Signature(
        structure=structure,
        inputs=tuple(_row_input(name, tensor) for name, tensor in tensors.items()),
        outputs=tuple(model.output_names)
        if isinstance(getattr(model, "output", None), (list, tuple))
        else (),
        batch_size=next(iter(sizes), None),
    )


def trial_inputs(model: Any, signature: Signature) -> tuple[RowInput, ...]:
    """The inputs that a trial can be made with; those of a model of the user's own from its building."""
    if signature.inputs:
        return signature.inputs
    shapes = model.get_build_config() or {}
    shape = shapes.get("input_shape")
    if not (isinstance(shape, (list, tuple)) and all(isinstance(size, (int, type(None))) for size in shape)):
        return ()
    return (RowInput("inputs", "float32", tuple(shape[1:])),)


def _row_input(name: str, tensor: Any) -> RowInput:
    dtype = str(tensor.dtype)
    # NumPy has no bfloat16; the model converts numbers itself. Texts have no fixed length.
    dtype = {"string": "object", "bfloat16": "float32"}.get(dtype, dtype)
    return RowInput(name, dtype, tuple(tensor.shape[1:]))

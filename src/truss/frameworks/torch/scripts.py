"""Describe and write TorchScript modules, which carry their code with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.pickles import reason_of
from truss.frameworks.torch.files import Written
from truss.frameworks.torch.signature import float_dtype

_LOOKUPS = ("aten::embedding", "aten::gather", "aten::index", "aten::one_hot")


def describe_script(script: Any) -> dict[str, Any]:
    """What the model class needs to know of a TorchScript module; the keys are `describe_module`'s.

    Raises:
        PackagingError: it has no `forward`.
    """
    if not hasattr(script, "forward"):
        raise PackagingError(
            "this TorchScript module has no `forward` to call",
            hint="give the module a `forward` that calls the method to be served",
        )
    graph = str(script.inlined_graph)
    return {
        "inputs": [argument.name for argument in script.forward.schema.arguments[1:]],
        "positional": [],
        "dtype": float_dtype(script),
        "whole_numbers": any(name in graph for name in _LOOKUPS),
        "row_axes": 0,
    }


def write_script(script: Any, folder: Path) -> Written:
    """Write `model.pt` to `folder`.

    Raises:
        PackagingError: torch cannot save it.
    """
    try:
        script.save(str(folder / "model.pt"))
    except Exception as error:
        raise PackagingError(
            f"torch cannot save this TorchScript module: {reason_of(error)}",
            hint="see that its own `save` works",
        ) from error
    return Written(requirements=("torch", "numpy"))

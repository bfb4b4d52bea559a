"""Describe and write the programs that `torch.export` makes, which know exactly what they take."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.pickles import reason_of
from truss.frameworks.torch.files import Written
from truss.frameworks.trial import RowInput

_CONSTANTS = (bool, int, float, str, type(None))

# What the exported code of a layer is called that works otherwise in training, and where it says so.
_TRAINING_ARGUMENTS = {"dropout": 2, "alpha_dropout": 2, "feature_dropout": 2, "batch_norm": 5}


def describe_program(program: Any) -> dict[str, Any]:
    """What the model class needs to know of a program's inputs, for its config.

    Returns:
        `inputs`: one mapping for each value that the program takes, in its order: `name`, `dtype` and
        `shape` (null: any length) of a tensor, `name` and `constant` of a value fixed at the export.

    Raises:
        PackagingError: a value was fixed at the export that a config cannot hold.
    """
    return {"inputs": list(_inputs(program))}


def batch_axis(program: Any) -> str | None:
    """The name of the length that the first axes of all inputs and of the one output share.

    None when they share none, when it is fixed, or when the program returns anything but one tensor: then
    rows of several requests cannot be joined.
    """
    outputs = _values(next(node for node in program.graph.nodes if node.op == "output").args[0])
    inputs = [value for value in _placeholder_values(program) if hasattr(value, "shape")]
    if (
        len(outputs) != 1
        or program.call_spec.out_spec.num_leaves != 1
        or not program.call_spec.out_spec.is_leaf()
    ):
        return None
    axes = {
        str(value.shape[0]) if getattr(value, "shape", ()) and not isinstance(value.shape[0], int) else None
        for value in (*inputs, *outputs)
    }
    return axes.pop() if len(axes) == 1 else None


def takes_rows(program: Any) -> bool:
    """Whether the first axes of all inputs are of one length, so that a request's rows may be records."""
    inputs = [value for value in _placeholder_values(program) if hasattr(value, "shape")]
    lengths = {str(value.shape[0]) if value.shape else None for value in inputs}
    return len(lengths) == 1 and None not in lengths


def row_inputs(program: Any) -> list[RowInput]:
    """The inputs of a program whose rows may be tried; numbers that NumPy lacks are drawn as float32."""
    return [
        RowInput(item["name"], item["dtype"].replace("bfloat16", "float32"), tuple(item["shape"][1:]))
        for item in _inputs(program)
        if "dtype" in item
    ]


def trains(program: Any) -> bool:
    """Whether it was exported while the module was in training, which stays with the program."""
    for node in program.graph.nodes:
        name = str(node.target).removeprefix("aten.").partition(".")[0].rstrip("_")
        position = _TRAINING_ARGUMENTS.get(name)
        if position is not None and len(node.args) > position and node.args[position] is True:
            return True
    return False


def write_program(program: Any, folder: Path) -> Written:
    """Write `model.pt2` to `folder`, with the weights on the CPU, wherever they are now.

    Raises:
        PackagingError: torch cannot save it.
    """
    import torch
    from torch.export.passes import move_to_device_pass

    file = folder / "model.pt2"
    tensors = (*program.state_dict.values(), *program.constants.values())
    try:
        torch.export.save(program, file)
        if any(isinstance(tensor, torch.Tensor) and tensor.device.type != "cpu" for tensor in tensors):
            # What was saved is loaded to be moved, since moving changes a program and `copy.deepcopy` of one
            # names its inputs anew, which torch then refuses.
            torch.export.save(move_to_device_pass(torch.export.load(file), "cpu"), file)
    except Exception as error:
        raise PackagingError(
            f"torch cannot save this exported program: {reason_of(error)}",
            hint="see that `torch.export.save` and `torch.export.load` work with it",
        ) from error
    return Written(requirements=("torch", "numpy"))


def _inputs(program: Any) -> Iterator[dict[str, Any]]:
    for name, value in zip(_names(program), _placeholder_values(program), strict=True):
        if hasattr(value, "shape"):
            shape = [size if isinstance(size, int) else None for size in value.shape]
            yield {"name": name, "dtype": str(value.dtype).removeprefix("torch."), "shape": shape}
        elif isinstance(value, _CONSTANTS):
            yield {"name": name, "constant": value}
        else:
            raise PackagingError(
                f"the input `{name}` of this program was fixed to a {type(value).__name__} at the export, "
                "which a config file cannot hold",
                hint="export a module whose `forward` takes tensors only",
            )


def _names(program: Any) -> list[str]:
    """What a request calls the program's inputs: the arguments of `forward`.

    If the one argument is a dict, they are its keys; in any other structure, what the graph calls them.
    """
    positional, by_name = program.call_spec.in_spec.unflatten(list(_placeholders(program)))
    if len(positional) == 1 and not by_name and isinstance(positional[0], dict):
        return [str(key) for key in positional[0]]
    if any(isinstance(item, (dict, list, tuple)) for item in (*positional, *by_name.values())):
        return [str(name) for name in _placeholders(program)]
    arguments = list(inspect.signature(program.module().forward).parameters)
    return arguments[: len(positional)] + list(by_name)


def _placeholders(program: Any) -> dict[str, Any]:
    """The values that the program's own inputs stand for, by the names of the graph."""
    nodes = [node for node in program.graph.nodes if node.op == "placeholder"]
    own = nodes[len(nodes) - program.call_spec.in_spec.num_leaves :]
    return {node.name: node.meta.get("val") for node in own}


def _placeholder_values(program: Any) -> list[Any]:
    return list(_placeholders(program).values())


def _values(nodes: Any) -> list[Any]:
    return [getattr(node, "meta", {}).get("val") for node in nodes]

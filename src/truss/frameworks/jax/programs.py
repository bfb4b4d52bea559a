"""Make and describe programs of `jax.export`."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.jax.functions import Function
from truss.frameworks.jax.shapes import with_any_rows
from truss.frameworks.pickles import reason_of
from truss.frameworks.trial import RowInput

_PLATFORMS = ("cpu", "cuda")
_SHOWN = 300


def export_program(function: Function, inputs: tuple[Any, ...]) -> tuple[Any, str | None]:
    """The program that computes a function from weights and inputs, on CPU and GPU.

    Returns:
        The program, and why its number of rows is fixed to that of `inputs`: None when it is open.

    Raises:
        PackagingError: JAX cannot trace the function with these inputs.
    """
    import jax
    from jax import export

    make = export.export(jax.jit(function.apart), platforms=_PLATFORMS)
    try:
        return make(function.weights, *with_any_rows(inputs)), None
    except Exception as error:  # noqa: BLE001 - the function may look at the number of rows in many ways
        reason = f"JAX cannot leave the number of rows open: {reason_of(error)[:_SHOWN]}"
    try:
        return make(function.weights, *inputs), reason
    except Exception as error:
        raise PackagingError(
            f"JAX cannot export this function: {reason_of(error)}",
            hint="see that `jax.export.export(jax.jit(function))(example)` works; "
            "settle other arguments with `jax.jit(functools.partial(function, params, train=False))`",
        ) from error


def check_program(program: Any) -> None:
    """Refuse what cannot be served.

    Raises:
        PackagingError: it runs on several devices, or on another platform than CPU and GPU.
    """
    if program.nr_devices != 1:
        raise PackagingError(
            f"this program runs on {program.nr_devices} devices together; one is served",
            hint="export it for one device",
        )
    if not set(program.platforms) & {"cpu", "cuda", "rocm"}:
        raise PackagingError(
            f"this program was exported for {', '.join(program.platforms)} only",
            hint='export it with `platforms=["cpu", "cuda"]`',
        )


def serialize(program: Any) -> bytes:
    """The program as bytes.

    Raises:
        PackagingError: JAX cannot write it, such as for a structure of the caller's own.
        MissingExtraError: flatbuffers is not installed, in which JAX writes it.
    """
    if find_spec("flatbuffers") is None:
        raise MissingExtraError("flatbuffers", "jax", "saving a program of JAX")
    try:
        return bytes(program.serialize())
    except Exception as error:
        raise PackagingError(
            f"JAX cannot write this program: {reason_of(error)}",
            hint="take and return arrays, or lists, tuples and dicts of them",
        ) from error


def describe_inputs(program: Any, weights: int = 0, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Name, type and shape (null: any length) of each input, for the config.

    Args:
        program: The program.
        weights: How many of its values are weights, which no request holds.
        names: What its positional arguments are called, where that is known.
    """
    import jax

    values = program.in_avals
    tree = jax.tree.unflatten(program.in_tree, range(len(values)))
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tree)][weights:]
    called = [_name(path, names) for path in paths]
    if len(set(called)) < len(called):
        called = [f"input_{index}" for index in range(len(called))]
    if len(called) == 1:
        called = ["inputs"]  # nobody has to name it
    return [
        {
            "name": name,
            "dtype": str(value.dtype),
            "shape": [size if isinstance(size, int) else None for size in value.shape],
        }
        for name, value in zip(called, values[weights:], strict=True)
    ]


def has_open_rows(program: Any, weights: int) -> bool:
    """Whether all inputs, and all results, have one open length as their first axis."""
    axes = [str(value.shape[0]) if value.shape else "" for value in program.in_avals[weights:]]
    axes += [str(value.shape[0]) if value.shape else "" for value in program.out_avals]
    return len(set(axes)) == 1 and not axes[0].isdigit() and axes[0] != ""


def row_inputs(inputs: Sequence[dict[str, Any]]) -> list[RowInput]:
    """The inputs whose rows may be tried; numbers that NumPy lacks are drawn as float32."""
    return [
        RowInput(item["name"], item["dtype"].replace("bfloat16", "float32"), tuple(item["shape"][1:]))
        for item in inputs
    ]


def _name(path: tuple[Any, ...], names: Sequence[str]) -> str:
    """What a value is called: by the last key that is a word, else by its argument.

    The path leads through a pair: positional arguments, and those given by name.
    """
    keys: list[Any] = [getattr(key, "key", getattr(key, "idx", None)) for key in path[1:]]
    words = [key for key in keys if isinstance(key, str)]
    if not words and len(keys) == 1:
        words = list(names[keys[0] : keys[0] + 1])
    return words[-1] if words else f"input_{keys[-1]}"

"""What a module takes: the names of its inputs and the type that its numbers have."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

from truss.frameworks.torch.rowwise import reason_against_joining, row_input

# Names in the code of a `forward` that says by them that it looks things up by whole numbers.
_LOOKUPS = frozenset(
    {"embedding", "embedding_bag", "gather", "index_select", "int64", "long", "LongTensor", "one_hot"}
)


def describe_module(module: Any) -> dict[str, Any]:
    """What the model class needs to know of a module's inputs, for its config.

    Returns:
        `inputs`: the names of the arguments of `forward`, null if it takes any; `positional`: those of them
        that are given by position only; `dtype`: the type of float inputs; `whole_numbers`: whether whole
        numbers stay such; `row_axes`: the least number of axes that one row has.
    """
    parameters = _parameters(module.forward)
    row = None if reason_against_joining(module) else row_input(module)
    any_name = any(item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL) for item in parameters)
    return {
        "inputs": None if any_name or not parameters else [item.name for item in parameters],
        "positional": [item.name for item in parameters if item.kind is item.POSITIONAL_ONLY],
        "dtype": float_dtype(module),
        "whole_numbers": any(map(_looks_things_up, module.modules())),
        "row_axes": len(row.row_shape) if row is not None else 0,
    }


def float_dtype(module: Any) -> str:
    """The name of the type of the first float parameter or buffer; `float32` without any."""
    import torch

    kinds = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    tensors = (*module.parameters(), *module.buffers())
    found = next((tensor.dtype for tensor in tensors if tensor.dtype in kinds), torch.float32)
    return str(found).removeprefix("torch.")


def device_of(module: Any) -> Any:
    """The device of the first parameter or buffer; the CPU without any."""
    import torch

    tensors = (*module.parameters(), *module.buffers())
    return tensors[0].device if tensors else torch.device("cpu")


def _parameters(forward: Any) -> list[inspect.Parameter]:
    """The arguments of `forward`; none where it is a built-in function, which does not tell them."""
    try:
        return list(inspect.signature(forward).parameters.values())
    except ValueError:
        return []


def _looks_things_up(module: Any) -> bool:
    """Whether a module takes whole numbers as such: positions in a table, or classes."""
    import torch

    if isinstance(module, (torch.nn.Embedding, torch.nn.EmbeddingBag)):
        return True
    own = [base for base in type(module).__mro__ if not base.__module__.startswith("torch.")]
    functions = (item for base in own for item in vars(base).values() if isinstance(item, FunctionType))
    return any(not _LOOKUPS.isdisjoint(_names(function.__code__)) for function in functions)


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)

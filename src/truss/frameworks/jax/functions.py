"""Take a model apart into a function and the arrays that are its weights."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from truss.frameworks.jax.given import Given

Weights: TypeAlias = dict[str, Any]
"""Arrays by name."""


@dataclass(frozen=True)
class Function:
    """A model as a function.

    Attributes:
        live: Calls the live model with its inputs.
        apart: Computes the same from weights and inputs: `apart(weights, *inputs)`.
        weights: The weights that the live model has now.
    """

    live: Callable[..., Any]
    apart: Callable[..., Any]
    weights: Weights


def function_of(given: Given) -> Function:
    """The function that a model, which is no exported program, is."""
    if given.kind == "nnx":
        return _of_nnx(given.model)
    if given.kind == "linen":
        return _of_partial(partial(given.model.apply, given.variables))
    wrapped = getattr(given.model, "__wrapped__", None)
    if isinstance(wrapped, partial):
        return _of_partial(wrapped, given.model)
    # What a function captures in other ways becomes a part of the program.
    return Function(given.model, lambda _, *inputs: given.model(*inputs), {})


def argument_names(function: Callable[..., Any], count: int) -> list[str]:
    """What the first `count` arguments of a function are called; `input_0` and so on if it does not say."""
    try:
        names = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        ]
    except (TypeError, ValueError):
        names = []
    return names[:count] if len(names) >= count else [f"input_{index}" for index in range(count)]


def _of_partial(function: partial[Any], live: Callable[..., Any] | None = None) -> Function:
    weights, together = _apart((function.args, function.keywords))

    def apart(weights: Weights, *inputs: Any) -> Any:
        args, keywords = together(weights)
        return function.func(*args, *inputs, **keywords)

    return Function(live or function, apart, weights)


def _of_nnx(model: Any) -> Function:
    from flax import nnx

    evaluated = nnx.clone(model)  # the caller's stays in the mode that it is in
    evaluated.eval()
    definition, state = nnx.split(evaluated)
    weights, together = _apart(state)

    def apart(weights: Weights, *inputs: Any) -> Any:
        return nnx.merge(definition, together(weights))(*inputs)

    return Function(evaluated, apart, weights)


def _apart(tree: Any) -> tuple[Weights, Callable[[Weights], Any]]:
    """The arrays in a tree by their places, and the function that puts others in these places."""
    import jax

    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    named = [(jax.tree_util.keystr(path), leaf) for path, leaf in leaves]
    weights = {name: jax.numpy.asarray(leaf) for name, leaf in named if _is_weight(leaf)}

    def together(weights: Weights) -> Any:
        return jax.tree.unflatten(structure, [weights.get(name, leaf) for name, leaf in named])

    return weights, together


def _is_weight(leaf: Any) -> bool:
    """Whether a leaf is an array of numbers; keys of random numbers, and Python's numbers, are none."""
    import jax
    import numpy as np

    return isinstance(leaf, (jax.Array, np.ndarray)) and not jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.extended
    )

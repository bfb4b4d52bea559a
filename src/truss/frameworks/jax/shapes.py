"""Find out what a function takes: from an example, or from the one width that its weights allow."""

from __future__ import annotations

from typing import Any

from truss.errors import PackagingError
from truss.frameworks.jax.functions import Function
from truss.frameworks.jax.given import needs_example

_NO_WEIGHT_HAS = 9973
"""A width that is tried to see whether weights limit the width at all."""


def inputs_like(example: Any) -> tuple[Any, ...]:
    """The shapes and types of a function's arguments, one for each, as in an example.

    Raises:
        PackagingError: it holds something else than numbers, or its arrays differ in their number of rows.
    """
    import jax
    import numpy as np

    # A list is rows of numbers; a tuple is one argument after the other.
    arguments = example if isinstance(example, tuple) else (example,)
    arrays = jax.tree.map(np.asarray, arguments, is_leaf=lambda value: isinstance(value, list))
    leaves = jax.tree.leaves(arrays)
    if not leaves or any(leaf.dtype.kind not in "biufV" or leaf.ndim == 0 for leaf in leaves):
        raise needs_example("the example holds something else than arrays of rows of numbers")
    if len({len(leaf) for leaf in leaves}) > 1:
        raise PackagingError(
            "the arrays in the example differ in their number of rows",
            hint="the first axis of each is that of the rows; close over what is the same for all rows",
        )
    return tuple(jax.tree.map(lambda leaf: _spec(leaf.shape, leaf.dtype), argument) for argument in arrays)


def inputs_by_weights(function: Function) -> tuple[Any, ...]:
    """The one argument of a function of rows of features, when its weights allow one width only.

    Nothing is computed: shapes are followed through the function.

    Raises:
        PackagingError: rows of none, of several or of any width suit it.
    """
    widths = sorted({size for array in function.weights.values() for size in array.shape})
    fitting = [width for width in widths if _takes(function, width)]
    if len(fitting) != 1 or _takes(function, _NO_WEIGHT_HAS):
        found = f"rows of {fitting} values each would do" if fitting else "no rows of values suit it"
        raise needs_example(f"what this function takes does not follow from its weights: {found}")
    return (_spec((1, fitting[0]), "float32"),)


def with_any_rows(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same inputs with an open number of rows."""
    import jax
    from jax import export

    (rows,) = export.symbolic_shape("rows")
    return tuple(
        jax.tree.map(lambda leaf: _spec((rows, *leaf.shape[1:]), leaf.dtype), argument) for argument in inputs
    )


def _takes(function: Function, width: int) -> bool:
    import jax

    try:
        jax.eval_shape(function.apart, function.weights, _spec((2, width), "float32"))
    except Exception:  # noqa: BLE001 - the function may raise anything when a shape does not suit it
        return False
    return True


def _spec(shape: tuple[Any, ...], dtype: Any) -> Any:
    """A shape with a type: 64 bits become 32 where JAX is set to compute so."""
    import jax

    return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(dtype))

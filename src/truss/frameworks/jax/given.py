"""Tell what was handed over from its type alone, without importing JAX or Flax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from truss.errors import PackagingError

Kind = Literal["exported", "jitted", "nnx", "linen"]

_EXAMPLE_HINT = (
    "hand over an example of its input beside it, with any number of rows: `(model, example)`; "
    "a tuple of arrays in its place is one for each argument, a dict of arrays is one argument"
)


@dataclass(frozen=True)
class Given:
    """A model and what was handed over with it.

    Attributes:
        kind: What the model is.
        model: The model.
        variables: The variables of a linen module; None for other kinds.
        example: Arrays that show what a request's rows are, or None.
    """

    kind: Kind
    model: Any
    variables: Any = None
    example: Any = None


def kind_of(value: object) -> Kind | None:
    """What `value` is to JAX; None when it is nothing of its kind."""
    for base in type(value).__mro__:
        package, _, rest = base.__module__.partition(".")
        if package == "jax" and base.__name__ == "Exported":
            return "exported"
        if package == "jaxlib" and base.__name__ == "PjitFunction":
            return "jitted"
        if package == "flax" and base.__name__ == "Module" and rest.partition(".")[0] in ("nnx", "linen"):
            return "nnx" if rest.startswith("nnx") else "linen"
    return None


def is_packageable(value: object) -> bool:
    """Whether `value` is an exported program, a jitted function, a module of Flax, or a tuple led by one."""
    if isinstance(value, tuple) and len(value) in (2, 3):
        return kind_of(value[0]) is not None
    return kind_of(value) is not None


def unpack(value: Any) -> Given:
    """The model in `value` and what came with it.

    Raises:
        PackagingError: a linen module lacks its variables, or the tuple holds something else.
    """
    model, *rest = value if isinstance(value, tuple) else (value,)
    kind = kind_of(model)
    assert kind is not None
    if kind == "linen":
        return _unpack_linen(model, rest)
    if kind == "exported" and rest:
        raise PackagingError("an exported program knows its inputs", hint="hand it over by itself")
    if len(rest) > 1:
        raise PackagingError("the tuple holds more than a model and an example", hint=_EXAMPLE_HINT)
    return Given(kind, model, example=rest[0] if rest else None)


def needs_example(what: str) -> PackagingError:
    """The error for a model whose inputs are not known; `what` says why."""
    return PackagingError(what, hint=_EXAMPLE_HINT)


def _unpack_linen(model: Any, rest: list[Any]) -> Given:
    if model.scope is not None:
        model, variables = model.unbind()
        rest = [variables, *rest]
    name = type(model).__name__
    if not rest or not isinstance(rest[0], Mapping) or "params" not in rest[0]:
        raise PackagingError(
            f"this linen module, {name}, comes without its variables",
            hint='hand over both, `(module, {"params": params})`, or `module.bind(variables)`',
        )
    if len(rest) > 2:
        raise PackagingError("the tuple holds more than a module, its variables and an example")
    return Given("linen", model, variables=rest[0], example=rest[1] if len(rest) == 2 else None)

"""The table of frameworks, and the search for the one that packages an object.

A built-in framework is one line of `BUILT_IN`. Others come from installed packages, through the entry
point group `truss.frameworks`; the environment variable `TRUSS_PLUGINS` limits which of those are
used (`none`, or names separated by commas; all of them when it is unset).
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType

from truss.errors import UnsupportedObjectError
from truss.frameworks.advice import advice_for
from truss.frameworks.base import Framework

ENTRY_POINT_GROUP = "truss.frameworks"
"""Where an installed package declares its adapter class: `name = "package.module:Class"`."""

PLUGINS_VARIABLE = "TRUSS_PLUGINS"
"""The environment variable that limits third-party adapters."""

GUIDE = "docs/guides/writing-a-framework.md"

BUILT_IN = MappingProxyType(
    {
        "sklearn": "truss.frameworks.sklearn.adapter:SklearnFramework",
        "transformers": "truss.frameworks.transformers.adapter:TransformersFramework",
        # Last: a model of any other framework may be callable too.
        "callable": "truss.frameworks.callable.adapter:CallableFramework",
    }
)
"""The frameworks that come with Truss, by name, in the order in which they are asked."""


def frameworks() -> tuple[Framework, ...]:
    """Every framework, in the order in which they are asked whether they recognise an object.

    Adapters of installed packages come first: whoever installs an adapter for a library wants it used,
    also for objects that a built-in one would take for something more general (many libraries'
    models are scikit-learn estimators, or callable, as well).
    """
    return tuple(_in_order())


def framework_for(model: object) -> Framework:
    """The framework that packages `model`.

    Raises:
        UnsupportedObjectError: none recognises it; the hint names what would be recognised.
    """
    asked = []
    for framework in _in_order():
        if framework.recognises(model):
            return framework
        asked.append(framework)
    raise _unsupported(model, asked)


def _in_order() -> Iterator[Framework]:
    """Adapters one by one, so that those after the one that fits are never imported."""
    yield from _plugins()
    for name, target in BUILT_IN.items():
        yield _built_in(name, target)


@cache
def _built_in(name: str, target: str) -> Framework:
    adapter: Framework = EntryPoint(name, target, ENTRY_POINT_GROUP).load()()
    return adapter


def _plugins() -> Iterator[Framework]:
    allowed = _allowed_plugins()
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        if allowed is not None and entry_point.name not in allowed:
            continue
        if entry_point.name in BUILT_IN:
            _warn_about(entry_point, "its name is taken by a built-in framework")
            continue
        try:
            yield entry_point.load()()
        except Exception as error:  # noqa: BLE001 - one broken package must not stop the others
            _warn_about(entry_point, f"{type(error).__name__}: {error}")


def _allowed_plugins() -> frozenset[str] | None:
    """The names that `TRUSS_PLUGINS` lets through; None when it lets all through."""
    value = os.environ.get(PLUGINS_VARIABLE)
    if value is None:
        return None
    return frozenset(name.strip() for name in value.split(",")) - {"", "none"}


def _warn_about(entry_point: EntryPoint, reason: str) -> None:
    warnings.warn(
        f"the framework '{entry_point.name}' ({entry_point.value}) is left out: {reason}; "
        f"set {PLUGINS_VARIABLE}=none to do without installed frameworks",
        RuntimeWarning,
        stacklevel=2,
    )


def _unsupported(model: object, asked: list[Framework]) -> UnsupportedObjectError:
    kind = type(model)
    lines = [advice_for(model), "recognised are:"]
    lines += [f"  {framework.name}: {framework.summary}" for framework in asked]
    lines += [f"an adapter for another library is one short class: {GUIDE}"]
    return UnsupportedObjectError(
        f"no framework recognises this object, of type {kind.__module__}.{kind.__qualname__}",
        hint="\n".join(lines),
    )

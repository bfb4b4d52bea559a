"""What adapters that save by pickling share: the source of a model class, and what a pickle refused.

Pickling fails deep inside an object with a message that names a type (`cannot pickle '_thread.lock'
object`) and no place. `find_unpicklable` looks for the place, so that the error can name the variable.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import islice
from types import CellType, FunctionType, MethodType
from typing import Any, TypeAlias

from truss.errors import MissingExtraError, PackagingError

Pickle: TypeAlias = Callable[[object], object]
"""Pickles an object, or raises; what it returns is not looked at."""

_MAX_DEPTH = 12
_MAX_CHILDREN = 10_000


@dataclass(frozen=True)
class Culprit:
    """The innermost part of an object that cannot be pickled.

    Attributes:
        place: The way to it in words, e.g. `the closure variable 'client', its attribute 'lock'`;
            empty when it is the object itself.
        value: The part.
        reason: What pickling it raised.
    """

    place: str
    value: object
    reason: str

    def describe(self) -> str:
        """One clause for a message: the place, the type and the reason."""
        kind = type(self.value)
        name = f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins.")
        return f"{self.place or 'the object itself'} (a {name}): {self.reason}"


def dumps_by_value(value: object) -> bytes:
    """Pickle `value` with cloudpickle: functions and classes that cannot be imported go along whole.

    Raises:
        MissingExtraError: cloudpickle is not installed.
        Exception: whatever the object's parts raise when they are pickled.
    """
    cloudpickle = import_cloudpickle()
    stream = io.BytesIO()
    cloudpickle.dump(value, stream)
    return stream.getvalue()


def import_cloudpickle() -> Any:
    """The cloudpickle module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import cloudpickle
    except ImportError:
        raise MissingExtraError("cloudpickle", "callable", "saving code by value") from None
    return cloudpickle


def unpicklable_error(
    value: object, error: Exception, what: str, pickle: Pickle = dumps_by_value
) -> PackagingError:
    """The error that says which part of `value` made `pickle` raise `error`, and what to do."""
    culprit = find_unpicklable(value, pickle) or Culprit("", value, reason_of(error))
    return PackagingError(
        f"{what} cannot be saved, because of {culprit.describe()}",
        hint="open files, locks, connections and generators belong to this process: create them inside the "
        "function when it runs, or start with `truss.init` and create them in the model class's `load`",
    )


def find_unpicklable(value: object, pickle: Pickle) -> Culprit | None:
    """The innermost part of `value` that `pickle` refuses; None when it refuses nothing."""
    return _find(value, pickle, (), set())


def reason_of(error: Exception) -> str:
    """What an exception says, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _find(value: object, pickle: Pickle, place: tuple[str, ...], seen: set[int]) -> Culprit | None:
    error = _refusal(value, pickle)
    if error is None:
        return None
    seen.add(id(value))
    if len(place) < _MAX_DEPTH:
        for name, part in islice(_parts(value), _MAX_CHILDREN):
            if id(part) not in seen:
                culprit = _find(part, pickle, (*place, name), seen)
                if culprit is not None:
                    return culprit
    return Culprit(", ".join(place), value, reason_of(error))


def _refusal(value: object, pickle: Pickle) -> Exception | None:
    try:
        pickle(value)
    except Exception as error:  # noqa: BLE001 - an object's own __reduce__ may raise anything
        return error
    return None


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """The parts that a pickle of `value` would hold, each with its name in words."""
    if isinstance(value, FunctionType):
        yield from _function_parts(value)
    elif isinstance(value, MethodType):
        yield "its object", value.__self__
    elif isinstance(value, partial):
        yield "the wrapped function", value.func
        yield from ((f"its argument {index}", item) for index, item in enumerate(value.args))
        yield from ((f"its argument '{name}'", item) for name, item in value.keywords.items())
    elif isinstance(value, Mapping):
        yield from ((f"its item {key!r}", item) for key, item in value.items())
    elif isinstance(value, (list, tuple, set, frozenset)):
        yield from ((f"its item {index}", item) for index, item in enumerate(value))
    elif isinstance(value, type):
        yield from _attributes(vars(value))
    else:
        yield from _attributes(getattr(value, "__dict__", {}))
        yield "its class", type(value)


def _attributes(attributes: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    return ((f"its attribute '{name}'", item) for name, item in attributes.items() if name != "__dict__")


def _function_parts(function: FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        if cell != CellType():  # an empty cell is a variable without a value yet
            yield f"the closure variable '{name}'", cell.cell_contents
    for name in referenced_globals(function):
        yield f"the global variable '{name}'", function.__globals__[name]
    for index, default in enumerate(function.__defaults__ or ()):
        yield f"the default of argument {index}", default
    for name, default in (function.__kwdefaults__ or {}).items():
        yield f"the default of argument '{name}'", default


def referenced_globals(function: FunctionType) -> list[str]:
    """The names of module-level variables that `function`'s code, nested code included, may read."""
    names: list[str] = []
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        names += [name for name in code.co_names if name in function.__globals__ and name not in names]
        codes += [const for const in code.co_consts if isinstance(const, type(code))]
    return names

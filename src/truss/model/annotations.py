"""The types that a model's steps name: what the body is to be, and what the answer is.

A type counts as a statement about the body when it has fields somewhere: a pydantic model, a dataclass, a
TypedDict, a named tuple or a msgspec Struct, also within `list[...]` and the like. `dict`, `Any` or an
array's type say nothing that could be held against a body, and leave the model without a contract.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import types
import typing
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple, TypeGuard

import msgspec

_STREAMS = (
    collections.abc.Iterator,
    collections.abc.Generator,
    collections.abc.AsyncIterator,
    collections.abc.AsyncGenerator,
    collections.abc.AsyncIterable,
)
_REQUESTS = "Request"
"""What the classes are called whose objects tell of the request itself: this library's, Starlette's."""


class Answer(NamedTuple):
    """What a step says it returns.

    Attributes:
        type: Of the answer, or of one chunk of a stream.
        streams: Whether it comes in chunks.
    """

    type: Any
    streams: bool


def body_type(step: Callable[..., Any]) -> Any | None:
    """The type of the parameter that takes the body, where it says what the body holds; None otherwise."""
    found = next((parameter for parameter in _annotated(step) if not _is_request(parameter)), None)
    return found if found is not None and has_fields(found) else None


def request_position(step: Callable[..., Any], name: str) -> tuple[int | None, int | None]:
    """Which of a bound step's first two parameters takes the request itself, and how many it has.

    Returns:
        Its position: of one whose type is a request, or of the second one where it has that name; None:
        there is none. The number of positional parameters; None where that cannot be said.
    """
    signature = _signature(step)
    if signature is None or any(one.kind is one.VAR_POSITIONAL for one in signature.parameters.values()):
        return None, None
    names = [
        one.name
        for one in signature.parameters.values()
        if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    typed = [position for position, kind in enumerate(_annotated(step)) if position < 2 and _is_request(kind)]
    if typed:
        return typed[0], len(names)
    return (1 if names[1:2] == [name] else None), len(names)


def answer_type(step: Callable[..., Any]) -> Answer | None:
    """What the step returns, where it says so."""
    signature = _signature(step)
    if signature is None or signature.return_annotation is signature.empty:
        return None
    found = _evaluated(signature.return_annotation, step)
    if found in (None, Any):
        return None
    if typing.get_origin(found) in _STREAMS or found in _STREAMS:
        return Answer((*typing.get_args(found), Any)[0], streams=True)
    return Answer(found, streams=False)


def has_fields(kind: Any) -> bool:
    """Whether a type, or one that it is made of, has named fields."""
    return any(map(_is_record, parts(kind)))


def is_pydantic(kind: Any) -> bool:
    """Whether a type, or one that it is made of, is pydantic's, in which case pydantic must read it."""
    return any(map(_is_pydantics, parts(kind)))


def parts(kind: Any) -> Iterator[Any]:
    """A type and all that its brackets, and the fields of its records, name."""
    seen: list[Any] = []
    waiting = [kind]
    while waiting:
        part = waiting.pop()
        if any(part is one for one in seen):
            continue
        seen.append(part)
        yield part
        waiting += typing.get_args(part)
        if _is_record(part) and not _is_pydantics(part):
            waiting += field_types(part).values()


def field_types(record: Any) -> dict[str, Any]:
    """The types of a record's fields, by their names in Python; empty where they cannot be evaluated."""
    try:
        return typing.get_type_hints(record, include_extras=True)
    except Exception:  # noqa: BLE001  # names that exist for type checkers only, or whatever evaluating raises
        return {}


def is_typed_dict(kind: Any) -> bool:
    """Whether a type is a TypedDict, the standard library's or that of typing_extensions."""
    return is_class(kind) and issubclass(kind, dict) and hasattr(kind, "__total__")


def is_class(kind: Any) -> TypeGuard[type]:
    """Whether a type is a class, without brackets; Python 3.10 calls `list[int]` one."""
    return isinstance(kind, type) and typing.get_origin(kind) is None


def _is_record(kind: Any) -> bool:
    if not is_class(kind):
        return False
    return (
        dataclasses.is_dataclass(kind)
        or is_typed_dict(kind)
        or issubclass(kind, msgspec.Struct)
        or (issubclass(kind, tuple) and hasattr(kind, "_fields"))
        or _is_pydantics(kind)
    )


def _is_pydantics(kind: Any) -> bool:
    return is_class(kind) and hasattr(kind, "__pydantic_core_schema__")


def _is_request(kind: Any) -> bool:
    """Whether a parameter of this type takes the request itself, rather than its body."""
    package = getattr(kind, "__module__", "").partition(".")[0]
    return getattr(kind, "__name__", "") == _REQUESTS and package in ("truss", "starlette", "fastapi")


def _annotated(step: Callable[..., Any]) -> Iterator[Any]:
    """The type of each positional parameter of a bound step; `Any` where there is none."""
    signature = _signature(step)
    for parameter in signature.parameters.values() if signature is not None else ():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            given = parameter.annotation
            yield Any if given is parameter.empty else _evaluated(given, step)


def _signature(step: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(step)
    except (TypeError, ValueError):  # built-in callables have none
        return None


def _evaluated(annotation: Any, step: Callable[..., Any]) -> Any:
    """An annotation as the type it names; `Any` when it names something that is not there when it runs."""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    function = inspect.unwrap(getattr(step, "__func__", step))
    try:
        hints = typing.get_type_hints(holder, getattr(function, "__globals__", {}), include_extras=True)
    except Exception:  # noqa: BLE001  # as in `field_types`
        return Any
    found = hints["it"]
    return Any if found is type(None) else found


def without_annotations(kind: Any) -> Any:
    """`int` for `Annotated[int, ...]`."""
    while typing.get_origin(kind) is Annotated:
        kind = typing.get_args(kind)[0]
    return kind

"""Say where a value differs from a type: `$.inputs[3].age: expected int >= 0, got "x"`.

A reader stops at the first difference that it meets. Here every part is held against its type once more, so
that a client hears of all of them at once. This runs for requests that were refused already.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, NamedTuple, Union

import msgspec
from msgspec import inspect

from truss.errors import AnswerEncodingError
from truss.model import arrays
from truss.model.annotations import field_types, is_class, is_typed_dict
from truss.model.values import encode_json

_MOST = 8
_LONGEST_VALUE = 60
_MARKS = ("Required", "NotRequired")
"""By name, since Python 3.10 has them in typing_extensions only."""

_PLACED = re.compile(r"(?P<text>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?", re.DOTALL)


class _Part(NamedTuple):
    """A part of a value, where it is and what it is to be."""

    path: str
    value: Any
    kind: Any


class _Field(NamedTuple):
    name: str
    kind: Any
    required: bool


def listed(found: Iterable[str]) -> str:
    """The first faults in one line."""
    faults = list(itertools.islice(found, _MOST + 1))
    more = "; and more" if len(faults) > _MOST else ""
    return "; ".join(faults[:_MOST]) + more


# --- types that msgspec reads ---


def of_value(value: Any, kind: Any) -> Iterator[str]:
    """Where a value differs from a type that msgspec reads."""
    return _faults(_Part("$", value, kind))


def _faults(part: _Part) -> Iterator[str]:
    try:
        msgspec.convert(part.value, part.kind, dec_hook=arrays.read)
    except msgspec.ValidationError as error:
        inside = itertools.chain(
            itertools.chain.from_iterable(map(_faults, _children(part))), map(_lack, _lacking(part))
        )
        first = next(inside, None)
        if first is None:
            yield _own_fault(part, error)
        else:
            yield first
            yield from inside


def _own_fault(part: _Part, error: Exception) -> str:
    """The fault of a part in which no smaller one is at fault."""
    placed = _PLACED.fullmatch(str(error))
    text, below = (placed["text"], placed["path"] or "") if placed else (str(error), "")
    if below:
        return f"{part.path}{below}: {_lowered(text)}"
    if error.__cause__ is None and text.startswith(("Expected", "Invalid")):  # a cause is the type's own code
        return f"{part.path}: expected {described(part.kind)}, got {shown(part.value)}"
    return f"{part.path}: {_lowered(text)}, got {shown(part.value)}"


def _lack(field: _Part) -> str:
    return f"{field.path}: expected {described(field.kind)}, got nothing: it is required"


def _lacking(part: _Part) -> Iterator[_Part]:
    kind = _only(part.kind, part.value)
    if isinstance(part.value, dict):
        for field in _fields(kind):
            if field.required and field.name not in part.value:
                yield _Part(f"{part.path}.{field.name}", None, field.kind)


def _children(part: _Part) -> Iterator[_Part]:
    """The parts of a value whose own types are known."""
    kind, value = _only(part.kind, part.value), part.value
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if isinstance(value, (list, tuple)):
        for index, (item, item_kind) in enumerate(zip(value, _item_kinds(kind), strict=False)):
            yield _Part(f"{part.path}[{index}]", item, item_kind)
    elif isinstance(value, dict) and isinstance(origin, type) and issubclass(origin, Mapping):
        for key, item in value.items():
            yield _Part(f"{part.path}[{shown(key)}]", item, arguments[1])
    elif isinstance(value, dict):
        for field in _fields(kind):
            if field.name in value:
                yield _Part(f"{part.path}.{field.name}", value[field.name], field.kind)


def _item_kinds(kind: Any) -> Iterable[Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return itertools.repeat(arguments[0]) if arguments[1:] == (...,) else arguments
    if isinstance(origin, type) and not issubclass(origin, Mapping) and len(arguments) == 1:
        return itertools.repeat(arguments[0])
    if is_class(kind) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return list(field_types(kind).values())
    return ()


def _only(kind: Any, value: Any) -> Any:
    """The one type of an annotated or optional type that a value could have; the type itself otherwise."""
    while (origin := typing.get_origin(kind)) is Annotated or getattr(origin, "_name", "") in _MARKS:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (Union, types.UnionType):
        some = [one for one in typing.get_args(kind) if one is not type(None)]
        return _only(some[0], value) if len(some) == 1 and value is not None else kind
    return kind


def _fields(kind: Any) -> Iterator[_Field]:
    """The fields of a record that stands as an object."""
    if not is_class(kind):
        return
    if issubclass(kind, msgspec.Struct):
        if not kind.__struct_config__.array_like:
            for one in msgspec.structs.fields(kind):
                yield _Field(one.encode_name, one.type, one.required)
    elif is_typed_dict(kind):
        for name, hint in field_types(kind).items():
            yield _Field(name, _only(hint, ...), name in kind.__required_keys__)  # type: ignore[attr-defined]
    elif dataclasses.is_dataclass(kind):
        hints = field_types(kind)
        for field in dataclasses.fields(kind):
            if field.init and field.name in hints:
                needed = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
                yield _Field(field.name, hints[field.name], needed)


# --- what a type takes, in words ---


def described(kind: Any) -> str:
    """What a type takes: `int >= 0`, `one of "a", "b"`, `list of at most 3`."""
    try:
        return _in_words(inspect.type_info(kind))
    except TypeError:
        return str(kind)


def _in_words(info: inspect.Type) -> str:
    if isinstance(info, inspect.Metadata):
        return _in_words(info.type)
    if isinstance(info, inspect.UnionType):
        return " or ".join(map(_in_words, info.types))
    if isinstance(info, inspect.LiteralType):
        return "one of " + ", ".join(map(shown, info.values))
    if isinstance(info, inspect.EnumType):
        return "one of " + ", ".join(shown(member.value) for member in info.cls)
    return _WORDS.get(type(info), _of_class)(info) + _limits(info)


def _of_class(info: Any) -> str:
    return f"object ({info.cls.__name__})" if hasattr(info, "fields") else arrays.described(info.cls)


_WORDS: dict[type, typing.Callable[[Any], str]] = {
    inspect.AnyType: lambda _: "anything",
    inspect.NoneType: lambda _: "null",
    inspect.BoolType: lambda _: "bool",
    inspect.IntType: lambda _: "int",
    inspect.FloatType: lambda _: "float",
    inspect.StrType: lambda _: "str",
    inspect.BytesType: lambda _: "bytes in base64",
    inspect.ByteArrayType: lambda _: "bytes in base64",
    inspect.DateTimeType: lambda _: "date and time as in RFC 3339",
    inspect.DateType: lambda _: "date as YYYY-MM-DD",
    inspect.TimeType: lambda _: "time as hh:mm:ss",
    inspect.TimeDeltaType: lambda _: "duration as in ISO 8601",
    inspect.UUIDType: lambda _: "UUID",
    inspect.DecimalType: lambda _: "decimal number",
    inspect.ListType: lambda _: "list",
    inspect.SetType: lambda _: "list",
    inspect.FrozenSetType: lambda _: "list",
    inspect.CollectionType: lambda _: "list",
    inspect.VarTupleType: lambda _: "list",
    inspect.TupleType: lambda info: f"list of {len(info.item_types)}",
    inspect.NamedTupleType: lambda info: f"list of {len(info.fields)} ({info.cls.__name__})",
    inspect.DictType: lambda _: "object",
}

_LIMITS = (
    *(("gt", "> {}"), ("ge", ">= {}"), ("lt", "< {}"), ("le", "<= {}"), ("multiple_of", "a multiple of {}")),
    *(("min_length", "of length >= {}"), ("max_length", "of length <= {}"), ("pattern", "matching {!r}")),
)


def _limits(info: Any) -> str:
    stated = [(text, getattr(info, name, None)) for name, text in _LIMITS]
    bounds = [text.format(value) for text, value in stated if value is not None]
    return " " + " and ".join(bounds) if bounds else ""


def shown(value: Any) -> str:
    """A value as JSON, cut where it is long."""
    try:
        text = encode_json(value).decode()
    except AnswerEncodingError:
        text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 3]}..."


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


# --- pydantic's ---


def of_pydantic(value: Any, error: Any) -> Iterator[str]:
    """The faults that pydantic found in a value, as its ValidationError tells them."""
    for one in error.errors(include_url=False, include_context=False):
        path = _path(value, one["loc"])
        said = one["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
        if one["type"] == "missing":
            yield f"{path}: expected a value, got nothing: it is required"
        elif said.startswith("Input should be "):
            yield f"{path}: expected {said.removeprefix('Input should be ')}, got {shown(one['input'])}"
        else:
            yield f"{path}: {_lowered(said)}, got {shown(one['input'])}"


def _path(value: Any, location: Iterable[int | str]) -> str:
    """A location as a path, without steps that name a member of a union rather than a part of the value."""
    path, here = "$", value
    steps = list(location)
    for number, step in enumerate(steps):
        last = number == len(steps) - 1
        if isinstance(here, dict) and (step in here or last):
            path += f".{step}" if str(step).isidentifier() else f"[{shown(step)}]"
            here = here.get(step)
        elif isinstance(here, (list, tuple)) and isinstance(step, int):
            path += f"[{step}]"
            here = here[step] if step < len(here) else None
    return path

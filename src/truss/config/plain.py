"""The builtins that nodes stand for, by the rules of YAML 1.1.

These rules (`yes` is true, `010` is eight, `1:30` is ninety, `1e3` is text) are those of the reader that
config files have been written for; another set would change what existing files mean.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from typing import Any

from truss.config.tree import Mapping, Node, Scalar, Sequence, dereferenced

_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {
    spelling: value
    for value, words in ((True, ("yes", "true", "on")), (False, ("no", "false", "off")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_INTEGER = re.compile(
    r"[-+]?(?:0b[01_]+|0[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+|[1-9][0-9_]*(?::[0-5]?[0-9])+)"
)
_FLOAT = re.compile(
    r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]*"
    r"|\.(?:inf|Inf|INF))|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|\.(?:nan|NaN|NAN)"
)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})")
_TIMESTAMP = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt]|[ \t]+)([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]*))?"
    r"(?:[ \t]*(Z|([-+])([0-9]{1,2})(?::?([0-9]{2}))?))?"
)


def plain(node: Node) -> Any:
    """The node as dict, list, str, int, float, bool, None, date or datetime.

    A repeated key has its last value. What an alias stands for is the same object everywhere.
    """
    return _plain(node, {})


def _plain(node: Node, known: dict[int, Any]) -> Any:
    node = dereferenced(node)
    if id(node) not in known:
        known[id(node)] = _converted(node, known)
    return known[id(node)]


def _converted(node: Node, known: dict[int, Any]) -> Any:
    if isinstance(node, Scalar):
        return scalar(node)
    if isinstance(node, Sequence):
        return [_plain(item, known) for item in node.items]
    assert isinstance(node, Mapping)
    return {_hashable(_plain(key, known)): _plain(value, known) for key, value in effective_pairs(node)}


def _hashable(key: Any) -> Any:
    try:
        hash(key)
    except TypeError:
        return str(key)
    return key


def effective_pairs(mapping: Mapping) -> list[tuple[Node, Node]]:
    """The pairs of a mapping: those that `<<` brings first; what the mapping itself says wins.

    A repeated key is left in; the later one counts.
    """
    own = [pair for pair in mapping.pairs if not is_merge(pair[0])]
    named = {key_of(key) for key, _ in own}
    merged: dict[Any, tuple[Node, Node]] = {}
    for pair in _merged(mapping):
        name = key_of(pair[0])
        if name not in named:
            merged.setdefault(name, pair)
    return [*merged.values(), *own]


def _merged(mapping: Mapping) -> Iterator[tuple[Node, Node]]:
    for key, value in mapping.pairs:
        if is_merge(key):
            source = dereferenced(value)
            for one in source.items if isinstance(source, Sequence) else [source]:
                merged = dereferenced(one)
                if isinstance(merged, Mapping):
                    yield from effective_pairs(merged)


def is_merge(key: Node) -> bool:
    """Whether a key is `<<`, the sign to merge other mappings into this one."""
    return isinstance(key, Scalar) and key.text == "<<" and not key.style and key.tag is None


def key_of(node: Node) -> Any:
    """What a key is compared by."""
    return _hashable(plain(node))


def scalar(node: Scalar) -> Any:
    """The value of a scalar. One with a tag that is not YAML's own, or does not fit, stays text."""
    if node.tag is not None and node.tag.startswith(_TAG):
        return _tagged(node.text, node.tag.removeprefix(_TAG))
    if node.style or node.tag is not None:
        return node.text
    return resolved(node.text)


def _tagged(text: str, kind: str) -> Any:
    value = resolved(text)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    fits = {"int": int, "float": float, "bool": bool, "null": type(None)}.get(kind)
    return value if fits is not None and type(value) is fits else text


def resolved(text: str) -> Any:
    """What a plain scalar means."""
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INTEGER.fullmatch(text):
        return _integer(text)
    if _FLOAT.fullmatch(text):
        return _float(text)
    return _date(text)


def _integer(text: str) -> Any:
    sign = -1 if text[0] == "-" else 1
    digits = text.lstrip("+-").replace("_", "")
    try:
        if ":" in digits:
            return sign * int(_sexagesimal(digits))
        base = (
            2
            if digits.startswith("0b")
            else 16
            if digits.startswith("0x")
            else 8
            if digits.startswith("0")
            else 10
        )
        return sign * (int(digits, base) if digits != "0" else 0)
    except ValueError:  # nothing but underscores behind 0x, or thousands of digits
        return text


def _float(text: str) -> float:
    sign = -1.0 if text[0] == "-" else 1.0
    digits = text.lstrip("+-").replace("_", "").lower()
    if digits in {".inf", ".nan"}:
        return sign * float(digits[1:])
    return sign * (_sexagesimal(digits) if ":" in digits else float(digits))


def _sexagesimal(digits: str) -> float:
    total: float = 0
    for part in digits.split(":"):
        total = total * 60 + (float(part) if "." in part else int(part))
    return total


def _date(text: str) -> Any:
    try:
        if date := _DATE.fullmatch(text):
            return datetime.date(*(int(part) for part in date.groups()))
        if found := _TIMESTAMP.fullmatch(text):
            return _timestamp(found)
    except ValueError:  # a 31st of June
        return text
    return text


def _timestamp(found: re.Match[str]) -> datetime.datetime:
    year, month, day, hour, minute, second = (int(part) for part in found.groups()[:6])
    fraction = int((found[7] or "")[:6].ljust(6, "0"))
    zone: datetime.timezone | None = None
    if found[9]:
        offset = datetime.timedelta(hours=int(found[10]), minutes=int(found[11] or 0))
        zone = datetime.timezone(-offset if found[9] == "-" else offset)
    elif found[8]:
        zone = datetime.timezone.utc
    return datetime.datetime(year, month, day, hour, minute, second, fraction, tzinfo=zone)


def written(node: Node) -> str | None:
    """The characters of a scalar without its quotes; None for anything else."""
    node = dereferenced(node)
    return node.text if isinstance(node, Scalar) else None


def is_null(node: Node) -> bool:
    """Whether a node says nothing, or null."""
    node = dereferenced(node)
    return isinstance(node, Scalar) and scalar(node) is None

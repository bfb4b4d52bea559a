"""YAML text for builtins: what a person would write, and what YAML 1.1 and 1.2 readers read alike."""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from truss.config.plain import resolved

_PLAIN = re.compile(r"[A-Za-z0-9_./\\+~(^$-][^\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ud800-\udfff]*")
_FLOW_SIGNS = re.compile(r"[\[\]{},]")
_OTHER_NUMBERS = re.compile(
    r"[-+]?(?:0o[0-7]+|0x[0-9a-fA-F]+|[0-9][0-9_]*|[0-9_]*\.?[0-9_]+[eE][-+]?[0-9]+|[0-9.]+)"
)
"""What YAML 1.2 readers, or lenient ones, take for a number although YAML 1.1 does not."""

_UNPRINTABLE = re.compile(r"[\x7f-\x9f\xa0\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_LITERAL_LINE = re.compile(r"[^\x00-\x1f\x7f-\xa0\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]*")


@dataclass(frozen=True)
class Layout:
    """How a file is laid out.

    Attributes:
        step: Spaces that a nested mapping is indented by.
        list_step: Spaces that the dashes of a list are indented by, below its key.
        newline: The line break.
    """

    step: int = 2
    list_step: int = 2
    newline: str = "\n"


def builtin(value: Any) -> Any:
    """The value with tuples as lists and paths as text.

    Raises:
        TypeError: YAML has nothing for a value in it.
    """
    if value is None or isinstance(value, bool | int | float | str | datetime.date):
        return value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, list | tuple):
        return [builtin(item) for item in value]
    if isinstance(value, Mapping):
        return {builtin(key): builtin(item) for key, item in value.items()}
    raise TypeError(f"a {type(value).__name__} cannot be written in YAML")


def scalar(value: Any, *, in_flow: bool = False, quote: str = "") -> str:
    """One value on one line.

    Args:
        value: None, bool, int, float, str, date or datetime.
        in_flow: Whether it stands in brackets or braces, where commas end it.
        quote: The quotes a text gets if it can have them.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, int | datetime.date):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    return _text(value, in_flow, quote)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return ".nan" if math.isnan(value) else f"{'-' if value < 0 else ''}.inf"
    mantissa, exponent, power = repr(value).partition("e")
    if not exponent:
        return mantissa
    mantissa = mantissa if "." in mantissa else f"{mantissa}.0"
    return f"{mantissa}e{power if power[0] in '+-' else f'+{power}'}"


def _text(text: str, in_flow: bool, quote: str) -> str:
    if quote == "'" and _LITERAL_LINE.fullmatch(text):
        return "'" + text.replace("'", "''") + "'"
    if quote != '"' and _can_be_plain(text, in_flow):
        return text
    return _quoted(text)


def _can_be_plain(text: str, in_flow: bool) -> bool:
    if not _PLAIN.fullmatch(text) or text[-1] in " :" or ": " in text or " #" in text:
        return False
    if text.startswith(("- ", "---", "...")) or text in {"-", "~"} or (in_flow and _FLOW_SIGNS.search(text)):
        return False
    return isinstance(resolved(text), str) and not _OTHER_NUMBERS.fullmatch(text)


def _quoted(text: str) -> str:
    escaped = json.dumps(text, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", escaped)


def flow(value: Any) -> str:
    """Any value on one line, collections in brackets and braces."""
    if isinstance(value, list):
        return f"[{', '.join(flow(item) for item in value)}]"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{scalar(key, in_flow=True)}: {flow(item)}" for key, item in value.items()) + "}"
        )
    return scalar(value, in_flow=True)


def entry(key: Any, value: Any, column: int, layout: Layout) -> list[str]:
    """The lines of `key: value` at a column, without line breaks."""
    margin = " " * column
    head = f"{margin}{scalar(key)}:"
    if isinstance(value, dict | list) and value:
        return [head, *block(value, column, layout)]
    if isinstance(value, str) and (lines := _literal(value, column + layout.step)):
        return [f"{head} {lines[0]}", *lines[1:]]
    return [f"{head} {flow(value) if isinstance(value, dict | list) else scalar(value)}"]


def block(value: Any, column: int, layout: Layout) -> list[str]:
    """The lines of a collection that is not empty, below a key at a column."""
    if isinstance(value, dict):
        inner = column + layout.step
        return [line for key, item in value.items() for line in entry(key, item, inner, layout)]
    inner = column + layout.list_step
    return [line for item in value for line in list_item(item, inner, layout)]


def list_item(value: Any, column: int, layout: Layout, gap: int = 1) -> list[str]:
    """The lines of `- value` at a column, with `gap` spaces behind the dash."""
    head = f"{' ' * column}-{' ' * gap}"
    inner = column + 1 + gap
    if isinstance(value, dict) and value:
        lines = [line for key, item in value.items() for line in entry(key, item, inner, layout)]
        return [head + lines[0][inner:], *lines[1:]]
    if isinstance(value, str) and (lines := _literal(value, inner)):
        return [head + lines[0], *lines[1:]]
    return [head + (flow(value) if isinstance(value, dict | list) else scalar(value))]


def _literal(text: str, column: int) -> list[str]:
    """The lines of a text of several lines, as it reads (`|`); none where it would not come back the same."""
    lines = text.split("\n")
    ends = lines[-1] == ""
    body = lines[:-1] if ends else lines
    fits = len(lines) > 1 and body[0][:1] not in {"", " "} and body[-1] != ""
    if not fits or not all(_LITERAL_LINE.fullmatch(line) and not line.endswith(" ") for line in body):
        return []
    return ["|" if ends else "|-", *(" " * column + line if line else "" for line in body)]


def document(values: Mapping[str, Any], layout: Layout | None = None) -> str:
    """The text of a file with these keys."""
    return "".join(f"{line}\n" for line in _document_lines(values, layout or Layout()))


def _document_lines(values: Mapping[str, Any], layout: Layout) -> Iterator[str]:
    for key, value in values.items():
        yield from entry(key, value, 0, layout)

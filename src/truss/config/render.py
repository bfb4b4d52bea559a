"""Python values as YAML text, so that reading the text gives the same values back."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./ @=<>+~-]*(?<! )")
# What YAML 1.1 or 1.2 reads as something other than text.
_NOT_TEXT = re.compile(
    r"(?i:true|false|yes|no|on|off|y|n|null|~|\.(inf|nan)|[-+.]?[0-9][0-9_.:eE+-]*|=|<<|\.+|-+)"
)
_NOT_PRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")


def scalar(value: Any) -> str:
    """A scalar on one line, valid in block and in flow context."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        if math.isnan(value):
            return ".nan"
        if math.isinf(value):
            return ".inf" if value > 0 else "-.inf"
        mantissa, exponent, power = repr(float(value)).partition("e")
        # Readers of YAML 1.1 take 1e-05 for text; with a point it is a number to all.
        return f"{mantissa}{'.0' if exponent and '.' not in mantissa else ''}{exponent}{power}"
    return text(str(value))


def text(value: str) -> str:
    """A string: plain where that is safe, else in double quotes."""
    if _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value) and " #" not in value:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _NOT_PRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)


def flow(value: Any) -> str:
    """Any value on one line, collections in brackets."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{scalar(key)}: {flow(item)}" for key, item in value.items()) + "}"
    if _is_list(value):
        return "[" + ", ".join(map(flow, value)) + "]"
    return scalar(value)


def block(values: Mapping[str, Any], indent: int = 0) -> list[str]:
    """A mapping as lines, nested collections indented by two."""
    return [line for key, value in values.items() for line in entry(key, value, indent)]


def entry(key: str, value: Any, indent: int) -> list[str]:
    """One key of a mapping with its value, as lines."""
    start = f"{' ' * indent}{scalar(key)}:"
    if isinstance(value, Mapping) and value:
        return [start, *block(value, indent + 2)]
    if _is_list(value) and len(value):
        return [start, *(line for item in value for line in list_item(item, indent + 2))]
    return [f"{start} {flow(value)}"]


def list_item(value: Any, indent: int) -> list[str]:
    """One item of a list, as lines."""
    if not isinstance(value, Mapping) or not value:
        return [f"{' ' * indent}- {flow(value)}"]
    first, *rest = block(value, indent + 2)
    return [f"{' ' * indent}- {first.lstrip()}", *rest]


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))

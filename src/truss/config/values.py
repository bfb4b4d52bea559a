"""The scalar values of config.yaml: what each kind takes, how it is normalised, what to write instead.

A parser here takes the value as YAML read it, and the characters as written (None when there are none,
e.g. for a list). It returns the value to keep, or a `Mismatch` that says what is wrong.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

UNITS: dict[str, int] = {
    "": 1,
    **{unit: 1000**power for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGTPE", start=1)},
}
"""Unit of a size -> bytes; decimal as in `k M G`, binary as in `Ki Mi Gi`."""

ACCELERATORS = (
    "T4",
    "L4",
    "A10G",
    "V100",
    "A100",
    "A100_40GB",
    "H100",
    "H100_40GB",
    "H200",
    "B200",
    "B300",
    "GB300",
    "L40S",
    "RTX_PRO_6000",
)
"""The accelerators a config may ask for by name."""

PYTHON_MINORS = range(7, 15)
"""Minor versions of Python 3 that `python_version` takes."""

MAX_SECRET_NAME = 253
SECRET_VARIABLE_PREFIX = "TRUSS_SECRET_"  # noqa: S105 (a prefix of names, not a secret)

STORED_SECRET_PREFIX = "TRUSS_STORED_SECRET_"  # noqa: S105 (as above)
"""Of variables that say where a platform's store keeps a secret, for a server to read it when it starts."""
REGISTRY_SECRET_PREFIX = "DOCKER_REGISTRY_"  # noqa: S105 (a prefix of names, not a secret)
"""A build secret for a registry is named after the registry's address, which no other name may contain."""

_NUMBER = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_SIZE = re.compile(rf"({_NUMBER}(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)")
_CPU = re.compile(rf"{_NUMBER}m?")
_SECRET_NAME = re.compile(r"[-._a-zA-Z0-9]+")
_PYTHON = re.compile(r"(?:py|python)?3\.?([0-9]+)(?:\.[0-9]+)?")
_LABEL = r"[a-zA-Z0-9*](?:[a-zA-Z0-9*-]{0,61}[a-zA-Z0-9*])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_TRUE = frozenset({"true", "t", "yes", "y", "on", "1"})
_FALSE = frozenset({"false", "f", "no", "n", "off", "0"})


@dataclass(frozen=True)
class Mismatch:
    """Why a value is not acceptable: see `truss.errors.ConfigProblem` for the three parts."""

    message: str
    expected: str = ""
    hint: str = ""


Parser = Callable[[Any, "str | None"], Any]
"""(value, characters as written) -> the value to keep, or a Mismatch."""


def parse_size(size: str) -> int:
    """The number of bytes that a size such as `100Mi`, `1.5G` or `4096` says, rounded up.

    Raises:
        ValueError: it is no size; the message says what one looks like.
    """
    match = _SIZE.fullmatch(size.strip())
    if match is None or match[2] not in UNITS:
        raise ValueError(f"{size!r} is not a size: write a number and a unit ({' '.join(UNITS)[1:]})")
    return math.ceil(Fraction(match[1]) * UNITS[match[2]])


@dataclass(frozen=True)
class Accelerator:
    """What `resources.accelerator` asks for: a kind of GPU, and how many of it."""

    kind: str
    count: int = 1


def parse_accelerator(text: str) -> Accelerator:
    """What `T4` or `H100:8` asks for.

    Raises:
        ValueError: the count is not a positive whole number.
    """
    kind, _, count = text.partition(":")
    if ":" in text and not (count.isascii() and count.isdigit() and int(count) > 0):
        raise ValueError(f"{count!r} is not a number of accelerators")
    return Accelerator(kind.strip(), int(count or 1))


def closest(word: str, choices: Sequence[str]) -> str | None:
    """The choice that was most likely meant, if one is near."""
    found = get_close_matches(word, choices, n=1, cutoff=0.6)
    if found:
        return found[0]
    folded = {choice.lower(): choice for choice in choices}
    return folded.get(word.lower())


def describe(value: Any) -> str:
    """How a message names a value that was found."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | set):
        return "a list"
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return f"the truth value {str(value).lower()}"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text {_shortened(value)!r}"
    return f"a {type(value).__name__}"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def text(value: Any, written: str | None) -> str | Mismatch:
    """Text as it is; a number, date or truth value has to be put in quotes, lest it lose its spelling."""
    if isinstance(value, str):
        return value
    hint = f'put it in quotes: "{written}"' if written and value is not None else ""
    return Mismatch(f"is {describe(value)}, not text", "text", hint)


def boolean(value: Any, written: str | None) -> bool | Mismatch:
    """A truth value, or one of the words that mean one."""
    del written
    if isinstance(value, bool):
        return value
    word = str(value).lower() if isinstance(value, str | int) else ""
    if word in _TRUE or word in _FALSE:
        return word in _TRUE
    return Mismatch(f"is {describe(value)}, not a truth value", "true or false", "write `true` or `false`")


def integer(value: Any, written: str | None) -> int | Mismatch:
    """A whole number; text that spells one, and `2.0`, are taken as well."""
    del written
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9]+", value.strip()):
        return int(value)
    return Mismatch(f"is {describe(value)}, not a whole number", "a whole number", "write for example `1`")


def number(value: Any, written: str | None) -> float | Mismatch:
    """A finite number; text that spells one is taken as well."""
    del written
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            converted = float(value)
        except (ValueError, OverflowError):
            converted = math.nan
        if math.isfinite(converted):
            return converted
    return Mismatch(f"is {describe(value)}, not a number", "a number", "write for example `30`")


def environment_value(value: Any, written: str | None) -> str | Mismatch:
    """The text of an environment variable: numbers are spelled out, truth values are `true`, `false`."""
    del written
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, list | dict | set | bytes):
        return Mismatch(
            f"is {describe(value)}, which no environment variable can hold",
            "text, a number or a truth value",
            'write `""` for an empty value, or remove the line' if value is None else "write it as one text",
        )
    return str(value)


def size(value: Any, written: str | None) -> str | Mismatch:
    """A size in bytes; a bare number is bytes."""
    spelled = _spelled(value, written)
    try:
        parse_size(spelled)
    except ValueError:
        return Mismatch(
            f"{spelled!r} is not a size",
            f"a number of bytes, or a number with a unit: {' '.join(UNITS)[1:]}",
            _size_hint(spelled),
        )
    return spelled


def _size_hint(spelled: str) -> str:
    match = re.fullmatch(rf"({_NUMBER})\s*([a-zA-Z]+)", spelled.strip())
    if match is not None:
        first = match[2][0]
        unit = (
            f"{first.upper()}i" if match[2][1:2].lower() == "i" else "k" if first in "kK" else first.upper()
        )
        if unit in UNITS:
            return f"write `{match[1]}{unit}`"
    return "write for example `512Mi` or `2Gi`"


def cpu(value: Any, written: str | None) -> str | Mismatch:
    """A number of cores, or of thousandths of one: `2`, `0.5`, `500m`."""
    spelled = _spelled(value, written)
    if _CPU.fullmatch(spelled):
        return spelled
    return Mismatch(
        f"{spelled!r} is not an amount of CPU",
        "a number of cores (`2`, `0.5`) or of thousandths of one (`500m`)",
        'write for example `"1"` or `500m`',
    )


def _spelled(value: Any, written: str | None) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (written or str(value)).replace("_", "")
    return describe(value)


def python_version(value: Any, written: str | None) -> str | Mismatch:
    """A Python version as `py311`; `3.11` is taken too, whatever YAML makes of it."""
    spelled = (written or str(value)).strip() if not isinstance(value, str) else value.strip()
    match = _PYTHON.fullmatch(spelled)
    if match is not None and int(match[1]) in PYTHON_MINORS:
        return f"py3{int(match[1])}"
    versions = [f"py3{minor}" for minor in PYTHON_MINORS]
    return Mismatch(
        f"{spelled!r} is not a Python version that Truss knows",
        f"one of {', '.join(versions)}",
        f"write `{closest(spelled, versions) or versions[-3]}`",
    )


def accelerator(value: Any, written: str | None) -> str | Mismatch:
    """`TYPE` or `TYPE:COUNT`; the mapping `{accelerator, count}` is taken too, and becomes text."""
    del written
    if isinstance(value, dict) and isinstance(value.get("accelerator"), str):
        value = f"{value['accelerator']}:{value.get('count', 1)}".removesuffix(":1")
    expected = "TYPE or TYPE:COUNT, with a type of " + ", ".join(ACCELERATORS)
    if not isinstance(value, str):
        return Mismatch(f"is {describe(value)}, not an accelerator", expected, "write for example `T4`")
    try:
        wanted = parse_accelerator(value.strip())
    except ValueError as error:
        return Mismatch(str(error), expected, f"write for example `{value.partition(':')[0]}:2`")
    if wanted.kind not in ACCELERATORS:
        near = closest(wanted.kind.upper(), ACCELERATORS)
        hint = f"did you mean `{near}`?" if near else ""
        return Mismatch(f"{wanted.kind!r} is not an accelerator that Truss knows", expected, hint)
    return value.strip()


def secret_variable(name: str) -> str:
    """The environment variable that a secret of this name is read from: `TRUSS_SECRET_api_key` for `api-key`.

    Shells and several platforms take nothing but letters, digits and `_` in the names of variables.
    """
    return SECRET_VARIABLE_PREFIX + re.sub(r"[^A-Za-z0-9_]", "_", name)


def stored_secret_variable(name: str) -> str:
    """The variable that says where the value of a secret is kept: `TRUSS_STORED_SECRET_api_key`."""
    return STORED_SECRET_PREFIX + secret_variable(name).removeprefix(SECRET_VARIABLE_PREFIX)


def secret_name(value: Any, written: str | None) -> str | Mismatch:
    """The name of a secret: it becomes a file name, and part of a Kubernetes object."""
    name = value if isinstance(value, str) else written or ""
    if not isinstance(value, str):
        return Mismatch(f"is {describe(value)}, not a name", "a name", f'put it in quotes: "{name}"')
    if _SECRET_NAME.fullmatch(name) and len(name) <= MAX_SECRET_NAME and name not in {".", ".."}:
        return name
    reason = f"has {len(name)} characters" if len(name) > MAX_SECRET_NAME else "is not a name for a secret"
    suggestion = re.sub(r"[^-._a-zA-Z0-9]+", "-", name).strip("-.")[:MAX_SECRET_NAME]
    return Mismatch(
        f"{_shortened(name)!r} {reason}",
        f"1 to {MAX_SECRET_NAME} letters, digits, `-`, `_` and `.`, and not `.` or `..`",
        f"write for example `{suggestion or 'my-secret'}`",
    )


def build_secret_name(value: Any, written: str | None) -> str | Mismatch:
    """The name of a build secret; the ones for a registry carry the registry's address."""
    if isinstance(value, str) and value.startswith(REGISTRY_SECRET_PREFIX) and len(value) <= MAX_SECRET_NAME:
        return value
    return secret_name(value, written)


def absolute_path(value: Any, written: str | None) -> str | Mismatch:
    """A path in the image, from its root."""
    if isinstance(value, str) and not value.startswith("/"):
        return Mismatch(
            f"{value!r} is not an absolute path", "a path that starts with /", f"write `/{value}`"
        )
    return text(value, written)


def optional_absolute_path(value: Any, written: str | None) -> str | Mismatch:
    """A path in the image, from its root, or nothing."""
    return value if value == "" else absolute_path(value, written)


def ipv4_network(value: Any, written: str | None) -> str | Mismatch:
    """An IPv4 address or a range of them."""
    spelled = text(value, written)
    if isinstance(spelled, Mismatch):
        return spelled
    try:
        ipaddress.IPv4Network(spelled, strict=False)
    except ValueError:
        return Mismatch(f"{spelled!r} is not an IPv4 address or range", "for example 1.1.1.1 or 10.0.0.0/8")
    return spelled


def domain(value: Any, written: str | None) -> str | Mismatch:
    """A domain name; `*` may stand in its labels."""
    spelled = text(value, written)
    if isinstance(spelled, Mismatch) or _DOMAIN.fullmatch(spelled):
        return spelled
    return Mismatch(f"{spelled!r} is not a domain name", "for example huggingface.co or *.example.com")


def upper_case(choices: Sequence[str]) -> Parser:
    """A parser for words that are written in capitals, and taken in any case."""

    def parse(value: Any, written: str | None) -> str | Mismatch:
        word = value.upper() if isinstance(value, str) else value
        return choice(word, choices) if isinstance(word, str) else text(value, written)

    return parse


def choice(value: Any, choices: Sequence[Any]) -> Any:
    """One of a few words."""
    if value in choices and not isinstance(value, bool):
        return value
    near = closest(str(value), [str(one) for one in choices])
    return Mismatch(
        f"{_shortened(value)!r} is not one of the choices"
        if isinstance(value, str)
        else f"is {describe(value)}",
        "one of " + ", ".join(str(one) for one in choices),
        f"did you mean `{near}`?" if near else "",
    )

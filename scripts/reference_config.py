"""Write docs/reference/config.md and the shipped JSON schema from the types of the config."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from generated import publish

from truss.config import SCHEMA_FILE, values
from truss.config.convert import Key, Kind, keys_of, kind_of
from truss.config.json_schema import text as schema_text
from truss.config.schema import Section, TrussConfig
from truss.config.write import flow

INTRODUCTION = """\
# config.yaml

<!-- Written by scripts/reference_config.py; `make docs` renews it. -->

Every key is optional unless it says *required*; an empty file is valid. Keys that are not listed here are
kept, and handed to the model class as part of its `config`. The [guide](../guides/configuration.md) says how
to read and edit the file, and how to have an editor check it.

*Since* says where a key comes from: `2022` is the first format of the original project, `today` its present
one, and `truss` marks the keys that are this project's own.

A *size* is a number of bytes (`4096`) or a number with a unit: `k M G T P E` for powers of 1000,
`Ki Mi Gi Ti Pi Ei` for powers of 1024.
"""

NAMES: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    Any: "anything",
    values.size: "size",
    values.cpu: "`2`, `0.5` or `500m`",
    values.python_version: "`py311`, `3.11`",
    values.accelerator: "`TYPE` or `TYPE:N`",
    values.secret_name: "name",
    values.build_secret_name: "name",
    values.absolute_path: "absolute path",
    values.optional_absolute_path: "absolute path",
    values.ipv4_network: "IPv4 range",
    values.domain: "domain name",
}


def page() -> str:
    """The page's text."""
    accelerators = f"The types of `resources.accelerator`: {', '.join(values.ACCELERATORS)}.\n"
    return "\n".join([INTRODUCTION, *_section("All keys", TrussConfig, ""), accelerators])


def _section(title: str, section: type[Section], path: str) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| key | takes | default | meaning | since |\n|---|---|---|---|---|"
    keys = keys_of(section).values()
    for key in keys:
        cells = (
            f"`{path}{key.name}`",
            takes(key.kind),
            default(key),
            key.kind.description,
            key.kind.noted("origin"),
        )
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    for key in keys:
        inner, sign = section_in(key.kind)
        if inner is not None:
            name = f"{path}{key.name}{sign}"
            yield from _section(f"`{name}`", inner, f"{name}.")


def section_in(kind: Kind) -> tuple[type[Section] | None, str]:
    """The section that a key holds, and what stands behind the key's name for it."""
    if isinstance(kind.type, type) and issubclass(kind.type, Section):
        return kind.type, ""
    if get_origin(kind.type) is list:
        return section_in(kind_of(get_args(kind.type)[0]))[0], "[]"
    if get_origin(kind.type) is dict:
        return section_in(kind_of(get_args(kind.type)[1]))[0], ".NAME"
    return None, ""


def takes(kind: Kind) -> str:
    """What a key takes."""
    return f"{_takes(kind)} or null" if kind.optional else _takes(kind)


def _takes(kind: Kind) -> str:
    origin, arguments = get_origin(kind.type), get_args(kind.type)
    choices = next(
        (
            m.extra_json_schema["enum"]
            for m in kind.metas
            if m.extra_json_schema and "enum" in m.extra_json_schema
        ),
        None,
    )
    if origin is Literal or choices:
        return " ".join(f"`{choice}`" for choice in choices or arguments)
    if origin is list:
        return f"list of {_takes(kind_of(arguments[0]))}"
    if origin is dict:
        return f"mapping of name to {takes(kind_of(arguments[1]))}"
    if isinstance(kind.type, type) and issubclass(kind.type, Section):
        return "section"
    return NAMES.get(kind.parser) or NAMES[kind.type]


def default(key: Key) -> str:
    """The default of a key."""
    if key.required:
        return "*required*"
    return "" if isinstance(key.default, Section) else f"`{flow(key.default)}`"


if __name__ == "__main__":
    publish("config.md", page())
    publish(str(SCHEMA_FILE), schema_text())

"""Write docs/reference/config.md and the shipped JSON schema from the schema's types."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import msgspec
from generated import publish

import truss.config
from truss.config import json_schema
from truss.config.check import describe, field_types, unwrap
from truss.config.render import flow
from truss.config.schema import Section, TrussConfig

INTRODUCTION = """\
# config.yaml

<!-- Written by scripts/reference_config.py; `make docs` renews it. -->

Every key is optional; an empty file is valid. Keys that are not listed here are kept and handed to the model
as part of its `config`, never dropped. Sizes are numbers of bytes, or numbers with
`k M G T P E Ki Mi Gi Ti Pi Ei`.

Editors complete and check the file with the schema that ships in the package:
`python -c "import truss.config as c; print(c.__path__[0] + '/config.schema.json')"` prints where it is. In
VS Code's YAML extension, set `yaml.schemas` to map that path to `config.yaml`.
"""


def page() -> str:
    """The page's text."""
    return "\n".join([INTRODUCTION, *_section("All keys", TrussConfig, ""), ""])


def _section(title: str, kind: type[Section], path: str) -> Iterator[str]:
    yield f"## {title}\n"
    yield "| key | takes | default | meaning |"
    yield "|---|---|---|---|"
    inner: list[tuple[str, type[Section]]] = []
    for info in msgspec.structs.fields(kind):
        if info.name == "unknown":
            continue
        hint = field_types(kind)[info.name]
        below = section_of(hint)
        if below is not None:
            inner.append((f"{path}{info.name}", below))
        yield f"| `{path}{info.name}` | {takes(hint)} | {_default(info)} | {_description(hint)} |"
    yield ""
    for name, below in inner:
        is_list = get_origin(unwrap(_without_null(field_types(kind)[name.rpartition(".")[2]]))[0]) is list
        title = f"`{name}`, each entry" if is_list else f"`{name}`"
        yield from _section(title, below, "" if is_list else f"{name}.")


def section_of(hint: Any) -> type[Section] | None:
    """The section type that a key holds, by itself or as the items of a list."""
    kind, _ = unwrap(_without_null(hint))
    if get_origin(kind) is list:
        kind, _ = unwrap(get_args(kind)[0])
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _without_null(hint: Any) -> Any:
    kind, _ = unwrap(hint)
    alternatives = [part for part in get_args(kind) if part is not type(None)]
    return alternatives[0] if type(None) in get_args(kind) else kind


def takes(hint: Any) -> str:
    """What a key takes, in words."""
    kind, meta = unwrap(hint)
    text = describe(kind, meta)
    return text.replace("a size: a number of bytes, or a number with k M G T P E Ki Mi Gi Ti Pi Ei", "a size")


def _default(info: Any) -> str:
    if info.required:
        return "required"
    value = info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory()
    return "see below" if isinstance(value, Section) else f"`{flow(value)}`"


def _description(hint: Any) -> str:
    while get_origin(hint) is Annotated:
        hint, *notes = get_args(hint)
        for note in notes:
            if isinstance(note, msgspec.Meta) and note.description:
                return note.description
    return ""


def schema_file() -> Path:
    """Where the shipped schema lies."""
    return Path(truss.config.__path__[0]) / "config.schema.json"


publish("config.md", page())
publish(schema_file(), json.dumps(json_schema(), indent=2) + "\n")

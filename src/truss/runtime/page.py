"""The page at `/docs`: what a model takes and answers, for people. It fetches nothing else."""

from __future__ import annotations

import functools
import html
import json
import pprint
import re
import shlex
import string
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from truss.model.schemas import DEFINED, Schema
from truss.runtime.description import Description

HEADERS = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        b"base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
)
"""What a browser is told about it: nothing is loaded from anywhere, and only this server is asked."""

_PREDICT = "/v1/models/model:predict"
_DEEPEST = 6
_HOST = re.compile(r"[A-Za-z0-9.\-]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")


def page(described: Description, document: Mapping[str, Any], base: str) -> str:
    """The page.

    Args:
        described: The model.
        document: Its OpenAPI document.
        base: Where clients find the server, such as `http://127.0.0.1:8080`.
    """
    said = (
        "Requests are held against this; a 400 names each field that differs."
        if described.typed
        else "This tells what the model takes; requests are not held against it."
    )
    answered = "An answer comes in chunks, each of which is this." if described.streams else ""
    texts = {
        "name": described.name,
        "about": described.about or "A model served by Truss.",
        "said": said,
        "answered": answered if described.answer else "The model does not say what it answers.",
        "curl": curl(described, base),
        "python": python(described, base),
        "example": _pretty(described.example),
        "request": _pretty(described.request),
        "answer": _pretty(described.answer),
    }
    parts = {
        "key": '<p><label>API key <input id="key" type="password"></label></p>\n'
        if described.secured
        else "",
        "fields": _table(described.request),
        "answer_fields": _table(described.answer),
        "routes": "\n".join(_route(*one) for one in _operations(document)),
    }
    escaped = {name: html.escape(text) for name, text in texts.items()}
    return _template().substitute(escaped | parts)


def base_of(host: str, scheme: str) -> str:
    """Where a client finds the server, by the `Host` header of its request, when that is one."""
    return f"{scheme}://{host if _HOST.fullmatch(host) else 'localhost:8080'}"


# --- clients ---


def curl(described: Description, base: str) -> str:
    """A command that asks the model the example."""
    key = ['  -H "Authorization: Bearer $TRUSS_API_KEY" \\'] if described.secured else []
    lines = [
        f"curl {'-N ' if described.streams else ''}{base}{_PREDICT} \\",
        "  -H 'Content-Type: application/json' \\",
        *key,
        f"  -d {shlex.quote(json.dumps(described.example))}",
    ]
    return "\n".join(lines)


def python(described: Description, base: str) -> str:
    """A program, of the standard library only, that asks the model the example."""
    body = pprint.pformat(described.example, width=88, sort_dicts=False)
    headers = ['    "Content-Type": "application/json",']
    if described.secured:
        headers.append('    "Authorization": "Bearer " + os.environ["TRUSS_API_KEY"],')
    lines = [
        "import json",
        *(["import os"] if described.secured else []),
        "import urllib.request",
        "",
        f"body = {body}",
        "headers = {",
        *headers,
        "}",
        f'url = "{base}{_PREDICT}"',
        "request = urllib.request.Request(url, json.dumps(body).encode(), headers)",
        "with urllib.request.urlopen(request) as response:",
        *(_READ_CHUNKS if described.streams else _READ),
    ]
    return "\n".join(lines)


_READ = ["    print(json.load(response))"]
_READ_CHUNKS = [
    "    while chunk := response.read1():",
    '        print(chunk.decode(errors="replace"), end="", flush=True)',
]


# --- tables ---


class _Field(NamedTuple):
    path: str
    kind: str
    needed: bool
    about: str


def _table(schema: Mapping[str, Any]) -> str:
    """The fields of a schema as a table; nothing where it has none."""
    rows = [
        f"<tr><td><code>{html.escape(field.path)}</code></td><td>{html.escape(field.kind)}</td>"
        f"<td>{'required' if field.needed else ''}</td><td>{html.escape(field.about)}</td></tr>"
        for field in _fields(schema, schema.get("$defs", {}), "", ())
    ]
    if not rows:
        return ""
    head = "<tr><th>Field</th><th>Type</th><th></th><th></th></tr>"
    return f"<table><thead>{head}</thead><tbody>\n{chr(10).join(rows)}\n</tbody></table>"


def _fields(
    schema: Any, definitions: Mapping[str, Any], path: str, within: tuple[str, ...]
) -> Iterator[_Field]:
    """The fields of an object, those of the objects in it after each."""
    whole, names = _resolved(schema, definitions)
    if len(within) > _DEEPEST or any(name in within for name in names):
        return
    within = (*within, *(names or ("",)))
    for option in _options(whole):
        if option is not whole:
            yield from _fields(option, definitions, path, within)
    needed = whole.get("required", ())
    for name, part in whole.get("properties", {}).items():
        inner, _ = _resolved(part, definitions)
        place = f"{path}.{name}" if path else name
        yield _Field(place, _kind(part, definitions), name in needed, _about(inner))
        yield from _fields(part, definitions, place, within)
    if isinstance(whole.get("items"), dict):
        yield from _fields(whole["items"], definitions, f"{path}[]", within)


def _resolved(schema: Any, definitions: Mapping[str, Any]) -> tuple[Schema, tuple[str, ...]]:
    """What a schema refers to, and the names on the way there."""
    found = schema if isinstance(schema, dict) else {}
    names: tuple[str, ...] = ()
    while isinstance(reference := found.get("$ref"), str) and reference not in names:
        names = (*names, reference)
        found = {**definitions.get(reference.removeprefix(DEFINED), {}), **_beside(found)}
    return found, names


def _beside(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key in ("default", "description", "examples")}


def _options(schema: Schema) -> list[Any]:
    return [option for key in ("anyOf", "oneOf", "allOf") for option in schema.get(key, ())]


def _kind(schema: Any, definitions: Mapping[str, Any], deep: int = 0) -> str:
    whole, names = _resolved(schema, definitions)
    if deep > _DEEPEST:
        return names[-1].removeprefix(DEFINED) if names else "anything"
    if _options(whole):
        return " or ".join(dict.fromkeys(_kind(option, definitions, deep + 1) for option in _options(whole)))
    if "const" in whole or "enum" in whole:
        return "one of " + ", ".join(map(json.dumps, whole.get("enum", [whole.get("const")])))
    kind = whole.get("type", "object" if "properties" in whole else "anything")
    if kind == "array" and whole.get("items"):
        return f"list of {_kind(whole['items'], definitions, deep + 1)}"
    return " or ".join(kind) if isinstance(kind, list) else str(kind)


_LIMITS = {
    "minimum": ">= {}",
    "exclusiveMinimum": "> {}",
    "maximum": "<= {}",
    "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}",
    "minLength": "length >= {}",
    "maxLength": "length <= {}",
    "minItems": "items >= {}",
    "maxItems": "items <= {}",
    "pattern": "matches {}",
    "format": "{}",
}


def _about(schema: Schema) -> str:
    limits = [text.format(schema[key]) for key, text in _LIMITS.items() if key in schema]
    default = [f"default {json.dumps(schema['default'])}"] if "default" in schema else []
    return ", ".join([*([schema["description"]] if "description" in schema else []), *limits, *default])


def _operations(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation["summary"]


def _route(method: str, path: str, summary: str) -> str:
    return (
        f"<tr><td>{method}</td><td><code>{html.escape(path)}</code></td><td>{html.escape(summary)}</td></tr>"
    )


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


@functools.cache
def _template() -> string.Template:
    return string.Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))

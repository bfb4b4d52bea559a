"""Hold a document against the schema: all problems of a file, each with its line.

Walks types and nodes together. A value that does not fit is reported and replaced by its default, so
that the walk goes on and the next problem is found too.
"""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec

from truss.config import document
from truss.config.schema import DockerServer, Section, TrussConfig
from truss.errors import ConfigProblem

_FALLBACK: Any = object()
"""What a value that does not fit becomes: the field's default takes its place."""


@dataclass
class Checker:
    """Collects what is wrong while values are made."""

    problems: list[ConfigProblem] = field(default_factory=list)

    def section(self, node: Any, kind: type[Section], path: tuple[str, ...]) -> Any:
        """An instance of a section's type from a mapping node."""
        if document.is_null(node):
            node = None
        elif not document.is_mapping(node):
            self._wrong(node, path, "a mapping of keys", _hint_mapping(path))
            return _FALLBACK
        values, unknown = {}, {}
        hints = field_types(kind)
        for name, value in self._distinct(node, path):
            if name not in hints:
                unknown[name] = document.plain(value)
                continue
            made = self.value(value, hints[name], (*path, name))
            if made is not _FALLBACK:
                values[name] = made
        missing = [
            name for name, default in _required(kind) if default is msgspec.NODEFAULT and name not in values
        ]
        present = {key.value for key, _ in document.pairs(node)} if node is not None else set()
        for name in missing:
            if name not in present:
                self._add(
                    node, (*path, name), "is required and missing", describe(hints[name]), f"add `{name}:`"
                )
        return _FALLBACK if missing else kind(**values, unknown=unknown)

    def _distinct(self, node: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        """The keys of a mapping, once each; a repeated key is reported, and its last value counts."""
        if node is None:
            return
        seen: dict[str, Any] = {}
        for key, value in document.pairs(node):
            name = str(key.value)
            if key.id != "scalar":
                self._wrong(key, path, "a plain key", "write keys as plain text")
                continue
            if name in seen:
                first = document.line_of(seen[name][0])
                self._add(
                    key, (*path, name), f"is given twice; first on line {first}", "", "keep one of the two"
                )
            seen[name] = (key, value)
        for name, (_, value) in seen.items():
            yield name, value

    def value(self, node: Any, hint: Any, path: tuple[str, ...]) -> Any:
        """A value of the hinted type from a node."""
        hint, meta = unwrap(hint)
        alternatives = _alternatives(hint)
        if type(None) in alternatives:
            if document.is_null(node):
                return None
            (hint,) = (kind for kind in alternatives if kind is not type(None))
            hint, inner = unwrap(hint)
            meta = inner or meta
        origin = get_origin(hint)
        if isinstance(hint, type) and issubclass(hint, Section):
            return self.section(node, hint, path)
        if document.is_null(node) and origin in (list, dict):
            return origin()
        if origin is list:
            return self._list(node, get_args(hint)[0], path)
        if origin is dict:
            return self._dict(node, get_args(hint), path)
        if hint is Any:
            return document.plain(node)
        return self._scalar(node, hint, meta, path)

    def _list(self, node: Any, item: Any, path: tuple[str, ...]) -> Any:
        if not document.is_sequence(node):
            shown = node.value if node.id == "scalar" else "..."
            self._wrong(node, path, f"a list of {describe_items(item)}", f"write `{path[-1]}: [{shown}]`")
            return _FALLBACK
        made = [self.value(entry, item, (*path, str(index))) for index, entry in enumerate(node.value)]
        return [entry for entry in made if entry is not _FALLBACK]

    def _dict(self, node: Any, kinds: tuple[Any, ...], path: tuple[str, ...]) -> Any:
        if not document.is_mapping(node):
            self._wrong(node, path, "a mapping of keys", _hint_mapping(path))
            return _FALLBACK
        key_type, value_type = kinds
        _, key_meta = unwrap(key_type)
        made = {}
        for name, value in self._distinct(node, path):
            if key_meta is not None and not re.search(key_meta.pattern or "", name):
                self._add(
                    value, (*path, name), f"{name!r} is not a good name", describe(key_type), "rename it"
                )
            item = self.value(value, value_type, (*path, name))
            if item is not _FALLBACK:
                made[name] = item
        return made

    def _scalar(self, node: Any, hint: Any, meta: Any, path: tuple[str, ...]) -> Any:
        if node.id != "scalar" or document.is_null(node):
            self._wrong(node, path, describe(hint, meta), _hint_for(path, hint, meta))
            return _FALLBACK
        value = _coerce(node, hint)
        try:
            return msgspec.convert(value, Annotated[hint, meta] if meta else hint)
        except msgspec.ValidationError:
            self._wrong(node, path, describe(hint, meta), _hint_for(path, hint, meta, str(node.value)))
            return _FALLBACK

    def _wrong(self, node: Any, path: tuple[str, ...], expected: str, hint: str) -> None:
        self._add(node, path, f"{_shown(node)} does not fit", expected, hint)

    def _add(self, node: Any, path: tuple[str, ...], message: str, expected: str, hint: str) -> None:
        line = document.line_of(node) if node is not None else 0
        self.problems.append(ConfigProblem(line, ".".join(path), message, expected, hint))


def check(root: Any) -> tuple[TrussConfig, list[ConfigProblem]]:
    """The config in a document, and everything that is wrong with it, in file order."""
    checker = Checker()
    config = checker.section(root, TrussConfig, ())
    if config is _FALLBACK:
        config = TrussConfig()
    problems = [*checker.problems, *_across_keys(root, config)]
    return config, sorted(problems, key=lambda problem: problem.line)


def _across_keys(root: Any, config: TrussConfig) -> Iterator[ConfigProblem]:
    """What only shows when several keys are seen together."""
    if config.requirements and config.requirements_file:
        yield ConfigProblem(
            _line(root, "requirements_file"),
            "requirements_file",
            "is given beside `requirements`",
            "one of the two",
            "keep `requirements_file`, and move the lines of `requirements` into that file",
        )
    server = config.docker_server
    if isinstance(server, DockerServer) and server.start_command is None and not server.no_build:
        yield ConfigProblem(
            _line(root, "docker_server"),
            "docker_server.start_command",
            "is required and missing",
            "a shell command, unless `no_build: true`",
            "add `start_command:`",
        )
    mounts: set[str] = set()
    for index, weights in enumerate(config.weights):
        if weights.mount_location in mounts:
            message = f"{weights.mount_location!r} is taken by an entry above"
            yield ConfigProblem(
                _line(root, "weights"),
                f"weights.{index}.mount_location",
                message,
                "",
                "give each its own path",
            )
        mounts.add(weights.mount_location)


def _line(root: Any, name: str) -> int:
    if not document.is_mapping(root):
        return 0
    return next((document.line_of(key) for key, _ in document.pairs(root) if key.value == name), 0)


@cache
def field_types(kind: type[Section]) -> dict[str, Any]:
    """The annotated types of a section's keys."""
    hints = get_type_hints(kind, include_extras=True)
    return {name: hints[name] for name in kind.__struct_fields__ if name != "unknown"}


def _required(kind: type[Section]) -> list[tuple[str, Any]]:
    return [(info.name, _default(info)) for info in msgspec.structs.fields(kind) if info.name != "unknown"]


def _default(info: Any) -> Any:
    return info.default if info.default_factory is msgspec.NODEFAULT else info.default_factory


def unwrap(hint: Any) -> tuple[Any, Any]:
    """A type without its annotations, and the innermost annotation that constrains it."""
    meta = None
    while get_origin(hint) is Annotated:
        hint, *annotations = get_args(hint)
        for annotation in annotations:
            if isinstance(annotation, msgspec.Meta) and _constrains(annotation):
                meta = annotation
    return hint, meta


def _constrains(meta: msgspec.Meta) -> bool:
    return any(value is not None for value in (meta.pattern, meta.ge, meta.gt, meta.le, meta.min_length))


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _coerce(node: Any, hint: Any) -> Any:
    """The value a person means: `cpu: 1` is text, `use_gpu: yes` is true, `grace: 30` is a float."""
    value = document.scalar(node)
    if hint is str and isinstance(value, bool):
        return "true" if value else "false"
    if hint is str:
        return node.value  # as written: 3.10 stays 3.10
    if hint is bool and isinstance(value, str) and node.style is None:
        return _YAML_1_1_BOOLEANS.get(value.lower(), value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


_YAML_1_1_BOOLEANS = {"yes": True, "on": True, "no": False, "off": False}
"""What the original's YAML reader takes for booleans, beside true and false."""

_TYPE_NAMES: dict[Any, str] = {str: "text", int: "a whole number", float: "a number", bool: "true or false"}


def describe(hint: Any, meta: Any = None) -> str:
    """What a type takes, in words."""
    hint, own = unwrap(hint)
    meta = meta or own
    if meta is not None and meta.extra and "expects" in meta.extra:
        return str(meta.extra["expects"])
    alternatives = _alternatives(hint)
    if len(alternatives) > 1:
        return " or ".join(describe(kind) for kind in alternatives if kind is not type(None)) + ", or null"
    origin = get_origin(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if origin is list:
        return f"a list of {describe_items(get_args(hint)[0])}"
    if origin is dict or (isinstance(hint, type) and issubclass(hint, Section)):
        return "a mapping of keys"
    bounds = _bounds(meta) if meta is not None else ""
    return _TYPE_NAMES.get(hint, "any value") + bounds


def describe_items(hint: Any) -> str:
    """What the items of a list are, in the plural."""
    kind, _ = unwrap(hint)
    if kind is str:
        return "texts"
    return "mappings" if isinstance(kind, type) and issubclass(kind, Section) else "values"


def _bounds(meta: msgspec.Meta) -> str:
    limits = [
        f"{word} {limit}"
        for word, limit in (("at least", meta.ge), ("more than", meta.gt), ("at most", meta.le))
        if limit is not None
    ]
    return f", {' and '.join(limits)}" if limits else ""


def _shown(node: Any) -> str:
    if node.id == "scalar":
        return "null" if document.is_null(node) else repr(node.value)
    return "a mapping" if document.is_mapping(node) else "a list"


def _hint_mapping(path: tuple[str, ...]) -> str:
    name = path[-1] if path else "the file"
    return (
        f"write `{name}:` and, indented below it, `key: value` lines" if path else "write `key: value` lines"
    )


_EXAMPLES: dict[str, Callable[[str], str | None]] = {
    "cpu": lambda _: "500m",
    "memory": lambda text: _mend_size(text) or "2Gi",
    "python_version": lambda _: "py311",
    "accelerator": lambda text: next(
        iter(difflib.get_close_matches(text.upper(), _accelerators(), 1)), "A100"
    ),
    "max_body": lambda text: _mend_size(text) or "100Mi",
    "memory_limit": lambda text: _mend_size(text) or "4Gi",
    "max_bytes": lambda text: _mend_size(text) or "16Mi",
}


def _accelerators() -> tuple[str, ...]:
    from truss.config.schema import ACCELERATORS

    return ACCELERATORS


def _mend_size(text: str) -> str | None:
    """What a mistyped size probably meant: `2 GB`, `2gb` and `2GiB` mean `2G` and `2Gi`."""
    found = re.fullmatch(r"\s*([0-9.]+)\s*([kmgtpe])(i?)b?\s*", text, re.IGNORECASE)
    if not found:
        return None
    unit = found[2].lower() if found[2].lower() == "k" and not found[3] else found[2].upper()
    return f"{found[1]}{unit}{found[3].lower()}"


def _hint_for(path: tuple[str, ...], hint: Any, meta: Any, text: str = "") -> str:
    name = path[-1] if path else ""
    if get_origin(hint) is Literal:
        choices = [str(choice) for choice in get_args(hint)]
        meant = {choice.lower(): choice for choice in choices}
        close = difflib.get_close_matches(text.lower(), meant, 1)
        return f"write `{name}: {meant[close[0]] if close else choices[0]}`"
    if name in _EXAMPLES:
        return f"write `{name}: {_EXAMPLES[name](text)}`"
    if hint is bool:
        return f"write `{name}: true` or `{name}: false`"
    if hint is int:
        low = meta.ge if meta is not None and meta.ge is not None else 1
        return f"write a whole number, e.g. `{name}: {low}`"
    if hint is float:
        return f"write a number, e.g. `{name}: 30`"
    return f"write {describe(hint, meta)}"

"""A document held against the schema: the typed value, and every mistake with its line.

Types and nodes are walked together. A value that does not fit is reported and left out, so that the walk goes
on and finds the next one; a value of the schema's types comes out only when nothing was reported.
"""

from __future__ import annotations

import re
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import NODEFAULT, Meta, structs

from truss.config import values
from truss.config.plain import effective_pairs, is_merge, is_null, key_of, plain, written
from truss.config.schema import Section, TrussConfig
from truss.config.tree import Mapping, Node, Sequence, dereferenced
from truss.config.upgrade import OLD_NAMES
from truss.config.values import Mismatch, Parser
from truss.errors import ConfigProblem

Path = tuple[str, ...]

_WRONG: Any = object()
"""Stands for a value that was reported."""

_PARSERS: dict[Any, Parser] = {
    str: values.text,
    bool: values.boolean,
    int: values.integer,
    float: values.number,
}


@dataclass(frozen=True)
class Kind:
    """A type taken apart: what it is without its annotations, and what those say.

    Attributes:
        type: The bare type: a class, a `list[...]`, a `dict[...]`, a `Literal[...]`, or Any.
        optional: Whether null is a value of it.
        metas: Its annotations, outermost first.
    """

    type: Any
    optional: bool
    metas: tuple[Meta, ...]

    @property
    def parser(self) -> Parser | None:
        """The parser that an annotation names."""
        parser: Parser | None = self.noted("parser")
        return parser

    def noted(self, name: str) -> Any:
        """What the annotations carry under a name."""
        return next((meta.extra[name] for meta in self.metas if meta.extra and name in meta.extra), None)

    @property
    def description(self) -> str:
        """What the key means."""
        return next((meta.description for meta in self.metas if meta.description), "")


@dataclass(frozen=True)
class Key:
    """One key of a section."""

    name: str
    kind: Kind
    required: bool
    default: Any


@cache
def keys_of(section: type[Section]) -> dict[str, Key]:
    """The keys of a section, in the order of the schema."""
    hints = get_type_hints(section, include_extras=True)
    return {
        info.name: Key(info.name, kind_of(hints[info.name]), info.required, _default(info))
        for info in structs.fields(section)
        if info.name != "unknown"
    }


def _default(info: structs.FieldInfo) -> Any:
    return info.default_factory() if info.default_factory is not NODEFAULT else info.default


@cache
def kind_of(hint: Any) -> Kind:
    """A type hint taken apart."""
    metas: list[Meta] = []
    optional = False
    while True:
        if get_origin(hint) is Annotated:
            hint, *annotations = get_args(hint)
            metas += [one for one in annotations if isinstance(one, Meta)]
        elif get_origin(hint) in {Union, types.UnionType}:
            optional = True
            (hint,) = (one for one in get_args(hint) if one is not type(None))
        else:
            return Kind(hint, optional, tuple(metas))


def convert(root: Node | None) -> tuple[TrussConfig, list[ConfigProblem]]:
    """The config in a document, and everything that is wrong with it in file order.

    The config is of use only if nothing is wrong.
    """
    walk = _Walk()
    config = walk.section(root, TrussConfig, ()) if root is not None else TrussConfig()
    problems = sorted(walk.problems, key=lambda problem: problem.line)
    return (TrussConfig() if config is _WRONG else config), problems


@dataclass
class _Walk:
    problems: list[ConfigProblem] = field(default_factory=list)
    seen_duplicates: set[int] = field(default_factory=set)

    def report(self, node: Node, path: Path, mismatch: Mismatch) -> Any:
        """Note a mistake; the value that comes back says that there is none."""
        problem = ConfigProblem(node.line, dotted(path), mismatch.message, mismatch.expected, mismatch.hint)
        self.problems.append(problem)
        return _WRONG

    def value(self, node: Node, kind: Kind, path: Path) -> Any:
        if kind.optional and is_null(node):
            return None
        target = dereferenced(node)
        origin = get_origin(kind.type)
        if kind.type is Any:
            self.duplicates_below(target, path)
            return plain(target)
        if isinstance(kind.type, type) and issubclass(kind.type, Section):
            return self.section(node, kind.type, path)
        if origin is list:
            return self.items(node, kind, path)
        if origin is dict:
            return self.entries(node, kind, path)
        return self.scalar(node, kind, path)

    def scalar(self, node: Node, kind: Kind, path: Path) -> Any:
        value = plain(node)
        if get_origin(kind.type) is Literal:
            parsed = values.choice(value, get_args(kind.type))
        else:
            parsed = (kind.parser or _PARSERS[kind.type])(value, written(node))
        if not isinstance(parsed, Mismatch):
            parsed = _within(parsed, kind.metas)
        return self.report(node, path, parsed) if isinstance(parsed, Mismatch) else parsed

    def items(self, node: Node, kind: Kind, path: Path) -> Any:
        target = dereferenced(node)
        item = kind_of(get_args(kind.type)[0])
        if not isinstance(target, Sequence):
            shown = written(target) or "..."
            hint = f"write `{path[-1]}: [{shown}]`" if "\n" not in shown else "write `- ` before each item"
            found = values.describe(plain(target))
            return self.report(
                node, path, Mismatch(f"is {found}, not a list", f"a list of {plural(item)}", hint)
            )
        made = [self.value(entry, item, (*path, str(index))) for index, entry in enumerate(target.items)]
        parsed = _within(made, kind.metas)
        return self.report(node, path, parsed) if isinstance(parsed, Mismatch) else parsed

    def entries(self, node: Node, kind: Kind, path: Path) -> Any:
        target = dereferenced(node)
        key_kind, value_kind = (kind_of(part) for part in get_args(kind.type))
        if not isinstance(target, Mapping):
            return self.not_a_mapping(node, path)
        made: dict[str, Any] = {}
        for name, key, value in self.distinct(target, path):
            if value_kind.type is not Any or key_kind.parser is not None:
                found = (key_kind.parser or values.text)(name, written(key))
                if isinstance(found, Mismatch):
                    self.report(key, (*path, str(written(key) or name)), found)
                    continue
            made[name] = self.value(value, value_kind, (*path, str(name)))
        return made

    def section(self, node: Node, section: type[Section], path: Path) -> Any:
        target = dereferenced(node)
        if is_null(target):
            return (
                section()
                if not any(key.required for key in keys_of(section).values())
                else self.not_a_mapping(node, path)
            )
        if not isinstance(target, Mapping):
            return self.not_a_mapping(node, path)
        keys = keys_of(section)
        before = len(self.problems)
        found: dict[str, Any] = {}
        unknown: dict[Any, Any] = {}
        nodes: dict[str, Node] = {}
        for name, key_node, value in self._renamed(self.distinct(target, path), path):
            key = keys.get(name) if isinstance(name, str) else None
            if key is None:
                self.duplicates_below(value, (*path, str(name)))
                unknown[name] = plain(value)
                continue
            nodes[name] = key_node
            if not (is_null(value) and not key.required and not key.kind.optional):  # null: as if left out
                found[name] = self.value(value, key.kind, (*path, name))
        for key in keys.values():
            if key.required and key.name not in found:
                mismatch = Mismatch("is missing", key.kind.description, f"add `{key.name}: ...`")
                self.report(target, (*path, key.name), mismatch)
        if len(self.problems) > before:
            return _WRONG
        return self._complaining(section(**found, unknown=unknown), node, nodes, path)

    def _complaining(self, made: Section, node: Node, nodes: dict[str, Node], path: Path) -> Any:
        before = len(self.problems)
        for complaint in made.complaints():
            where = (*path, complaint.key) if complaint.key else path
            self.report(nodes.get(complaint.key, node), where, Mismatch(*complaint[1:]))
        return _WRONG if len(self.problems) > before else made

    @staticmethod
    def _renamed(entries: Iterator[tuple[Any, Node, Node]], path: Path) -> list[tuple[Any, Node, Node]]:
        """Entries under the names that keys have today; where both are given, today's counts."""
        listed = list(entries)
        present = {name for name, _, _ in listed}
        renamed = []
        for name, key, value in listed:
            today = OLD_NAMES.get((*path, name)) if isinstance(name, str) else None
            renamed.append((name if today is None or today in present else today, key, value))
        return renamed

    def not_a_mapping(self, node: Node, path: Path) -> Any:
        found = values.describe(plain(node))
        hint = (
            f"write `{path[-1]}:` and, indented below it, `key: value`"
            if path
            else "write `key: value` lines"
        )
        return self.report(node, path, Mismatch(f"is {found}, not a mapping", "keys and values", hint))

    def distinct(self, mapping: Mapping, path: Path) -> Iterator[tuple[Any, Node, Node]]:
        """(name, key, value) of each pair, the last one of a repeated key; repetitions are reported."""
        self.repetitions(mapping, path)
        last = {key_of(key): (key, value) for key, value in effective_pairs(mapping)}
        for name, (key, value) in last.items():
            yield name, key, value

    def repetitions(self, mapping: Mapping, path: Path) -> None:
        if id(mapping) in self.seen_duplicates:  # reached again through an alias
            return
        self.seen_duplicates.add(id(mapping))
        first: dict[Any, int] = {}
        for key, _ in mapping.pairs:
            name = key_of(key)
            if is_merge(key):
                self.mergeable(mapping, key, path)
            elif name in first:
                message = f"is given twice: first on line {first[name]}, again here"
                hint = "remove one of the two, or join them"
                self.report(key, (*path, str(name)), Mismatch(message, "each key once", hint))
            else:
                first[name] = key.line

    def mergeable(self, mapping: Mapping, key: Node, path: Path) -> None:
        value = dereferenced(next(value for one, value in mapping.pairs if one is key))
        sources = value.items if isinstance(value, Sequence) else [value]
        if not all(isinstance(dereferenced(source), Mapping) for source in sources):
            self.report(
                key, (*path, "<<"), Mismatch("merges something that is not a mapping", "`*name` of a mapping")
            )

    def duplicates_below(self, node: Node, path: Path) -> None:
        """Report repeated keys where the schema does not look."""
        target = dereferenced(node)
        if isinstance(target, Sequence):
            for index, item in enumerate(target.items):
                self.duplicates_below(item, (*path, str(index)))
        elif isinstance(target, Mapping) and id(target) not in self.seen_duplicates:
            self.repetitions(target, path)
            for key, value in target.pairs:
                self.duplicates_below(value, (*path, str(key_of(key))))


def dotted(path: Path) -> str:
    """A path as messages show it; a part that has dots itself is put in quotes."""
    return ".".join(f'"{part}"' if "." in part else part for part in path)


def plural(kind: Kind) -> str:
    """What the items of a list are called."""
    if isinstance(kind.type, type) and issubclass(kind.type, Section):
        return "mappings"
    return {str: "texts", int: "numbers", float: "numbers"}.get(kind.type, "values")


_LIMITS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("ge", lambda value, limit: value >= limit, "at least {}"),
    ("gt", lambda value, limit: value > limit, "more than {}"),
    ("le", lambda value, limit: value <= limit, "at most {}"),
    ("min_length", lambda value, limit: len(value) >= limit, "not empty"),
)


def _within(value: Any, metas: tuple[Meta, ...]) -> Any:
    """The value, if it keeps the limits that annotations set."""
    for meta in metas:
        for name, holds, words in _LIMITS:
            limit = getattr(meta, name)
            if limit is not None and not holds(value, limit):
                return Mismatch(
                    "is empty" if value in ([], "") else f"cannot be {value!r}", words.format(limit)
                )
        if meta.pattern is not None and not re.search(meta.pattern, value):
            return Mismatch(f"{value!r} is not of the right form", f"text that matches {meta.pattern}")
    return value

"""A YAML document as a tree of nodes that know where they stand in the text.

Built from the parser's events, because everything that comes later (lines of mistakes, duplicate keys, edits
that touch one line) needs what a loader throws away. Positions are indexes into the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from truss.errors import ConfigError, ConfigProblem

MAX_DEPTH = 100
"""Deeper nesting is refused; nobody writes it, and recursion has to end somewhere."""

BREAKS = "\r\n\x85\u2028\u2029"
"""The characters that end a line in YAML."""

_BREAK = re.compile(rf"\r\n|[{BREAKS}]")
_GAP = rf"(?:[ \t{BREAKS}\ufeff]|(?<![^ \t{BREAKS}\ufeff])#[^{BREAKS}]*)*"
_PROPERTIES = re.compile(rf"(?:{_GAP}[&!][^ \t{BREAKS}]*)*")
_COLON = re.compile(rf"{_GAP}:")
_DASH = re.compile(rf"{_GAP}-")


@dataclass(frozen=True, slots=True)
class Node:
    """A value in the text.

    Attributes:
        start: Where it begins, its anchor and tag included.
        end: Just behind its last character; trailing comments and blank lines are outside.
        line: 1-based line of its first character.
        column: 0-based column of it; for a block collection, the column of its keys or dashes.
        tag: The tag written before it, e.g. `!!str`; None if there is none.
    """

    start: int
    end: int
    line: int
    column: int
    tag: str | None


@dataclass(frozen=True, slots=True)
class Scalar(Node):
    """One value. `style` is `'`, `"`, `|`, `>`, or empty for a plain one."""

    text: str
    style: str

    @property
    def is_empty(self) -> bool:
        """Whether nothing at all is written."""
        return self.start == self.end


@dataclass(frozen=True, slots=True)
class Sequence(Node):
    """A list; `flow` if it is in brackets."""

    items: list[Node]
    flow: bool


@dataclass(frozen=True, slots=True)
class Mapping(Node):
    """Pairs of a key and a value, in file order, repeated keys included; `flow` if they are in braces."""

    pairs: list[tuple[Node, Node]]
    flow: bool


@dataclass(frozen=True, slots=True)
class Alias(Node):
    """`*name`, in place of the node that `&name` stands before."""

    target: Node


def dereferenced(node: Node) -> Node:
    """The node itself or, for an alias, the one it stands for."""
    return node.target if isinstance(node, Alias) else node


def parse(text: str, file: str) -> Node | None:
    """The root node of the text's only document; None when it holds none.

    Raises:
        ConfigError: the text is not YAML, or holds more than one document; says in which line of `file`.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return _Builder(text, file, iter(YAML(typ="safe", pure=True).parse(text))).document()
    except MarkedYAMLError as error:
        raise ConfigError(file, [_explained(error, text)]) from None
    except YAMLError as error:
        raise ConfigError(file, [_forbidden_character(error, text)]) from None


def line_of(text: str, index: int) -> int:
    """The 1-based line of a position."""
    return len(_BREAK.findall(text[:index])) + 1


def line_start(text: str, index: int) -> int:
    """Where the line of a position begins; behind the byte order mark, if there is one."""
    start = index
    while start and text[start - 1] not in BREAKS:
        start -= 1
    return start + 1 if text.startswith("\ufeff", start) else start


def line_end(text: str, index: int) -> int:
    """Where the line of a position ends, before its line break."""
    end = index
    while end < len(text) and text[end] not in BREAKS:
        end += 1
    return end


def behind_colon(text: str, key: Node) -> int | None:
    """Just behind the colon that follows a key; None where it has none, as in `{key}`."""
    found = _COLON.match(text, key.end)
    return found.end() if found else None


def _forbidden_character(error: Exception, text: str) -> ConfigProblem:
    position, character = getattr(error, "position", 0), getattr(error, "character", None)
    named = f": U+{character:04X}" if isinstance(character, int) else ""
    line = line_of(text, position) if isinstance(position, int) else 0
    return ConfigProblem(
        line, "", f"has a character that YAML does not allow{named}", "plain text", "remove it"
    )


_HINTS = (
    ("'\\t'", "indent with spaces; YAML takes no tabs"),
    (
        "mapping values are not allowed",
        "put the value in quotes if `: ` belongs to it; else check the indentation",
    ),
    ("could not find expected ':'", "write `key: value`, with a space behind the colon"),
    ("expected <block end>", "give keys that belong together the same indentation"),
    ("while scanning a quoted scalar", "close the quotes"),
    ("unexpected end of stream", "close the quotes or brackets"),
    ("expected ',' or", "close the brackets, and separate entries with commas"),
    ("cannot start any token", "put the value in quotes"),
    ("undefined alias", "define it with `&name` further up, or put the value in quotes if it is just text"),
)


def _explained(error: Any, text: str) -> ConfigProblem:
    mark = error.problem_mark or error.context_mark
    said = " ".join(str(part) for part in (error.context, error.problem) if part)
    hint = next(
        (hint for sign, hint in _HINTS if sign in said), "check the quotes, brackets and indentation here"
    )
    line = min(mark.line + 1, line_of(text.rstrip(), len(text))) if mark else 0
    return ConfigProblem(line, "", f"is not YAML: {error.problem or error.context}", "YAML", hint)


@dataclass
class _Builder:
    """Reads events; each method takes those of one node."""

    text: str
    file: str
    events: Iterator[Any]
    anchors: dict[str, Node | None] = field(default_factory=dict)
    depth: int = 0
    behind: int = 0
    """Just behind the last thing read: where something empty stands."""

    def document(self) -> Node | None:
        root: Node | None = None
        documents = 0
        for event in self.events:
            kind = type(event).__name__
            if kind == "DocumentStartEvent":
                documents += 1
                if documents > 1:
                    hint = "remove the line `---`, and what follows if it is not meant"
                    raise self.refusal(event, "a second document begins here", "one document", hint)
                self.anchors.clear()
                root = self.node(next(self.events))
        return None if isinstance(root, Scalar) and root.is_empty else root

    def refusal(self, event: Any, message: str, expected: str, hint: str = "") -> ConfigError:
        problem = ConfigProblem(event.start_mark.line + 1, "", message, expected, hint)
        return ConfigError(self.file, [problem])

    def node(self, event: Any) -> Node:
        kind = type(event).__name__
        if kind == "AliasEvent":
            return self.alias(event)
        if event.anchor:
            self.anchors[event.anchor] = None  # not complete yet: an alias to it now would be a loop
        if kind == "ScalarEvent":
            node: Node = self.scalar(event)
        else:
            self.depth += 1
            if self.depth > MAX_DEPTH:
                raise self.refusal(event, "is nested too deeply", f"at most {MAX_DEPTH} levels")
            node = self.sequence(event) if kind == "SequenceStartEvent" else self.mapping(event)
            self.depth -= 1
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def alias(self, event: Any) -> Alias:
        target = self.anchors.get(event.anchor)
        mark = event.start_mark
        if target is None:
            loop = event.anchor in self.anchors
            message = f"`*{event.anchor}` " + ("stands inside of what it means" if loop else "means nothing")
            hint = (
                "" if loop else f"define `&{event.anchor}` further up, or put it in quotes if it is just text"
            )
            raise self.refusal(event, message, "an anchor defined above", hint)
        self.behind = event.end_mark.index
        return Alias(mark.index, self.behind, mark.line + 1, mark.column, None, target)

    def scalar(self, event: Any) -> Scalar:
        mark, end = event.start_mark, event.end_mark.index
        style = event.style or ""
        start, line, column = mark.index, mark.line + 1, mark.column
        if start == end:  # the parser says where the next thing is
            start = end = self.behind
            line, column = line_of(self.text, start), 0
        elif style in {"|", ">"}:
            end = self._block_end(start, end)
        self.behind = end
        return Scalar(start, end, line, column, event.tag, event.value, style)

    def _block_end(self, start: int, end: int) -> int:
        """A block scalar ends with its last line that is not blank, unless it keeps the blank ones."""
        written = self.text[start:end]
        header = written.splitlines()[0].split("#")[0]
        if "+" in header:
            return end
        return start + max(len(written.rstrip()), len(header.rstrip()))

    def sequence(self, event: Any) -> Sequence:
        mark, column = event.start_mark, event.start_mark.column
        items: list[Node] = []
        self.behind = event.end_mark.index if event.flow_style else mark.index
        if not event.flow_style:
            self._step_over(_PROPERTIES)
        while type(inner := next(self.events)).__name__ != "SequenceEndEvent":
            if not event.flow_style:
                self._step_over(_DASH)
                column = self.behind - 1 - line_start(self.text, self.behind) if not items else column
            items.append(self.node(inner))
        if event.flow_style:
            self.behind = inner.end_mark.index
        return Sequence(mark.index, self.behind, mark.line + 1, column, event.tag, items, event.flow_style)

    def mapping(self, event: Any) -> Mapping:
        mark = event.start_mark
        pairs: list[tuple[Node, Node]] = []
        self.behind = event.end_mark.index
        while type(inner := next(self.events)).__name__ != "MappingEndEvent":
            key = self.node(inner)
            self._step_over(_COLON)
            pairs.append((key, self.node(next(self.events))))
        if event.flow_style:
            self.behind = inner.end_mark.index
        column = pairs[0][0].column if pairs and not event.flow_style else mark.column
        return Mapping(mark.index, self.behind, mark.line + 1, column, event.tag, pairs, event.flow_style)

    def _step_over(self, sign: re.Pattern[str]) -> None:
        found = sign.match(self.text, self.behind)
        if found is not None:
            self.behind = found.end()

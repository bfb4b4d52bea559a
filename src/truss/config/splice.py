"""Changes to a YAML text that leave every other character as it is.

Each function takes a text and returns the changed one. They know positions, not meaning: whether the result
says what was meant is for the caller to check (`truss.config.edit` does), who refuses what did not work out.
So an unusual file leads to a refusal, never to a wrong value.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import Any

from truss.config import tree, write
from truss.config.plain import is_null, key_of, plain
from truss.config.tree import (
    Mapping,
    Node,
    Scalar,
    Sequence,
    behind_colon,
    line_end,
    line_start,
)
from truss.config.write import Layout

Part = str | int
Parts = tuple[Part, ...]
"""A path: keys of mappings and indexes of lists."""

_TAIL = re.compile(rf"[ \t]*(?:#[^{tree.BREAKS}]*)?")


class Splicer:
    """A text, parsed, and the ways to change it.

    Raises (every method):
        LookupError: the path leads through something that is no collection.
    """

    def __init__(self, text: str, file: str = "config.yaml") -> None:
        self.text = text
        self.file = file
        self.root = tree.parse(text, file)
        self.layout = layout_of(text, self.root)

    def set(self, path: Parts, value: Any) -> str:
        """The text with a value at a path; what is missing on the way there is made."""
        if self.root is None:
            return self._append_lines(write.entry(path[0], _nested(path[1:], value), 0, self.layout))
        node: Node = self.root
        for depth, part in enumerate(path):
            rest = path[depth + 1 :]
            found = child(node, part)
            if found is None:
                return self._added(node, part, _nested(rest, value))
            if not rest:
                return self._changed(path, node, part, value)
            if is_null(found):
                return self._replaced(node, part, _nested(rest, value))
            node = found
        raise LookupError(path)

    def remove(self, path: Parts) -> str:
        """The text without what is at a path; the text itself when nothing is there."""
        node = self.root
        for part in path[:-1]:
            node = child(node, part) if node is not None else None
        found = child(node, path[-1]) if node is not None else None
        if node is None or found is None:
            return self.text
        entries = spans(node)
        if len(entries) == 1:
            return self._emptied(path[:-1], node)
        return self._without(node, _index(node, path[-1]))

    def insert(self, path: Parts, index: int, value: Any) -> str:
        """The text with an item in the list at a path, before the one at `index` now."""
        node = self.at(path)
        if not isinstance(node, Sequence):
            raise LookupError(path)  # noqa: TRY004 (one kind of error for every place that cannot be edited)
        if not node.items:
            return self.set(path, [value])
        if node.flow:
            return self._with_flow_item(node, index, write.flow(value))
        lines = write.list_item(value, node.column, self.layout, self._gap(node))
        return self._with_lines(node, index, lines)

    def at(self, path: Parts) -> Node | None:
        """The node at a path."""
        node = self.root
        for part in path:
            node = child(node, part) if node is not None else None
        return node

    # Adding.

    def _added(self, node: Node, key: Part, value: Any) -> str:
        if not isinstance(node, Mapping):
            raise LookupError(key)  # noqa: TRY004 (as in insert)
        if node.flow:
            item = f"{write.scalar(key, in_flow=True)}: {write.flow(value)}"
            if not node.pairs:
                return self._spliced(node.end - 1, node.end - 1, item)
            return self._with_flow_item(node, len(node.pairs), item)
        lines = write.entry(key, value, node.column, self.layout)
        return self._with_lines(node, len(node.pairs), lines)

    def _with_flow_item(self, node: Mapping | Sequence, index: int, item: str) -> str:
        entries = spans(node)
        if index == 0:
            return self._spliced(entries[0][0], entries[0][0], f"{item}, ")
        behind = entries[index - 1][1]
        return self._spliced(behind, behind, f", {item}")

    def _with_lines(self, node: Mapping | Sequence, index: int, lines: list[str]) -> str:
        """Lines added to a block collection, before its entry at `index`."""
        entries = spans(node)
        newline = self.layout.newline
        if index == 0:
            start = line_start(self.text, self._entry_start(node, entries[0]))
            return self._spliced(start, start, "".join(line + newline for line in lines))
        end = entries[index - 1][1]
        if end and self.text[end - 1] in tree.BREAKS:  # behind a text that keeps its line breaks
            return self._spliced(end, end, "".join(line + newline for line in lines))
        end = line_end(self.text, end)
        return self._spliced(end, end, "".join(newline + line for line in lines))

    def _append_lines(self, lines: list[str]) -> str:
        newline = self.layout.newline
        open_line = self.text.strip("\ufeff") and self.text[-1] not in tree.BREAKS
        return self.text + (newline if open_line else "") + "".join(line + newline for line in lines)

    def _gap(self, node: Sequence) -> int:
        """Spaces behind the dashes of a list."""
        first = node.items[0]
        dash = line_start(self.text, first.start) + node.column
        gap = first.start - dash - 1
        return gap if 1 <= gap <= 8 and self.text[dash : dash + 1] == "-" else 1

    # Changing.

    def _changed(self, path: Parts, parent: Node, part: Part, value: Any) -> str:
        old = child(parent, part)
        assert old is not None
        if isinstance(old, Mapping) and isinstance(value, dict) and old.pairs and value:
            return _entries_changed(self, path, old, value)
        if isinstance(old, Sequence) and isinstance(value, list) and old.items and value:
            return _items_changed(self, path, old, value)
        return self._replaced(parent, part, value)

    def _replaced(self, parent: Node, part: Part, value: Any) -> str:
        """One value in place of another, whatever they are."""
        old = child(parent, part)
        assert old is not None
        in_flow = isinstance(parent, Mapping | Sequence) and parent.flow
        flows = isinstance(old, Mapping | Sequence) and old.flow and spans(old)
        if in_flow or flows or not isinstance(value, dict | list) or not value:
            return self._replaced_inline(parent, part, old, self._inline(old, value, in_flow=bool(in_flow)))
        if isinstance(parent, Mapping):
            start = self._value_start(parent, part)
            lines = write.block(value, parent.column, self.layout)
            return self._replaced_by_lines(start, old, "", lines)
        assert isinstance(parent, Sequence)
        gap = self._gap(parent)
        lines = write.list_item(value, parent.column, self.layout, gap)
        index = _index(parent, part)
        start = self._entry_start(parent, spans(parent)[index])
        return self._spliced(start, self._block_end(old), self.layout.newline.join(lines).lstrip(" "))

    def _inline(self, old: Node, value: Any, *, in_flow: bool) -> str:
        if isinstance(value, dict | list):
            return write.flow(value)
        quote = old.style if isinstance(old, Scalar) and old.style in {"'", '"'} else ""
        return write.scalar(value, in_flow=in_flow, quote=quote)

    def _replaced_inline(self, parent: Node, part: Part, old: Node, written: str) -> str:
        if isinstance(old, Mapping | Sequence) and not old.flow:
            return self._replaced_by_lines(self._value_start(parent, part), old, f" {written}", [])
        if isinstance(old, Scalar) and old.is_empty:
            colon = ": " if self.text[old.start - 1 : old.start] not in {":", "-"} else " "
            return self._spliced(old.start, old.start, colon + written)
        kept = self.text[old.end - 1 : old.end]
        return self._spliced(
            old.start, old.end, written + (self.layout.newline if kept in tree.BREAKS else "")
        )

    def _replaced_by_lines(self, start: int, old: Node, written: str, lines: list[str]) -> str:
        """A value behind a colon or dash at `start`, replaced; a comment on that line stays."""
        newline = self.layout.newline
        if isinstance(old, Mapping | Sequence) and not old.flow:
            tail = _TAIL.match(self.text, start)
            end = self._block_end(old)
        elif isinstance(old, Scalar) and old.style in {"|", ">"}:
            tail, end = None, old.end
        else:
            tail = _TAIL.match(self.text, old.end)
            end = line_end(self.text, old.end)
        comment = tail[0].rstrip() if tail is not None else ""
        kept = newline if end and self.text[end - 1] in tree.BREAKS else ""
        return self._spliced(start, end, written + comment + "".join(newline + line for line in lines) + kept)

    def _value_start(self, parent: Node, part: Part) -> int:
        """Just behind the colon or dash that a value follows."""
        index = _index(parent, part)
        if isinstance(parent, Mapping):
            key, value = parent.pairs[index]
            return behind_colon(self.text, key) or value.start
        assert isinstance(parent, Sequence)
        return self._entry_start(parent, spans(parent)[index]) + 1

    def _block_end(self, node: Node) -> int:
        """The end of the last line of a value."""
        if node.end and self.text[node.end - 1] in tree.BREAKS:
            return node.end
        return line_end(self.text, node.end)

    # Removing.

    def _without(self, node: Node, index: int) -> str:
        assert isinstance(node, Mapping | Sequence)
        entries = spans(node)
        start, end = entries[index]
        if node.flow:
            if index + 1 < len(entries):
                return self._spliced(start, entries[index + 1][0], "")
            return self._spliced(entries[index - 1][1], end, "")
        start = self._entry_start(node, entries[index])
        first = line_start(self.text, start)
        if self.text[first:start].strip(" ") and index + 1 < len(entries):  # `- first: 1`, with more below
            return self._spliced(start, self._entry_start(node, entries[index + 1]), "")
        if end and self.text[end - 1] in tree.BREAKS:
            return self._spliced(first, end, "")
        end = line_end(self.text, end)
        if end == len(self.text):  # the last line, not ended: the line above becomes it
            return self._spliced(_before_break(self.text, first), end, "")
        return self._spliced(first, _behind_break(self.text, end), "")

    def _emptied(self, path: Parts, node: Node) -> str:
        """The collection at a path without its only entry."""
        if not path:
            if isinstance(node, Mapping) and node.flow:
                return self._spliced(node.start, node.end, "{}")
            end = self._block_end(node)
            return self._spliced(line_start(self.text, node.start), _behind_break(self.text, end), "")
        parent = self.at(path[:-1])
        assert parent is not None
        return self._replaced(parent, path[-1], {} if isinstance(node, Mapping) else [])

    def _entry_start(self, node: Mapping | Sequence, span: tuple[int, int]) -> int:
        """Where an entry of a block collection begins: its key, or its dash."""
        if isinstance(node, Mapping):
            return span[0]
        start = span[0]
        while start and not (self.text[start] == "-" and start - line_start(self.text, start) == node.column):
            start -= 1
        return start

    def _spliced(self, start: int, end: int, replacement: str) -> str:
        return self.text[:start] + replacement + self.text[end:]


def _entries_changed(splicer: Splicer, path: Parts, old: Mapping, value: dict[Any, Any]) -> str:
    """A mapping changed entry by entry, so that what stays the same stays as it is written."""
    text = splicer.text
    before = plain(old)
    for key in (key_of(key) for key, _ in old.pairs):
        if key not in value:
            text = Splicer(text).remove((*path, key))
    for key, item in value.items():
        if key not in before or not same(before[key], item):
            text = Splicer(text).set((*path, key), item)
    return text


def _items_changed(splicer: Splicer, path: Parts, old: Sequence, value: list[Any]) -> str:
    """A list changed item by item, from its end, so that earlier indexes stay true."""
    text = splicer.text
    before = [repr(plain(item)) for item in old.items]
    changes = SequenceMatcher(None, before, [repr(item) for item in value], autojunk=False).get_opcodes()
    for kind, start, end, new_start, new_end in reversed(changes):
        if kind == "equal":
            continue
        paired = min(end - start, new_end - new_start)
        for item in reversed(value[new_start + paired : new_end]):
            text = Splicer(text).insert(path, start + paired, item)
        for index in reversed(range(start + paired, end)):
            text = Splicer(text).remove((*path, index))
        for offset in range(paired):
            text = Splicer(text).set((*path, start + offset), value[new_start + offset])
    return text


def child(node: Node, part: Part) -> Node | None:
    """The value under a key, or at an index; None when there is none.

    Raises:
        LookupError: the node has no entries, or shares them with others through an alias.
    """
    if isinstance(node, Mapping):
        found = [value for key, value in node.pairs if key_of(key) == part]
        return found[-1] if found else None
    if isinstance(node, Sequence) and isinstance(part, int):
        return node.items[part] if part < len(node.items) else None
    raise LookupError(part)


def _index(node: Node, part: Part) -> int:
    if isinstance(node, Mapping):
        return max(index for index, (key, _) in enumerate(node.pairs) if key_of(key) == part)
    assert isinstance(part, int)
    return part


def spans(node: Node) -> list[tuple[int, int]]:
    """(start, end) of each entry of a collection, dashes not included."""
    if isinstance(node, Mapping):
        return [(key.start, max(key.end, value.end)) for key, value in node.pairs]
    if isinstance(node, Sequence):
        return [(item.start, item.end) for item in node.items]
    return []


def _nested(path: Parts, value: Any) -> Any:
    for part in reversed(path):
        value = {part: value}
    return value


def _behind_break(text: str, end: int) -> int:
    return end + (2 if text.startswith("\r\n", end) else 1 if text[end : end + 1] else 0)


def _before_break(text: str, start: int) -> int:
    return start - (
        2 if text.endswith("\r\n", 0, start) else 1 if start and text[start - 1] in tree.BREAKS else 0
    )


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal, types included: True is not 1, and 1 is not 1.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    return bool(one == other) or (one != one and other != other)


def layout_of(text: str, root: Node | None) -> Layout:
    """How a file is laid out, from what is there."""
    breaks = Counter(re.findall(r"\r\n|\r|\n", text))
    newline = breaks.most_common(1)[0][0] if breaks else "\n"
    steps = list(_steps(root)) if root is not None else []
    nested = [step for is_list, step in steps if not is_list]
    lists = [step for is_list, step in steps if is_list]
    step = nested[0] if nested else 2
    return Layout(step, lists[0] if lists else step if nested else 2, newline)


def _steps(node: Node) -> Iterator[tuple[bool, int]]:
    """(whether it is a list, its indentation) of each block collection in a mapping."""
    if isinstance(node, Sequence):
        for item in node.items:
            yield from _steps(item)
    if isinstance(node, Mapping):
        for _, value in node.pairs:
            if isinstance(value, Mapping | Sequence) and not (node.flow or value.flow):
                yield isinstance(value, Sequence), value.column - node.column
            yield from _steps(value)

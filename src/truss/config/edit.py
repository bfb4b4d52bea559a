"""Change `config.yaml` as a person would: the line in question, and nothing else.

An edit works on the file's text. The parser only tells where things stand, so comments, quoting,
indentation, line ends and everything else outside the edited place survive byte for byte. The result
is checked before it is written, and written beside the file and then renamed: a bad value changes
nothing.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truss.config import document, render
from truss.config.read import CONFIG_FILE, parse_config, read_text

Key = str | Sequence[str]
"""`"resources.cpu"`, or the parts one by one where a part may itself hold dots: `("secrets", "a.b")`."""


def set_value(truss_dir: Path, key: Key, value: Any) -> None:
    """Set a key, adding it and the mappings above it where they are missing.

    Raises:
        NotATrussError, ConfigError: the config cannot be read, or would be wrong with this value.
    """
    _edit(truss_dir, lambda content: set_in(content, _parts(key), value))


def append_value(truss_dir: Path, key: Key, value: Any) -> None:
    """Add an item to the end of a list, adding the list where it is missing.

    Raises:
        NotATrussError, ConfigError: as `set_value`.
    """
    _edit(truss_dir, lambda content: append_in(content, _parts(key), value))


def remove_value(truss_dir: Path, key: Key) -> None:
    """Remove a key with all that is below it; nothing happens when it is not there.

    Raises:
        NotATrussError, ConfigError: as `set_value`.
    """
    _edit(truss_dir, lambda content: remove_in(content, _parts(key)))


def render_config(values: Mapping[str, Any]) -> str:
    """The text of a new config that holds these keys, in this order.

    Raises:
        ConfigError: a value is not right.
    """
    content = "\n".join(render.block(values)) + "\n" if values else ""
    parse_config(content)
    return content


def _parts(key: Key) -> tuple[str, ...]:
    return tuple(key.split(".")) if isinstance(key, str) else tuple(key)


def _edit(truss_dir: Path, change: Callable[[str], str]) -> None:
    path = Path(truss_dir) / CONFIG_FILE
    before = read_text(truss_dir)
    parse_config(before, str(path))
    after = change(before)
    parse_config(after, str(path))
    if after != before:
        _replace(path, after)


def _replace(path: Path, content: str) -> None:
    """Write beside the file and rename over it, keeping its mode and its byte order mark."""
    path = path.resolve()  # a link to a shared config stays a link
    mark = b"\xef\xbb\xbf" if path.read_bytes().startswith(b"\xef\xbb\xbf") else b""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(mark + content.encode())
        Path(beside).chmod(path.stat().st_mode & 0o7777)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise


# --- edits of text; pure ---


@dataclass(frozen=True)
class _Place:
    """Where a key was looked for: the innermost mapping on its way, and the pair in it when there is one."""

    mapping: Any
    pair: tuple[Any, Any] | None
    rest: tuple[str, ...]
    """The parts of the key below `pair`, or, without a pair, from the missing one on."""


def set_in(content: str, parts: tuple[str, ...], value: Any) -> str:
    """The content with a key set."""
    root = document.compose(content, CONFIG_FILE)
    if not document.is_mapping(root):
        return _append_lines(content, render.block(_nest(parts, value)))
    place = _find(root, parts)
    nested = _nest(place.rest, value)
    if place.pair is not None:
        return _replace_value(content, place.mapping, place.pair, nested)
    return _insert(content, place.mapping, nested)


def append_in(content: str, parts: tuple[str, ...], value: Any) -> str:
    """The content with an item added to a list."""
    root = document.compose(content, CONFIG_FILE)
    place = _find(root, parts) if document.is_mapping(root) else None
    if place is None or place.pair is None or place.rest or not document.is_sequence(place.pair[1]):
        return set_in(content, parts, [value])
    key, items = place.pair
    if _is_alias(key, items):
        return set_in(content, parts, [*document.plain(items), value])
    if items.flow_style:
        return _insert_in_flow(content, items, render.flow(value))
    if not items.value:
        return set_in(content, parts, [value])
    line_end = _line_end(content, _end(content, items))
    lines = render.list_item(value, items.start_mark.column)
    return _insert_lines(content, line_end, lines)


def remove_in(content: str, parts: tuple[str, ...]) -> str:
    """The content without a key."""
    root = document.compose(content, CONFIG_FILE)
    if not document.is_mapping(root):
        return content
    place = _find(root, parts)
    if place.pair is None or place.rest:
        return content
    key, value = place.pair
    start, end = key.start_mark.index, _pair_end(content, key, value)
    if place.mapping.flow_style:
        return _cut_from_flow(content, start, end)
    after = _line_end(content, end)
    start = content.rfind("\n", 0, start) + 1 if not content[:start].endswith("- ") else start
    rest = content[after:]
    return content[:start] + (rest[2:] if rest.startswith("\r\n") else rest[1:])


def _nest(parts: tuple[str, ...], value: Any) -> Any:
    for part in reversed(parts):
        value = {part: value}
    return value


def _find(mapping: Any, parts: tuple[str, ...]) -> _Place:
    own = [pair for pair in mapping.value if str(pair[0].value) == parts[0]]
    if not own:
        return _Place(mapping, None, parts)
    key, value = own[-1]
    if len(parts) > 1 and document.is_mapping(value) and not _is_alias(key, value) and value.value:
        return _find(value, parts[1:])
    return _Place(mapping, (key, value), parts[1:])


def _replace_value(content: str, mapping: Any, pair: tuple[Any, Any], value: Any) -> str:
    key, old = pair
    end = _pair_end(content, key, old)
    is_collection = isinstance(value, (Mapping, list, tuple)) and bool(value)
    if not is_collection and old.id == "scalar" and _has_text(key, old) and old.style not in ("|", ">"):
        # Only the scalar itself: an anchor or tag before it stays.
        return content[: old.start_mark.index] + render.flow(value) + content[end:]
    colon = _colon(content, key)
    if mapping.flow_style or not is_collection:
        return f"{content[: colon + 1]} {render.flow(value)}{content[end:]}"
    _, *lines = render.entry("key", value, key.start_mark.column)
    return (
        content[: colon + 1] + _comment_after(content, colon) + _joined(content, ["", *lines]) + content[end:]
    )


def _comment_after(content: str, colon: int) -> str:
    """The comment between a key's colon and the end of the line, with its space; it belongs to the key."""
    found = re.match(r"[ \t]+#[^\r\n]*", content[colon + 1 :])
    return found[0] if found else ""


def _insert(content: str, mapping: Any, nested: Mapping[str, Any]) -> str:
    if mapping.flow_style:
        return _insert_in_flow(content, mapping, render.flow(nested)[1:-1])
    key, value = mapping.value[-1]
    line_end = _line_end(content, _pair_end(content, key, value))
    lines = render.block(nested, mapping.value[0][0].start_mark.column)
    return _insert_lines(content, line_end, lines)


def _insert_in_flow(content: str, collection: Any, item: str) -> str:
    """Add text before the closing bracket of a collection in brackets."""
    close = collection.end_mark.index - 1
    if not collection.value:
        return content[:close] + item + content[close:]
    last = collection.value[-1]
    end = _pair_end(content, *last) if isinstance(last, tuple) else _item_end(content, last, close)
    comma = "" if content[end:close].lstrip().startswith(",") else ","
    if comma:
        return f"{content[:end]}, {item}{content[end:]}"
    after = content.index(",", end) + 1
    return f"{content[:after]} {item}{content[after:]}"


def _item_end(content: str, item: Any, close: int) -> int:
    # An alias's node stands elsewhere: what precedes the bracket is then the last item itself.
    before = content[:close].rstrip()
    return (
        item.end_mark.index
        if item.end_mark.index <= close
        and item.end_mark.index > 0
        and not before.endswith(f"*{item.anchor}" if item.anchor else "\0")
        else len(before)
    )


def _cut_from_flow(content: str, start: int, end: int) -> str:
    after = re.match(r"\s*,\s*", content[end:])
    if after:
        return content[:start] + content[end + after.end() :]
    before = re.search(r"\s*,\s*$", content[:start])
    return content[: before.start() if before else start] + content[end:]


def _is_alias(key: Any, value: Any) -> bool:
    """Whether a value was written `*name`: its node then stands where the anchor is, before the key."""
    return bool(value.start_mark.index < key.start_mark.index)


def _has_text(key: Any, value: Any) -> bool:
    """Whether a scalar takes up any characters; the null after a bare `key:` does not."""
    return not _is_alias(key, value) and value.end_mark.index > value.start_mark.index


def _colon(content: str, key: Any) -> int:
    return content.index(":", key.end_mark.index)


def _pair_end(content: str, key: Any, value: Any) -> int:
    """The index after the last character of a pair, trailing comment not included."""
    if _is_alias(key, value):
        found = re.match(r"\s*\*[^\s,\]}]+", content[_colon(content, key) + 1 :])
        return _colon(content, key) + 1 + (found.end() if found else 0)
    if value.id == "scalar" and not _has_text(key, value):
        colon = _colon(content, key)
        # An anchor or a tag may stand there alone.
        found = re.match(r"[ \t]*([&!][^\s,\]}]*[ \t]*)*(?<=[^ \t])", content[colon + 1 :])
        return colon + 1 + (found.end() if found else 0)
    return _end(content, value)


def _end(content: str, node: Any) -> int:
    """The index after a node's last character. The parser's own mark of a block is where the next begins."""
    if node.id == "scalar":
        if node.style in ("|", ">"):
            return (
                len(content[: node.end_mark.index].rstrip(" \r\n"))
                if node.value.strip()
                else node.end_mark.index
            )
        return int(node.end_mark.index)
    if node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    if isinstance(last, tuple):
        return _pair_end(content, *last)
    if last.start_mark.index < node.start_mark.index:  # an alias as the last item of a list
        return len(content[: node.end_mark.index].rstrip())
    if last.id == "scalar" and last.end_mark.index == last.start_mark.index:  # `- ` and nothing
        return int(last.end_mark.index)
    return _end(content, last)


def _line_end(content: str, index: int) -> int:
    """The index of the line break that ends the line an index is on, or of the end of the text."""
    end = content.find("\n", index)
    if end < 0:
        return len(content)
    return end - 1 if content[end - 1] == "\r" and end - 1 >= index else end


def _joined(content: str, lines: Sequence[str]) -> str:
    return ("\r\n" if "\r\n" in content else "\n").join(lines)


def _insert_lines(content: str, line_end: int, lines: Sequence[str]) -> str:
    return content[:line_end] + _joined(content, ["", *lines]) + content[line_end:]


def _append_lines(content: str, lines: Sequence[str]) -> str:
    """Add lines to a text that holds comments at most."""
    break_before = content and not content.endswith("\n")
    return content + _joined(content, [*([""] if break_before else []), *lines, ""])

"""A YAML document as a tree of nodes that know their lines: parsing, without judging.

Keys of a mapping are kept as they stand, duplicates included; anchors and merge keys (`<<`) work.
"""

from __future__ import annotations

from typing import Any

from truss.errors import ConfigError, ConfigProblem


def compose(text: str, file: str) -> Any:
    """The root node of a document, or None when it is empty.

    Raises:
        ConfigError: not YAML; says where.
    """
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return _first(YAML(typ="safe", pure=True).compose_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = " ".join(part for part in (error.problem, error.context) if part)
        problem = ConfigProblem(
            mark.line + 1 if mark else 0,
            "",
            f"this is not YAML: {reason}",
            expected="`key: value` lines, indented with spaces",
            hint="check the quotes, brackets and indentation on this line and the one above",
        )
        raise ConfigError(file, [problem]) from error
    except YAMLError as error:
        message = f"this is not YAML: {str(error).splitlines()[0]}"
        raise ConfigError(
            file, [ConfigProblem(0, "", message, hint="save the file as UTF-8 text")]
        ) from error


def _first(documents: Any) -> Any:
    return next(iter(documents), None)


def line_of(node: Any) -> int:
    """The 1-based line a node starts on."""
    return int(node.start_mark.line) + 1


def is_mapping(node: Any) -> bool:
    """Whether a node is a mapping."""
    return node is not None and node.id == "mapping"


def is_sequence(node: Any) -> bool:
    """Whether a node is a list."""
    return node is not None and node.id == "sequence"


def is_null(node: Any) -> bool:
    """Whether a node is null, or absent."""
    return node is None or node.tag == "tag:yaml.org,2002:null"


def pairs(node: Any) -> list[tuple[Any, Any]]:
    """The (key node, value node) pairs of a mapping; what `<<` brings comes first, so that it yields."""
    own: list[tuple[Any, Any]] = []
    merged: list[tuple[Any, Any]] = []
    for key, value in node.value:
        if key.tag == "tag:yaml.org,2002:merge" or key.value == "<<":
            for source in value.value if is_sequence(value) else [value]:
                merged = [*pairs(source), *merged] if is_mapping(source) else merged
        else:
            own.append((key, value))
    names = {key.value for key, _ in own}
    return [(key, value) for key, value in _last_wins(merged) if key.value not in names] + own


def _last_wins(merged: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    return list({key.value: (key, value) for key, value in merged}.values())


def plain(node: Any) -> Any:
    """A node as builtins: dict, list, str, int, float, bool, None (dates as ISO text)."""
    if is_null(node):
        return None
    if is_mapping(node):
        return {_key_text(key): plain(value) for key, value in pairs(node)}
    if is_sequence(node):
        return [plain(item) for item in node.value]
    return scalar(node)


def _key_text(node: Any) -> Any:
    return node.value if node.id == "scalar" else str(plain(node))


def scalar(node: Any) -> Any:
    """A scalar node as the builtin that YAML 1.2 makes of it."""
    tag = str(node.tag).rpartition(":")[2]
    text = node.value
    try:
        if tag == "int":
            return int(text.replace("_", ""), 0) if not text.lstrip("+-").isdigit() else int(text)
        if tag == "float":
            return float(text.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return text
    if tag == "bool":
        return text.lower() == "true"
    return text

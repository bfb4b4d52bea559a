"""Read config.yaml into typed, frozen values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from truss.config import tree
from truss.config.convert import convert, dotted, keys_of
from truss.config.plain import effective_pairs, key_of
from truss.config.schema import Section, TrussConfig
from truss.config.tree import Mapping, Node, Sequence, dereferenced
from truss.config.upgrade import OLD_NAMES
from truss.config.values import closest
from truss.errors import ConfigError, ConfigProblem, NotATrussError

CONFIG_FILE = "config.yaml"
BOM = "\ufeff"


def read_config(truss_dir: Path) -> TrussConfig:
    """The config of a Truss.

    Raises:
        NotATrussError: there is no such folder, or no config.yaml in it.
        ConfigError: the file is wrong; it carries every mistake in it, with lines.
    """
    return parse_config(read_text(truss_dir), str(Path(truss_dir) / CONFIG_FILE))


def read_text(truss_dir: Path) -> str:
    """The text of a Truss's config.yaml, its line ends and byte order mark as they are.

    Raises:
        NotATrussError: as `read_config`.
        ConfigError: the file is not UTF-8, or cannot be read.
    """
    path = Path(truss_dir) / CONFIG_FILE
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise _not_a_truss(Path(truss_dir)) from None
    except OSError as error:
        problem = ConfigProblem(0, "", f"cannot be read: {error.strerror}", "a file that may be read")
        raise ConfigError(str(path), [problem]) from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        problem = ConfigProblem(line, "", "is not UTF-8 text", "UTF-8", "save the file in UTF-8")
        raise ConfigError(str(path), [problem]) from error


def _not_a_truss(truss_dir: Path) -> NotATrussError:
    where = str(truss_dir)
    if not truss_dir.exists():
        return NotATrussError("there is no such folder", where=where, hint="check the path")
    if not truss_dir.is_dir():
        return NotATrussError("it is a file, not the folder of a Truss", where=where, hint="give its folder")
    if (truss_dir / "config.yml").is_file():
        return NotATrussError(
            "there is a config.yml, but a Truss has a config.yaml",
            where=where,
            hint="rename config.yml to config.yaml",
        )
    return NotATrussError(
        f"it is not a Truss: there is no {CONFIG_FILE} in it",
        where=where,
        hint="give the folder that has one, or make one with `truss init`",
    )


def parse_config(text: str, file: str = CONFIG_FILE) -> TrussConfig:
    """The config that a text says; an empty text says the defaults.

    Args:
        text: YAML.
        file: What errors call it.

    Raises:
        ConfigError: the text is wrong; it carries every mistake in it, with lines.
    """
    config, problems = convert(tree.parse(text, file))
    if problems:
        raise ConfigError(file, problems)
    return config


def config_to_dict(config: TrussConfig) -> dict[str, Any]:
    """Every key with its value, defaults included, and the unknown keys of the file, as builtins.

    This is what the model class gets as `config`. The caller owns it: nothing in it is shared.
    """
    return dict(_entries(config))


def _entries(section: Section) -> list[tuple[str, Any]]:
    known = [(name, _builtin(getattr(section, name))) for name in keys_of(type(section))]
    return [*known, *((name, _builtin(value)) for name, value in section.unknown.items())]


def _builtin(value: Any) -> Any:
    if isinstance(value, Section):
        return dict(_entries(value))
    if isinstance(value, list):
        return [_builtin(item) for item in value]
    if isinstance(value, dict):
        return {key: _builtin(item) for key, item in value.items()}
    return value


def unknown_keys(truss_dir: Path) -> list[ConfigProblem]:
    """The keys of a Truss's config that Truss does not know, and old names of keys, in file order.

    They are kept and do no harm; but one that is nearly a known key is likely a slip, and the hint says so.

    Raises:
        NotATrussError, ConfigError: as `read_config`.
    """
    file = str(Path(truss_dir) / CONFIG_FILE)
    text = read_text(truss_dir)
    parse_config(text, file)
    root = tree.parse(text, file)
    found = _unknown(root, TrussConfig, ()) if root is not None else []
    return sorted(found, key=lambda problem: problem.line)


def _unknown(node: Node, section: type[Section], path: tuple[str, ...]) -> list[ConfigProblem]:
    mapping = dereferenced(node)
    if not isinstance(mapping, Mapping):
        return []
    keys = keys_of(section)
    found: list[ConfigProblem] = []
    for key_node, value in effective_pairs(mapping):
        name = str(key_of(key_node))
        if name in keys:
            found += _unknown_below(value, keys[name].kind.type, (*path, name))
        else:
            found.append(ConfigProblem(key_node.line, dotted((*path, name)), *_about(name, path, list(keys))))
    return found


def _unknown_below(node: Node, kind: Any, path: tuple[str, ...]) -> list[ConfigProblem]:
    if isinstance(kind, type) and issubclass(kind, Section):
        return _unknown(node, kind, path)
    items = dereferenced(node)
    section = next((one for one in getattr(kind, "__args__", ()) if isinstance(one, type)), None)
    if isinstance(items, Sequence) and section is not None and issubclass(section, Section):
        return [
            problem
            for index, item in enumerate(items.items)
            for problem in _unknown(item, section, (*path, str(index)))
        ]
    return []


def _about(name: str, path: tuple[str, ...], known: list[str]) -> tuple[str, str, str]:
    today = OLD_NAMES.get((*path, name))
    if today is not None:
        return f"is the old name of `{today}`", "", f"write `{today}`"
    near = closest(name, known)
    message = "Truss does not know this key; it is kept, and handed to the model class"
    return message, "", f"did you mean `{near}`?" if near else ""

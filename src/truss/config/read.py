"""Read `config.yaml` into typed, frozen values."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import msgspec

from truss.config import document
from truss.config.check import check, field_types
from truss.config.schema import Section, TrussConfig
from truss.config.upgrade import renamed
from truss.errors import ConfigError, ConfigProblem, NotATrussError

CONFIG_FILE = "config.yaml"


def read_config(truss_dir: Path) -> TrussConfig:
    """The config of a Truss.

    Raises:
        NotATrussError: there is no such folder, or no `config.yaml` in it.
        ConfigError: the file is wrong; `problems` has every mistake in it.
    """
    return parse_config(read_text(truss_dir), str(Path(truss_dir) / CONFIG_FILE))


def read_text(truss_dir: Path) -> str:
    """The text of a Truss's config, line ends as they are in the file.

    Raises:
        NotATrussError, ConfigError: as `read_config`.
    """
    path = Path(truss_dir) / CONFIG_FILE
    try:
        return path.read_bytes().decode("utf-8-sig")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise _not_a_truss(Path(truss_dir)) from error
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        problem = ConfigProblem(line, "", "this is not UTF-8 text", hint="save the file as UTF-8")
        raise ConfigError(str(path), [problem]) from error
    except OSError as error:
        raise NotATrussError(
            f"cannot be read: {error.strerror}", where=str(path), hint="check its rights"
        ) from error


def _not_a_truss(folder: Path) -> NotATrussError:
    if not folder.exists():
        return NotATrussError("there is no such folder", where=str(folder), hint="check the path")
    if folder.is_file():
        return NotATrussError(
            "is a file, not a Truss's folder", where=str(folder), hint="give the folder it is in"
        )
    if (folder / "config.yml").is_file():
        return NotATrussError(
            "there is a config.yml, but a Truss has a config.yaml",
            where=str(folder),
            hint=f"rename it: mv {folder / 'config.yml'} {folder / CONFIG_FILE}",
        )
    return NotATrussError(
        f"there is no {CONFIG_FILE}, so this is not a Truss",
        where=str(folder),
        hint="give the folder that holds it, or make a Truss with truss.create(...) or `truss init`",
    )


def parse_config(text: str, file: str = CONFIG_FILE) -> TrussConfig:
    """The config in a text.

    Args:
        text: YAML; empty text is a valid config.
        file: What to call it in errors.

    Raises:
        ConfigError: the text is wrong; `problems` has every mistake in it.
    """
    root = document.compose(text, file)
    if document.is_mapping(root):
        root.value = renamed(root.value)
    config, problems = check(root)
    if problems:
        raise ConfigError(file, problems)
    return config


def config_to_dict(config: TrussConfig) -> dict[str, Any]:
    """All keys with their values, defaults included, and the unknown keys: what a model gets as `config`."""
    return {key: _plain(value) for key, value in _items(config)}


def _items(section: Section) -> list[tuple[str, Any]]:
    known = [(name, getattr(section, name)) for name in section.__struct_fields__ if name != "unknown"]
    return [*known, *section.unknown.items()]


def _plain(value: Any) -> Any:
    if isinstance(value, Section):
        return {key: _plain(item) for key, item in _items(value)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return msgspec.to_builtins(value)


def unknown_keys(config: TrussConfig) -> list[tuple[str, str]]:
    """Keys that nobody reads, dotted, each with the known key that it resembles ('' for none)."""
    return _unknown_below(config, ())


def _unknown_below(section: Section, path: tuple[str, ...]) -> list[tuple[str, str]]:
    names = list(field_types(type(section)))
    found = [
        (".".join((*path, key)), next(iter(difflib.get_close_matches(key, names, 1)), ""))
        for key in section.unknown
    ]
    for name in names:
        value = getattr(section, name)
        for entry in value if isinstance(value, list) else [value]:
            if isinstance(entry, Section):
                found += _unknown_below(entry, (*path, name))
    return found

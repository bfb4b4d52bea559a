"""Edits of a config.yaml that change the edited lines and nothing else."""

from __future__ import annotations

import contextlib
import copy
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from truss.config import tree, write
from truss.config.convert import dotted, keys_of
from truss.config.plain import plain
from truss.config.read import CONFIG_FILE, parse_config, read_text
from truss.config.schema import TrussConfig
from truss.config.splice import Splicer, same
from truss.errors import ConfigError, ConfigProblem

Key = str | tuple[str, ...]
"""`resources.cpu`, or `("environment_variables", "with.dots")`."""


def set_value(truss_dir: Path, key: Key, value: Any) -> None:
    """Set a key of a Truss's config; sections on the way to it are made if they are missing.

    Comments, order, quoting and indentation of everything else stay as they are, and so does the order of
    what stays in a list or mapping that is set anew. The file is replaced in one step, or not at all.

    Args:
        truss_dir: The Truss.
        key: Dotted, or the parts if one of them has a dot.
        value: Builtins; tuples and paths are taken too.

    Raises:
        NotATrussError: as `read_config`.
        ConfigError: the config is wrong, or would be; or the key's place in the file is not one that can be
        edited.
    """
    _edit(truss_dir, key, lambda _: _plain_value(truss_dir, key, value))


def append_value(truss_dir: Path, key: Key, value: Any) -> None:
    """Append to a list in a Truss's config; a list that is missing is made.

    Raises:
        NotATrussError, ConfigError: as `set_value`; ConfigError also if the key holds something else than a
        list.
    """

    def appended(old: Any) -> list[Any]:
        if not isinstance(old, list | None):
            raise _refused(truss_dir, key, "is not a list, so nothing can be appended to it", "a list")
        return [*(old or []), _plain_value(truss_dir, key, value)]

    _edit(truss_dir, key, appended)


def remove_value(truss_dir: Path, key: Key) -> None:
    """Remove a key from a Truss's config; nothing happens if it is not there.

    Raises:
        NotATrussError, ConfigError: as `set_value`.
    """
    path = _parts(key)
    text = read_text(truss_dir)
    values = _values(text, truss_dir)
    expected = copy.deepcopy(values)
    section = expected
    for part in path[:-1]:
        section = section.get(part) if isinstance(section, dict) else None
    if not isinstance(section, dict) or path[-1] not in section:
        return
    del section[path[-1]]
    _commit(truss_dir, key, text, lambda splicer: splicer.remove(path), expected)


def render_config(values: Mapping[str, Any]) -> str:
    """The text of a new config.yaml that holds just these keys, in the order of the schema.

    Raises:
        ConfigError: the values are not a valid config.
    """
    order = {name: index for index, name in enumerate(keys_of(TrussConfig))}
    names = sorted(values, key=lambda name: order.get(name, len(order)))
    try:
        text = write.document({name: write.builtin(values[name]) for name in names})
    except TypeError as error:
        raise ConfigError(CONFIG_FILE, [ConfigProblem(0, "", str(error), "plain values")]) from error
    parse_config(text)
    return text


def _edit(truss_dir: Path, key: Key, new: Callable[[Any], Any]) -> None:
    path = _parts(key)
    text = read_text(truss_dir)
    expected = _values(text, truss_dir)
    section = expected
    for part in path[:-1]:
        if section.get(part) is None:
            section[part] = {}
        section = section[part]
        if not isinstance(section, dict):
            raise _refused(truss_dir, key, f"`{part}` is not a mapping, so it holds no keys", "a mapping")
    value = new(section.get(path[-1]))
    if path[-1] in section and same(section[path[-1]], value):
        return
    section[path[-1]] = value
    _commit(truss_dir, key, text, lambda splicer: splicer.set(path, value), expected)


def _values(text: str, truss_dir: Path) -> Any:
    """What a text says, in objects of its own: no two places share one."""
    root = tree.parse(text, _file(truss_dir))
    values = _unshared(plain(root)) if root is not None else {}
    if not isinstance(values, dict):
        parse_config(text, _file(truss_dir))
    return values


def _unshared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    return [_unshared(item) for item in value] if isinstance(value, list) else value


def _commit(truss_dir: Path, key: Key, text: str, change: Callable[[Splicer], str], expected: Any) -> None:
    """Write the changed text, if it is a valid config that says just what was expected of it."""
    file = _file(truss_dir)
    parse_config(text, file)
    try:
        changed = change(Splicer(text, file))
        root = tree.parse(changed, file)
    except (LookupError, ConfigError):
        raise _uneditable(truss_dir, key) from None
    if not same(plain(root) if root is not None else {}, expected):
        raise _uneditable(truss_dir, key)
    parse_config(changed, file)
    _replace(Path(truss_dir) / CONFIG_FILE, changed.encode("utf-8"))


def _replace(path: Path, content: bytes) -> None:
    """Replace a file in one step, keeping its mode; a link stays a link."""
    path = path.resolve()
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        shutil.copymode(path, beside)
        beside.replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        raise


def _parts(key: Key) -> tuple[str, ...]:
    parts = tuple(key.split(".")) if isinstance(key, str) else tuple(key)
    if not parts or not all(parts):
        problem = ConfigProblem(
            0, str(key), "is not the name of a key", "`name`, `section.name` or a tuple of parts"
        )
        raise ConfigError(CONFIG_FILE, [problem])
    return parts


def _plain_value(truss_dir: Path, key: Key, value: Any) -> Any:
    try:
        return write.builtin(value)
    except TypeError as error:
        raise _refused(
            truss_dir, key, str(error), "text, numbers, truth values, lists and mappings"
        ) from error


def _file(truss_dir: Path) -> str:
    return str(Path(truss_dir) / CONFIG_FILE)


def _refused(truss_dir: Path, key: Key, message: str, expected: str = "", hint: str = "") -> ConfigError:
    return ConfigError(_file(truss_dir), [ConfigProblem(0, dotted(_parts(key)), message, expected, hint)])


def _uneditable(truss_dir: Path, key: Key) -> ConfigError:
    return _refused(
        truss_dir,
        key,
        "cannot be changed where it stands without changing something else (an anchor, or unusual layout)",
        hint="edit the file by hand",
    )

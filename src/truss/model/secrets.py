"""Secrets as the model sees them: declared in the config by name, resolved when they are looked up.

The order, first hit wins:

1. a file named after the secret in the secrets folder (`/secrets`, or what `TRUSS_SECRETS_DIR` names);
2. the environment variable `TRUSS_SECRET_<name>`, or the same with `_` for what variables cannot have in
   their names on some platforms (`TRUSS_SECRET_api_key` for `api-key`);
3. `secrets:` in the user's own `~/.truss/config.yaml` (folder: `TRUSS_HOME`);
4. the default in the Truss's `config.yaml`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from truss.config.values import SECRET_VARIABLE_PREFIX, secret_variable
from truss.errors import TrussError


class Secrets(Mapping[str, str | None]):
    """The declared secrets of a Truss. Values are looked up at each access, and never shown by repr.

    Args:
        defaults: Name -> default, from the config. Only these names exist.
        folder: The secrets folder; default `$TRUSS_SECRETS_DIR`, else `/secrets`.
        home: The folder of the user's local config; default `$TRUSS_HOME`, else `~/.truss`.
    """

    def __init__(
        self, defaults: Mapping[str, str | None], *, folder: Path | None = None, home: Path | None = None
    ) -> None:
        self._defaults = dict(defaults)
        self._folder = folder or Path(os.environ.get("TRUSS_SECRETS_DIR", "/secrets"))
        self._home = home
        self._local: Mapping[str, str] | None = None

    def __getitem__(self, name: str) -> str | None:
        if name not in self._defaults:
            raise KeyError(f"secret {name!r} is not declared: add it under `secrets:` in config.yaml")
        variables = (os.environ.get(one) for one in (SECRET_VARIABLE_PREFIX + name, secret_variable(name)))
        for found in (self._from_file(name), *variables):
            if found is not None:
                return found
        return self._local_values().get(name, self._defaults[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._defaults)

    def __len__(self) -> int:
        return len(self._defaults)

    def __repr__(self) -> str:
        return f"Secrets({', '.join(self._defaults)})"

    def _from_file(self, name: str) -> str | None:
        try:
            # Mounted secret files commonly end in a newline that is not part of the secret.
            return (self._folder / name).read_text(encoding="utf-8").rstrip("\r\n")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise TrussError(
                f"secret '{name}' cannot be read: {error}",
                where=str(self._folder / name),
                hint="make the file readable by the user that runs the model, as UTF-8 text",
            ) from error

    def _local_values(self) -> Mapping[str, str]:
        if self._local is None:
            self._local = _read_local(self._home or local_home())
        return self._local


def local_home() -> Path:
    """The folder of the user's own settings: `$TRUSS_HOME`, else `~/.truss`."""
    override = os.environ.get("TRUSS_HOME")
    # A container may run as a user without a home: then there are no local settings.
    return Path(override) if override else Path(os.path.expanduser("~")) / ".truss"  # noqa: PTH111  # Path.home() raises there


def _read_local(home: Path) -> Mapping[str, str]:
    file = home / "config.yaml"
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return {}
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        content = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise TrussError(
            f"cannot be read as YAML: {error}", where=str(file), hint="correct the file"
        ) from error
    values = content.get("secrets") if isinstance(content, dict) else None
    return {str(name): str(value) for name, value in values.items()} if isinstance(values, dict) else {}

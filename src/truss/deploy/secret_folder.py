"""Secrets of a deployment on this machine: files that only this user can get to, for containers to read."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class SecretFolder:
    """The folder of one deployment's secrets, below the user's own settings.

    Attributes:
        target: The target's name.
        deployment: The deployment's.
    """

    target: str
    deployment: str

    @property
    def path(self) -> Path:
        """Where it is: `$TRUSS_HOME`, else `~/.truss`, and below that by target and deployment."""
        home = Path(os.environ.get("TRUSS_HOME") or Path.home() / ".truss")
        return home / "deployments" / self.target / self.deployment / "secrets"

    @property
    def _beside(self) -> Path:
        """Where values are written before they take the place of others."""
        return self.path.with_name("secrets.new")

    def file(self, name: str) -> Path:
        """The file of one secret."""
        return self.path / name

    def read(self) -> dict[str, str] | None:
        """The values by name; none where writing them broke off; None when there is no such folder."""
        if not self.path.is_dir():
            return {} if self._beside.is_dir() else None
        return {file.name: file.read_text(encoding="utf-8") for file in sorted(self.path.iterdir())}

    def write(self, values: Mapping[str, str]) -> None:
        """Hold these values, and no others.

        The files can be read by any user, since a container may run as any; the folder above them cannot.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        beside = self._beside
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(mode=0o755)
        for name, value in values.items():
            file = beside / name
            file.write_text(value, encoding="utf-8")
            file.chmod(0o444)
        shutil.rmtree(self.path, ignore_errors=True)
        beside.replace(self.path)

    def remove(self) -> None:
        """Remove them; nothing happens when they are gone."""
        shutil.rmtree(self.path.parent, ignore_errors=True)

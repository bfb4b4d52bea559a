"""What the environment of a Truss has to hold, as plain values: everything that decides its contents."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType

from truss.config import TrussConfig
from truss.environments.accelerated import for_cpus, for_gpus
from truss.environments.own import source_of
from truss.errors import EnvironmentBuildError
from truss.weights import libraries_of

# uv reads variables of its own only. Where pip's say from where packages come, they are meant for every
# installer, so they are handed on as options; uv's own variables go before them.
_PLACES = MappingProxyType(
    {
        "PIP_INDEX_URL": ("--index-url", ("UV_DEFAULT_INDEX", "UV_INDEX_URL")),
        "PIP_EXTRA_INDEX_URL": ("--extra-index-url", ("UV_INDEX", "UV_EXTRA_INDEX_URL")),
        "PIP_FIND_LINKS": ("--find-links", ("UV_FIND_LINKS",)),
    }
)
_DECIDING = frozenset(chain.from_iterable(variables for _, variables in _PLACES.values())) | {
    "UV_TORCH_BACKEND",
    "UV_NO_INDEX",
}

_CPU_BUILDS = ("--torch-backend", "cpu")
_DECLARATIONS = ("pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True)
class Wanted:
    """What an environment has to hold.

    Attributes:
        folder: The Truss; relative paths of its requirements are below it.
        python: The Python version, `3.11`.
        lines: Requirement lines, as pip takes them, with the builds for what the Truss runs on.
        file: A requirements.txt, pyproject.toml or uv.lock to take as well.
        own: The requirement line of Truss itself; None for an environment without.
        places: uv's options that say where packages come from.
        cpu_builds: Whether PyTorch and what belongs to it come as builds for CPUs.
        settings: The variables of uv's own that decide what is installed.
    """

    folder: Path
    python: str
    lines: tuple[str, ...] = ()
    file: Path | None = None
    own: str | None = None
    places: tuple[str, ...] = ()
    cpu_builds: bool = False
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def digest(self) -> str:
        """The name of the answer to this: the same for the same requirements in the same surroundings."""
        facts = {
            "platform": sysconfig.get_platform(),
            "python": self.python,
            "lines": self.lines,
            "folder": str(self.folder) if self._names_paths() else "",
            "file": None if self.file is None else self.file.read_text("utf-8"),
            "own": self.own,
            "declared": self._own_declarations(),
            "places": self.places,
            "cpu_builds": self.cpu_builds,
            "settings": self.settings,
        }
        return digest_of(json.dumps(facts, sort_keys=True))

    def options(self) -> list[str]:
        """Uv's options that say where packages come from, and which builds of them."""
        return [*self.places, *(_CPU_BUILDS if self.cpu_builds else ())]

    def _names_paths(self) -> bool:
        """Whether requirements may name files of the Truss itself, which another Truss has not."""
        return self.file is not None or any(line.startswith((".", "-", "/")) for line in self.lines)

    def _own_declarations(self) -> list[str]:
        """What a source tree of Truss declares: its code is read in place, its dependencies are not."""
        source = None if self.own is None else source_of(self.own)
        paths = [source / name for name in _DECLARATIONS] if source is not None else []
        return [path.read_text("utf-8") for path in paths if path.is_file()]


def wanted_by(
    truss_dir: Path, config: TrussConfig, own: str | None, variables: Mapping[str, str] = os.environ
) -> Wanted:
    """What the environment of a Truss has to hold.

    Args:
        truss_dir: The Truss.
        config: Its config.
        own: The requirement line of Truss itself; None for an environment without.
        variables: Environment variables: where pip and uv look for packages.

    Raises:
        EnvironmentBuildError: its requirements file does not exist.
    """
    places = tuple(_places(variables))
    return Wanted(
        folder=truss_dir.absolute(),
        python=_version(config.python_version),
        lines=_lines(config),
        file=_file(truss_dir, config),
        own=own,
        places=places,
        cpu_builds=not config.resources.use_gpu
        and "UV_TORCH_BACKEND" not in variables
        and not _holds_torch(places, variables),
        settings=tuple(sorted((name, value) for name, value in variables.items() if name in _DECIDING)),
    )


def _lines(config: TrussConfig) -> tuple[str, ...]:
    """The config's requirements, and what its server fetches weights with."""
    lines = (*config.requirements, *libraries_of(config))
    return for_gpus(lines) if config.resources.use_gpu else for_cpus(lines)


def digest_of(text: str) -> str:
    """A short digest, long enough to name a folder that no other text gets."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _version(python_version: str | None) -> str:
    if python_version is None:
        return f"{sys.version_info.major}.{sys.version_info.minor}"
    digits = python_version.removeprefix("py")
    return digits if "." in digits else f"{digits[0]}.{digits[1:]}"


def _file(truss_dir: Path, config: TrussConfig) -> Path | None:
    if not config.requirements_file:
        return None
    path = (truss_dir / config.requirements_file).absolute()
    if not path.is_file():
        raise EnvironmentBuildError(
            "the requirements file does not exist",
            where=str(path),
            hint="create it, or correct `requirements_file` in config.yaml",
        )
    return path


def _places(variables: Mapping[str, str]) -> list[str]:
    options = []
    for variable, (option, own) in _PLACES.items():
        if not any(variables.get(name) for name in own):
            options += [text for place in variables.get(variable, "").split() for text in (option, place)]
    return options


def _holds_torch(places: tuple[str, ...], variables: Mapping[str, str]) -> bool:
    """Whether a folder of wheels holds PyTorch: whoever put it there has chosen the build."""
    given = [*places, *variables.get("UV_FIND_LINKS", "").replace(",", " ").split()]
    return any(any(Path(place).glob("torch-*.whl")) for place in given if not place.startswith("--"))

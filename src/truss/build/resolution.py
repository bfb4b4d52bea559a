"""Which wheels an image gets: exact versions, with hashes, for a platform that need not be ours.

uv resolves (https://docs.astral.sh/uv/pip/compile/) from wherever the user's own settings say packages come
from. The result names no address, so that it can lie in a Truss: see `truss.build.lock`.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import requires
from pathlib import Path

from truss.build.pylock import requirement_lines
from truss.build.sources import allowed, check_pure, from_source, missing_wheels
from truss.environments import Wanted
from truss.environments.uv import run_uv
from truss.errors import EnvironmentBuildError, ImageError
from truss.oci import Platform

_UV_PLATFORMS = {"amd64": "x86_64-manylinux_2_28", "arm64": "aarch64-manylinux_2_28"}
"""Wheels for glibc 2.28 and later: every supported Debian, Ubuntu and Red Hat."""

_RUNTIME_NEEDS = ("httptools", "msgspec", "ruamel.yaml", "uvicorn", "uvloop", "xxhash")
"""What the server imports; the rest of what Truss depends on is for people at a terminal."""


@dataclass(frozen=True)
class Target:
    """What wheels have to run on.

    Attributes:
        platform: The operating system and processor.
        python: The version of Python, `3.11`.
    """

    platform: Platform
    python: str

    @property
    def uv_platform(self) -> str:
        """The platform as uv calls it.

        Raises:
            ImageError: Truss makes no images for it.
        """
        found = _UV_PLATFORMS.get(self.platform.architecture) if self.platform.os == "linux" else None
        if found is None:
            raise ImageError(
                f"images cannot be made for {self.platform}",
                hint="use " + " or ".join(f"linux/{name}" for name in _UV_PLATFORMS),
            )
        return found

    def options(self) -> list[str]:
        """Uv's options that choose wheels for it, and nothing that has to be compiled."""
        return [
            *("--python-version", self.python, "--python-platform", self.uv_platform),
            *("--only-binary", ":all:"),
        ]


def runtime_lines() -> list[str]:
    """The requirements of the server, as this installation of Truss states them."""
    stated = [line.partition(";")[0].strip() for line in requires("truss") or ()]
    found = {_name(line): line for line in stated}
    return [found.get(name, name) for name in _RUNTIME_NEEDS]


def wishes_of(wanted: Wanted, *, gpu: bool) -> str:
    """A digest of what the Truss and the server want, whoever finds it and for whatever platform."""
    file = "" if wanted.file is None else wanted.file.read_text("utf-8")
    text = json.dumps([wanted.lines, file, runtime_lines(), gpu])
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def resolve(wanted: Wanted, target: Target, say: Callable[[str], None] = lambda _: None) -> str:
    """The exact versions of everything that is wanted, a line each, with the digest of its file.

    A package that is published as source only is made into a wheel, which runs its build; what would have to
    be compiled for the target is refused here.

    Args:
        wanted: The Truss's requirements and where packages come from; its `own` line is not looked at.
        target: What they have to run on.
        say: Told which packages are made from their sources.

    Raises:
        EnvironmentBuildError: a requirement cannot be met, or has no wheel for the target.
        MissingExtraError: uv is not installed.
    """
    sources: list[str] = []
    while True:
        try:
            lock = _resolved(wanted, target, sources)
            break
        except EnvironmentBuildError as error:
            more = [name for name in missing_wheels(error) if name not in sources]
            if not more:
                raise
            sources += more
    if found := from_source(lock):
        say(f"Making {', '.join(found)} from source: there is no wheel")
        chosen = "".join(f"{line}\n" for line in lock.splitlines() if from_source(line))
        with tempfile.TemporaryDirectory() as place:
            lay = functools.partial(unpack, chosen, wanted, target)
            check_pure(found, lay, Path(place), f"{target.platform}, Python {target.python}")
    return lock


def _resolved(wanted: Wanted, target: Target, sources: list[str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        lines = Path(folder, "requirements.in")
        lines.write_text("\n".join([*wanted.lines, *runtime_lines(), ""]), encoding="utf-8")
        words: list[str | Path] = ["pip", "compile", lines, *_files(wanted), "--generate-hashes"]
        words += ["--format", "pylock.toml", *target.options(), *allowed(sources), *wanted.options()]
        return requirement_lines(run_uv(words, wanted.folder, "the requirements cannot be met"))


def unpack(lock: str, wanted: Wanted, target: Target, folder: Path) -> None:
    """Lay the files of resolved wheels into a folder, as an installation has them.

    Nothing is run but the build of packages that are published as source only.

    Raises:
        EnvironmentBuildError: a wheel cannot be had, or is not the one that was resolved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        lines = Path(place, "requirements.txt")
        lines.write_text(lock, encoding="utf-8")
        words: list[str | Path] = ["pip", "install", "--target", folder, "--no-deps", "--require-hashes"]
        words += ["-r", lines, *target.options(), *allowed(from_source(lock)), *wanted.options()]
        run_uv(words, wanted.folder, "the wheels cannot be had")


def _files(wanted: Wanted) -> Iterable[Path]:
    return [] if wanted.file is None else [wanted.file]


def _name(line: str) -> str:
    end = next((place for place, sign in enumerate(line) if sign in " <>=!~[("), len(line))
    return line[:end].lower()

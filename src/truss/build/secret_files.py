"""The values of secrets as files for containers, which are there as long as a container reads them.

    <home>/containers/<engine>/<number>/secrets/<name>

Each container has a folder of its own, below one that only the user can get to. What a container left behind
that somebody removed by other means is cleared away when the next one starts, and when containers are stopped
or images listed. What early versions wrote below <home>/containers/<number>, for any engine, goes as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import secrets as randomness
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from truss.build.engine import PROGRAMS, Container, Engine
from truss.errors import EngineError

PLACE = "/secrets"
"""Where a container finds them."""


@dataclass(frozen=True)
class SecretFiles:
    """The secrets of an engine's containers.

    Attributes:
        home: The folder of the user's own settings.
        engine: The engine.
    """

    home: Path
    engine: Engine

    @contextlib.contextmanager
    def for_a_start(self, values: Mapping[str, str | None]) -> Iterator[dict[str, Path]]:
        """What a container that is started in the block has to mount: nothing where no secret is declared.

        If it cannot be started, the values are gone again.

        Raises:
            EngineError: the engine cannot be asked which containers there are.
        """
        if not values and not self._top.is_dir():
            yield {}
            return
        self._top.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Between the folder and the container that has it, nobody else may take it for a forgotten one.
        with self._alone():
            self._clear()
            if not values:
                yield {}
                return
            folder = _written(self._ours / randomness.token_hex(8), values)
            try:
                yield {PLACE: folder}
            except BaseException:
                shutil.rmtree(folder.parent, ignore_errors=True)
                raise

    def remove(self, container: Container) -> None:
        """Remove what a container has read, after it has ended."""
        folder = container.mounts.get(PLACE)
        if folder is not None and folder.resolve().is_relative_to(self._top.resolve()):
            shutil.rmtree(folder.parent, ignore_errors=True)

    def clear(self) -> None:
        """Remove what containers have left that are not there any more.

        Raises:
            EngineError: the engine cannot be asked which containers there are.
        """
        if self._top.is_dir():
            with self._alone():
                self._clear()

    @property
    def _top(self) -> Path:
        return self.home.absolute() / "containers"

    @functools.cached_property
    def _ours(self) -> Path:
        return self._top / hashlib.sha256(self.engine.identity().encode()).hexdigest()[:16]

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._top / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _clear(self) -> None:
        """Remove what no container has any more."""
        left = list(self._ours.iterdir()) if self._ours.is_dir() else []
        old = [one for one in self._top.iterdir() if (one / "secrets").is_dir()]
        if not left and not old:
            return
        try:
            used = _used(self.engine)
        except EngineError:
            return  # one of them was removed while it was asked about: the next start clears
        if old:
            used |= _used_elsewhere()
        for one in (*left, *old):
            if one.resolve() not in used:
                shutil.rmtree(one, ignore_errors=True)


def _used(engine: Engine) -> set[Path]:
    """The folders that an engine's containers have."""
    return {one.mounts[PLACE].resolve().parent for one in engine.containers() if PLACE in one.mounts}


def _used_elsewhere() -> set[Path]:
    """The folders that containers of any engine have; one that does not answer runs none of ours."""
    found = set()
    for program in filter(shutil.which, PROGRAMS):
        with contextlib.suppress(EngineError):
            found |= _used(Engine(program))
    return found


def _written(private: Path, values: Mapping[str, str | None]) -> Path:
    private.mkdir(parents=True, mode=0o700)
    folder = private / "secrets"
    folder.mkdir(mode=0o755)
    for name in values:
        value = values[name]
        if value is not None:
            (folder / name).write_text(value, encoding="utf-8")
            (folder / name).chmod(0o444)
    return folder

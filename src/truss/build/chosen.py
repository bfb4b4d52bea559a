"""Exactly which base and wheels an image gets: those of the lock, else those found now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from truss.build.base import base_reference
from truss.build.cache import LayerCache, key_of
from truss.build.lock import Lock, found_lock, read_lock
from truss.build.resolution import Target, resolve, wishes_of
from truss.config import TrussConfig
from truss.environments import Wanted, wanted_by
from truss.environments.builds import with_cpu_builds
from truss.errors import ImageError
from truss.oci import Platform, Reference
from truss.oci.pull import Pulled
from truss.version import __version__

_FORMAT = "2"
"""Part of every key: raised when the same wishes come to be resolved in another way."""

Say = Callable[[str], None]
"""Told what goes on, a few words at a time."""


def check_lock(lock: Lock, wanted: Wanted, config: TrussConfig, given: str | None = None) -> None:
    """See that a lock was made for what is wanted now.

    Args:
        lock: The lock.
        wanted: The Truss's requirements.
        config: Its config.
        given: A base that goes before the config's.

    Raises:
        ImageError: it was not.
    """
    # Which mirror it was taken from is no part of what is asked for: the digest says what it is.
    base = base_reference(config, wanted.python, given, {})
    lock.check(wanted.python, wishes_of(wanted, gpu=config.resources.use_gpu), base)


def chosen_lock(
    truss_dir: Path,
    config: TrussConfig,
    platforms: Iterable[Platform],
    say: Say = lambda _: None,
    given: str | None = None,
    *,
    locked: bool = False,
) -> Lock | None:
    """The lock that an image is made of: the Truss's, where it fits; None where there is none.

    Args:
        truss_dir: The Truss.
        config: Its config.
        platforms: For what the image is made.
        say: Told why a lock is not used.
        given: A base that goes before the config's.
        locked: Whether there has to be one that fits.

    Raises:
        ImageError: there has to be one, and there is none, or it was made for something else.
    """
    lock = read_lock(truss_dir) if locked else found_lock(truss_dir)
    if lock is None:
        return None
    try:
        check_lock(lock, wanted_by(truss_dir.resolve(), config, own=None), config, given)
        for platform in platforms:
            lock.wheels_for(platform)
    except ImageError as error:
        if locked:
            raise
        say(f"The lock is not used: {error.message}")
        return None
    return lock


def chosen_base(config: TrussConfig, python: str, given: str | None, lock: Lock | None) -> Reference:
    """The base of an image: exactly the lock's, else what the caller or the config says."""
    return base_reference(config, python, given) if lock is None else lock.reference


def chosen_wheels(wanted: Wanted, target: Target, lock: Lock | None, cache: LayerCache, say: Say) -> str:
    """Which wheels: those of the lock, else those found before for the same wishes, else those found now.

    Raises:
        EnvironmentBuildError: a requirement cannot be met, or has no wheel for the target.
        ImageError: the lock holds none for the target.
        MissingExtraError: uv is not installed.
    """
    if lock is not None:
        return lock.wheels_for(target.platform)

    def find() -> str:
        say(f"Resolving requirements for {target.platform}")
        return with_cpu_builds(lambda wishes: resolve(wishes, target, say), wanted)

    return cache.text(key_of("resolution", _FORMAT, __version__, wanted.digest, str(target.platform)), find)


def lock_of(
    wanted: Wanted, config: TrussConfig, bases: Mapping[Platform, Pulled], wheels: Mapping[Platform, str]
) -> Lock:
    """The lock that has the same made again.

    Args:
        wanted: The Truss's requirements.
        config: Its config.
        bases: For each platform, its base.
        wheels: For each platform, its wheels.
    """
    return Lock(
        python=wanted.python,
        base=str(next(iter(bases.values())).reference),
        wishes=wishes_of(wanted, gpu=config.resources.use_gpu),
        bases={str(platform): str(base.image.digest) for platform, base in bases.items()},
        wheels={str(platform): text for platform, text in wheels.items()},
    )

"""A build context: a folder with a Dockerfile and all that it copies, for any builder of images."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from truss.build import contents, wheels
from truss.build.baked import baked_entries, baked_layers
from truss.build.base import check_python
from truss.build.cache import LayerCache, key_of
from truss.build.chosen import Say, check_lock, chosen_base, chosen_wheels, lock_of
from truss.build.dockerfile import BAKED, DATA, MODEL, SERVER, WHEELS, Part, read_fragment, render
from truss.build.lock import Lock
from truss.build.own import server_layers, truss_digest, truss_layers
from truss.build.resolution import Target, unpack
from truss.build.settings import container_settings
from truss.config import TrussConfig
from truss.environments import Wanted, wanted_by
from truss.environments.builds import with_cpu_builds
from truss.errors import ImageError
from truss.oci import Entry, Platform
from truss.oci.pull import pull_image

_FORMAT = "1"
"""Raised when the same plan comes to lie in a context in another way."""


@dataclass(frozen=True)
class Planned:
    """A build context before it is written: all that decides what its image is.

    Attributes:
        truss_dir: The Truss.
        config: Its config.
        dockerfile: The text of the Dockerfile, which names the base and the Truss by their digests.
        wanted: The requirements.
        target: What the wheels have to run on.
        lock: Exactly which base and wheels.
        baked: The weights from elsewhere.
    """

    truss_dir: Path
    config: TrussConfig
    dockerfile: str
    wanted: Wanted
    target: Target
    lock: Lock
    baked: tuple[Entry, ...]

    @property
    def wheels(self) -> str:
        """Exactly which wheels."""
        return self.lock.wheels_for(self.target.platform)

    def digest(self, cache: LayerCache) -> str:
        """What names exactly the context: the same wherever and whenever the same would be written."""
        layers = [*server_layers(cache), *baked_layers(self.baked, cache)]
        parts = [str(layer.diff_id) for layer in layers]
        return key_of("context", _FORMAT, self.dockerfile, self.wheels, *parts)


def write_context(
    truss_dir: Path,
    config: TrussConfig,
    folder: Path,
    cache: LayerCache,
    platform: Platform,
    base: str | None = None,
    secrets: Mapping[str, str | None] = MappingProxyType({}),
    say: Say = lambda _: None,
    lock: Lock | None = None,
) -> None:
    """Plan the build context of a Truss and write it: see `plan_context` and `lay_context`."""
    _refuse_what_is_used(folder)  # before anything is fetched
    planned = plan_context(truss_dir, config, cache, platform, base, secrets, say, lock=lock)
    lay_context(planned, folder, say)


def plan_context(
    truss_dir: Path,
    config: TrussConfig,
    cache: LayerCache,
    platform: Platform,
    base: str | None = None,
    secrets: Mapping[str, str | None] = MappingProxyType({}),
    say: Say = lambda _: None,
    inherited: Collection[str] = (),
    *,
    lock: Lock | None = None,
    verify: bool = False,
) -> Planned:
    """Find out what the build context of a Truss holds; weights from elsewhere are fetched.

    Args:
        truss_dir: The Truss.
        config: Its config.
        cache: Where resolutions are kept.
        platform: For which platform the image is.
        base: The base, in place of the config's.
        secrets: The values of the secrets that open stores of weights, by name.
        say: Told what goes on.
        inherited: The ids of secrets that hand this machine's settings to commands (`truss.build.inherited`).
        lock: Exactly which base and wheels; None: the newest that fit.
        verify: Read data files again, even if their digests are remembered.

    Raises:
        WeightsError: weights that the config names elsewhere cannot be fetched.
        EnvironmentBuildError: a requirement cannot be met, or has no wheel.
        ImageError: the base is not to be had, or the lock was made for something else.
        MissingExtraError: uv is not installed.
    """
    truss_dir = truss_dir.resolve()
    fragment = read_fragment(truss_dir, config)
    wanted = wanted_by(truss_dir, config, own=None)
    if lock is not None:
        check_lock(lock, wanted, config, base)
    reference = chosen_base(config, wanted.python, base, lock)
    pulled = pull_image(reference, platform)
    check_python(pulled.image.config.env, wanted.python, reference)
    target = Target(platform, wanted.python)
    exact = chosen_wheels(wanted, target, lock, cache, say)
    digest = truss_digest(truss_layers(truss_dir, config, cache, verify=verify))
    settings = container_settings(pulled.image.config, config, platform, digest)
    baked = tuple(baked_entries(config, secrets, say))
    # Of this platform exactly: an engine may hold another platform's image of the same index.
    exactly = str(pulled.reference.at(pulled.image.digest))
    text = render(
        exactly,
        settings,
        pulled.image.config.env,
        config,
        fragment=fragment,
        baked=bool(baked),
        inherited=inherited,
    )
    made_of = lock_of(wanted, config, {platform: pulled}, {platform: exact})
    return Planned(truss_dir, config, text, wanted, target, made_of, baked)


def lay_context(planned: Planned, folder: Path, say: Say = lambda _: None) -> None:
    """Write a build context, whole or not at all.

    Args:
        planned: What it holds.
        folder: Where to; it must not exist, or be empty.
        say: Told what goes on.

    Raises:
        EnvironmentBuildError: a wheel cannot be had.
        ImageError: the folder is not empty or cannot be written.
    """
    _refuse_what_is_used(folder)
    folder, truss_dir, config = folder.absolute(), planned.truss_dir, planned.config
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with tempfile.TemporaryDirectory(dir=beside) as place:
            say("Fetching wheels")
            _unpack(planned, Path(place))
            _lay(beside, WHEELS, wheels.entries(Path(place), wheels.installed(Path(place))))
        _lay(beside, SERVER, (Entry.file(place, file) for place, file in contents.server_files()))
        if planned.baked:
            say("Copying weights")
            _lay(beside, BAKED, planned.baked)
        alone = (contents.entry(truss_dir, file) for file in contents.data_files(truss_dir, config))
        _lay(beside, DATA, [*contents.small_data(truss_dir, config), *alone])
        _lay(beside, MODEL, contents.code(truss_dir, config))
        (beside / "Dockerfile").write_text(planned.dockerfile, encoding="utf-8", newline="\n")
        beside.chmod(0o755)
        if folder.exists():
            folder.rmdir()
        beside.rename(folder)
    except OSError as error:
        raise ImageError(
            f"the build context cannot be written: {error.strerror or error}", where=str(folder)
        ) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _refuse_what_is_used(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ImageError("the folder is not empty", where=str(folder.absolute()), hint="name a new one")


def _unpack(planned: Planned, folder: Path) -> None:
    with_cpu_builds(lambda wishes: unpack(planned.wheels, wishes, planned.target, folder), planned.wanted)


def _lay(context: Path, part: Part, entries: Iterable[Entry]) -> None:
    """Write entries below the part's folder, which stands for its place in the image."""
    top = context / part.folder
    top.mkdir()
    for entry in entries:
        file = top / os.path.relpath(entry.path, part.place)
        file.parent.mkdir(parents=True, exist_ok=True)
        if entry.content is None:  # of a Truss and of wheels there are files and links
            file.symlink_to(entry.link)
            continue
        with file.open("wb") as out:
            for block in entry.content.blocks():
                out.write(block)
        file.chmod(entry.mode)

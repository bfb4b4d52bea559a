"""A build context: a folder with a Dockerfile and all that it copies, for any builder of images."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

from truss.build import contents, wheels
from truss.build.baked import baked_entries
from truss.build.base import base_reference, check_python
from truss.build.cache import LayerCache
from truss.build.daemonless import Say, resolved
from truss.build.dockerfile import BAKED, DATA, MODEL, SERVER, WHEELS, Part, read_fragment, render
from truss.build.own import truss_digest, truss_layers
from truss.build.resolution import Target, unpack
from truss.build.settings import container_settings
from truss.config import TrussConfig
from truss.environments import wanted_by
from truss.environments.builds import with_cpu_builds
from truss.errors import ImageError
from truss.oci import Entry, Platform
from truss.oci.pull import pull_image


def write_context(
    truss_dir: Path,
    config: TrussConfig,
    folder: Path,
    cache: LayerCache,
    platform: Platform,
    base: str | None = None,
    secrets: Mapping[str, str | None] = MappingProxyType({}),
    say: Say = lambda _: None,
    inherited: Collection[str] = (),
) -> None:
    """Write the build context of a Truss, whole or not at all.

    Args:
        truss_dir: The Truss.
        config: Its config.
        folder: Where to; it must not exist, or be empty.
        cache: Where resolutions are kept.
        platform: For which platform the image is.
        base: The base, in place of the config's.
        secrets: The values of the secrets that open stores of weights, by name.
        say: Told what goes on.
        inherited: The ids of secrets that hand this machine's settings to commands (`truss.build.inherited`).

    Raises:
        WeightsError: weights that the config names elsewhere cannot be fetched.
        EnvironmentBuildError: a requirement cannot be met, or has no wheel.
        ImageError: the base is not to be had, or the folder is not empty or cannot be written.
        MissingExtraError: uv is not installed.
    """
    truss_dir, folder = truss_dir.resolve(), folder.absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ImageError("the folder is not empty", where=str(folder), hint="name a new one")
    fragment = read_fragment(truss_dir, config)
    wanted = wanted_by(truss_dir, config, own=None)
    reference = base_reference(config, wanted.python, base)
    pulled = pull_image(reference, platform)
    check_python(pulled.image.config.env, wanted.python, reference)
    target = Target(platform, wanted.python)
    lock = resolved(wanted, target, None, cache, say)
    digest = truss_digest(truss_layers(truss_dir, config, cache))
    settings = container_settings(pulled.image.config, config, platform, digest)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        with tempfile.TemporaryDirectory(dir=beside) as place:
            say("Fetching wheels")
            with_cpu_builds(lambda wishes: unpack(lock, wishes, target, Path(place)), wanted)
            found = wheels.installed(Path(place))
            _lay(beside, WHEELS, wheels.entries(Path(place), found))
        _lay(beside, SERVER, (Entry.file(place, file) for place, file in contents.server_files()))
        if baked := baked_entries(config, secrets):
            say("Copying weights")
            _lay(beside, BAKED, baked)
        alone = (contents.entry(truss_dir, file) for file in contents.data_files(truss_dir, config))
        _lay(beside, DATA, [*contents.small_data(truss_dir, config), *alone])
        _lay(beside, MODEL, contents.code(truss_dir, config))
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
        (beside / "Dockerfile").write_text(text, encoding="utf-8", newline="\n")
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

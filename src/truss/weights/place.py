"""Put what was fetched where the model looks for it: links into the cache."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path

from truss.config import TrussConfig
from truss.errors import WeightsError
from truss.weights.fetch import Fetched, Fetcher
from truss.weights.sources import CACHED, Source, sources_of

logger = logging.getLogger("truss.weights")

BAKED_HUB = f"{CACHED}/.hub"
"""Where an image has the repositories that the Hugging Face libraries look for."""


def bring(
    truss_dir: Path,
    config: TrussConfig,
    secrets: Mapping[str, str | None],
    variables: Mapping[str, str] = os.environ,
) -> None:
    """Fetch everything that a config names elsewhere and that is not there yet, before a model is loaded.

    What lies at its place already, because it was baked into the image, mounted, or put there by hand, is
    left alone.

    Raises:
        MissingExtraError: the package that speaks a protocol is not installed.
        WeightsError: something cannot be fetched, or not put where it belongs.
    """
    sources = sources_of(config)
    if not sources:
        return
    fetcher = Fetcher(weights_dir(variables), secrets)
    for source in sources:
        if source.form == "hub":
            _bring_repository(source, fetcher, variables)
            continue
        place = truss_dir / config.data_dir / source.place if source.form == "file" else Path(source.place)
        if not _is_there(place, fetcher.cache):
            fetched = fetcher.fetch(source)
            link(place, _only(fetched, source) if source.form == "file" else fetched.folder)


def weights_dir(variables: Mapping[str, str] = os.environ) -> Path:
    """Where fetched files are kept: `TRUSS_WEIGHTS_DIR`, else `weights` in Truss's folder for caches."""
    if given := variables.get("TRUSS_WEIGHTS_DIR"):
        return Path(given).expanduser().absolute()
    if given := variables.get("TRUSS_CACHE_DIR"):
        return Path(given).expanduser().absolute() / "weights"
    caches = variables.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # any uid
    return Path(caches) / "truss" / "weights"


def link(place: Path, target: Path) -> None:
    """Make a place lead to what was fetched; a link there that leads nowhere is followed first.

    Raises:
        WeightsError: there is something else, or the folder cannot be written.
    """
    where = place
    try:
        if place.is_symlink() and not place.exists():
            where = place.readlink()  # an image's link, to where a container may write
        where.parent.mkdir(parents=True, exist_ok=True)
        if where.is_symlink():
            where.unlink()
        elif where.is_dir():  # an empty one, which somebody has mounted: it stays, and is filled
            for entry in target.iterdir():
                (where / entry.name).symlink_to(entry)
            return
        where.symlink_to(target)
    except FileExistsError:
        return  # another copy of the model was quicker
    except OSError as error:
        raise WeightsError(
            f"the weights cannot be put there: {error.strerror or error}",
            where=str(place),
            hint=f"give yourself the right to write {where.parent}, or put the files there yourself",
        ) from error


def only_file(fetched: Fetched, source: Source) -> Path:
    """The file of a source that is one file."""
    return _only(fetched, source)


def _only(fetched: Fetched, source: Source) -> Path:
    files = fetched.files()
    if len(files) != 1:
        raise WeightsError(
            f"this is {len(files)} files, where one is asked for",
            where=source.url,
            hint="name one file, or use `weights` for a folder",
        )
    return files[0]


def _is_there(place: Path, cache: Path) -> bool:
    """Whether something other than our own link is at a place."""
    if place.is_symlink() and (not place.exists() or place.resolve().is_relative_to(cache.resolve())):
        return False
    return any(place.iterdir()) if place.is_dir() else place.exists()


def repository_name(source: Source) -> str:
    """The name of a repository's folder among those of the Hugging Face libraries."""
    return "models--" + source.path.replace("/", "--")


def _bring_repository(source: Source, fetcher: Fetcher, variables: Mapping[str, str]) -> None:
    """Have the Hugging Face libraries find a repository in their own cache."""
    name = repository_name(source)
    home = _hub_cache(variables) / name
    baked = Path(BAKED_HUB) / name
    if baked.is_dir():
        if not home.exists():
            link(home, baked)
        return
    fetched = fetcher.fetch(source)
    link(home / "snapshots" / fetched.revision, fetched.folder)
    reference = home / "refs" / (source.revision or "main")
    if fetched.revision != source.revision and not reference.exists():
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(fetched.revision, encoding="utf-8")


def _hub_cache(variables: Mapping[str, str]) -> Path:
    if given := variables.get("HF_HUB_CACHE"):
        return Path(given)
    caches = variables.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111  # any uid
    return Path(variables.get("HF_HOME") or Path(caches) / "huggingface") / "hub"

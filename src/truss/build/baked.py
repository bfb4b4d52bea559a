"""Weights from elsewhere in an image: baked into layers, or a link to where a start puts them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from truss.build.cache import LayerCache
from truss.build.contents import APP, LARGE
from truss.config import TrussConfig
from truss.oci import Entry, FileContent, Layer
from truss.weights import Source, sources_of
from truss.weights.fetch import Fetched, Fetcher
from truss.weights.place import BAKED_HUB, only_file, repository_name, weights_dir

Secrets = Mapping[str, "str | None"]

_AT_START = "/tmp/.truss-weights"  # noqa: S108  # of the container: the one place that can always be written
"""Below here are, in a container, the places of what it fetches when it starts."""


def baked_entries(config: TrussConfig, secrets: Secrets, say: Callable[[str], None]) -> list[Entry]:
    """What an image holds of the weights that its config names elsewhere.

    Those for the image are fetched, unless the cache of weights has them; for the others there is a link,
    since a container may not be able to write at their places.

    Args:
        config: The Truss's config.
        secrets: The values of the secrets that open the stores, by name. None of them gets into an entry.
        say: Told how far fetching has come, by several threads.

    Raises:
        MissingExtraError: the package that speaks a protocol is not installed.
        WeightsError: something cannot be fetched.
    """
    fetcher = Fetcher(weights_dir(), secrets, say=say)
    return [entry for source in sources_of(config) for entry in _entries(source, config, fetcher)]


def baked_layers(entries: Iterable[Entry], cache: LayerCache, *, verify: bool = False) -> list[Layer]:
    """Layers of such entries: large files one by one, all others together.

    Args:
        entries: What `baked_entries` gave.
        cache: Where layers are kept.
        verify: Read large files again, even if their digests are remembered.
    """
    small, layers = [], []
    for entry in sorted(entries, key=lambda one: one.path):
        file = entry.content.path if isinstance(entry.content, FileContent) else None
        if file is not None and entry.content is not None and entry.content.size >= LARGE:
            layers.append(cache.file_layer(entry.path, file, f"weights {file.name}", verify=verify))
        else:
            small.append(entry)
    return ([cache.layer(small, "weights")] if small else []) + layers


def _entries(source: Source, config: TrussConfig, fetcher: Fetcher) -> Iterator[Entry]:
    place = _place(source, config)
    if source.when == "start":
        if source.form != "hub":  # the hub's libraries look below the home folder, which can be written
            yield Entry.symlink(str(place), f"{_AT_START}/{source.key}")
        return
    fetched = fetcher.fetch(source)
    if source.form == "file":
        yield Entry.file(str(place), only_file(fetched, source))
    elif source.form == "folder":
        yield from _folder(place, fetched)
    else:
        yield from _folder(place / "snapshots" / fetched.revision, fetched)
        reference = source.revision or "main"
        if reference != fetched.revision:
            yield Entry.file(str(place / "refs" / reference), fetched.revision.encode())


def _place(source: Source, config: TrussConfig) -> PurePosixPath:
    if source.form == "file":
        return PurePosixPath(APP, config.data_dir, source.place)
    if source.form == "hub":
        return PurePosixPath(BAKED_HUB, repository_name(source))
    return PurePosixPath(source.place)


def _folder(place: PurePosixPath, fetched: Fetched) -> Iterator[Entry]:
    for file in fetched.files():
        yield Entry.file(str(place / file.relative_to(fetched.folder).as_posix()), Path(file))

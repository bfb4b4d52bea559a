"""The layers that are the same on every platform: the server, the data, the code."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from truss.build import contents
from truss.build.cache import LayerCache, key_of
from truss.config import TrussConfig
from truss.oci import Entry, Layer

_FORMAT = "3"
"""Raised when the same files come to lie in layers in another way."""


def server_layers(cache: LayerCache) -> list[Layer]:
    """The layer of the server, as this installation of Truss has it."""
    served = contents.server_files()
    return cache.layers(
        key_of("server", _FORMAT, *_states(served)),
        lambda: [cache.layer((Entry.file(place, file) for place, file in served), "the server")],
    )


def truss_layers(
    truss_dir: Path, config: TrussConfig, cache: LayerCache, *, verify: bool = False
) -> list[Layer]:
    """The layers of the Truss itself: its data, large files one by one, and its code.

    Args:
        truss_dir: The Truss.
        config: Its config.
        cache: Where layers are kept.
        verify: Read large files again, even if their digests are remembered.
    """
    layers = _layer_unless_empty(contents.small_data(truss_dir, config), "data", cache)
    for file in contents.data_files(truss_dir, config):
        place = contents.place_of(truss_dir, file)
        layers.append(cache.file_layer(place, file, f"data {file.name}", verify=verify))
    return layers + _layer_unless_empty(contents.code(truss_dir, config), "the model", cache)


def truss_digest(layers: Sequence[Layer]) -> str:
    """What names exactly a Truss, whatever it is laid on: the digest of what its own layers hold."""
    return f"sha256:{key_of(*(str(layer.diff_id) for layer in layers))}"


def _layer_unless_empty(entries: Iterable[Entry], created_by: str, cache: LayerCache) -> list[Layer]:
    listed = list(entries)
    return [cache.layer(listed, created_by)] if listed else []


def _states(files: Iterable[tuple[str, Path]]) -> Iterator[str]:
    """What tells whether files are still the same, without reading them: paths, sizes and times."""
    for place, file in files:
        stat = file.stat()
        yield f"{place} {file} {stat.st_size} {stat.st_mtime_ns}"

"""Layers that are kept: what was made once from the same things is not made again.

    <cache>/layers/<key>.json     the layers that were made from what the key stands for
    <cache>/blobs/<digest>        their content
    <cache>/measured/<key>        the digest of a layer that is read from its file whenever it is needed
    <cache>/pushed/<key>          the repository that a layer was last pushed to
    <cache>/uploads/<key>         where a registry takes the rest of a large file (`truss.oci.sessions`)

Files are written beside and renamed, so that what has its name is whole. Nothing here is ever wrong, only
unused: a folder that is too large may be deleted.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from truss.errors import BrokenImageError, ImageError
from truss.oci import Blob, Descriptor, Digest, Entry, FileContent, Layer, packed_layer, plain_layer
from truss.oci.files import written


@dataclass(frozen=True)
class LayerCache:
    """Kept layers.

    Attributes:
        folder: Where they are; made when it does not exist.
    """

    folder: Path

    def layers(self, key: str, make: Callable[[], Iterable[Layer]]) -> list[Layer]:
        """The layers that `key` stands for; made, by `layer`, and remembered the first time.

        Args:
            key: A digest of all that decides what is in them.
            make: Makes them.

        Raises:
            ImageError: the folder cannot be written, or an entry cannot be read.
        """
        kept = self._kept(key)
        if kept is None:
            kept = list(make())
            self._keep(key, kept)
        return kept

    def layer(self, entries: Iterable[Entry], created_by: str) -> Layer:
        """A compressed layer; it is made, and its content is kept under its digest."""
        blobs = self._folder("blobs")
        beside = blobs / f".{secrets.token_hex(8)}.new"
        made = packed_layer(entries, beside, created_by=created_by)
        place = blobs / made.blob.digest.hex
        if place.is_file() and place.stat().st_size == made.blob.size:
            beside.unlink()  # somebody may be reading the one that is there
        else:
            beside.replace(place)
        return Layer(Blob(made.blob.descriptor, FileContent.of(place)), made.diff_id, created_by)

    def file_layer(self, path: str, source: Path, created_by: str, *, verify: bool = False) -> Layer:
        """A layer of one large file, not compressed and not copied.

        Its digest is remembered with the file's size, time and inode, so that it is read once.

        Args:
            path: Where the file is in the image.
            source: The file.
            created_by: The line of history.
            verify: Read it again, whatever is remembered.
        """
        stat = source.stat()
        facts = (path, str(source.resolve()), stat.st_size, stat.st_mtime_ns, stat.st_ino)
        memo = self._folder("measured") / hashlib.sha256(repr(facts).encode()).hexdigest()
        known = None if verify else _remembered(memo)
        layer = plain_layer([Entry.file(path, source)], digest=known, created_by=created_by)
        if known != layer.diff_id:
            _write(memo, str(layer.diff_id))
        return layer

    def text(self, key: str, make: Callable[[], str]) -> str:
        """A text that `key` stands for, such as a resolution; made and kept the first time."""
        found = self.text_of(key)
        if found is None:
            found = make()
            self.keep_text(key, found)
        return found

    def text_of(self, key: str) -> str | None:
        """The text that was kept for a key; None when there is none."""
        try:
            return (self._folder("texts") / key).read_text("utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def keep_text(self, key: str, text: str) -> None:
        """Keep a text for a key, in place of what was kept for it.

        Raises:
            ImageError: the folder cannot be written.
        """
        _write(self._folder("texts") / key, text)

    def repository_of(self, registry: str, digest: Digest) -> str | None:
        """The repository of a registry that content was last pushed to; None when nobody noted one."""
        try:
            return (self._folder("pushed") / key_of(registry, str(digest))).read_text("utf-8")
        except (FileNotFoundError, UnicodeDecodeError):
            return None

    def note_repository(self, registry: str, digest: Digest, name: str) -> None:
        """Remember that a repository of a registry has content.

        Raises:
            ImageError: the folder cannot be written.
        """
        if self.repository_of(registry, digest) != name:
            _write(self._folder("pushed") / key_of(registry, str(digest)), name)

    def _kept(self, key: str) -> list[Layer] | None:
        try:
            listed = json.loads((self._folder("layers") / f"{key}.json").read_text("utf-8"))
            return [self._read(entry) for entry in listed]
        except (FileNotFoundError, ValueError, KeyError, ImageError):
            return None  # not made yet, or somebody deleted a part of it

    def _read(self, entry: dict[str, object]) -> Layer:
        descriptor = Descriptor.from_json(entry["blob"])
        content = FileContent.of(self._folder("blobs") / descriptor.digest.hex)
        if content.size != descriptor.size:
            raise BrokenImageError("a kept layer has another size", where=str(content.path))
        return Layer(Blob(descriptor, content), Digest.parse(str(entry["diff_id"])), str(entry["created_by"]))

    def _keep(self, key: str, layers: Sequence[Layer]) -> None:
        listed = [
            {
                "blob": layer.blob.descriptor.to_json(),
                "diff_id": str(layer.diff_id),
                "created_by": layer.created_by,
            }
            for layer in layers
        ]
        _write(self._folder("layers") / f"{key}.json", json.dumps(listed))

    def _folder(self, name: str) -> Path:
        place = self.folder / name
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(
                f"the cache cannot be written: {error.strerror or error}",
                where=str(place),
                hint="free some space, or name another folder with TRUSS_CACHE_DIR",
            ) from error
        return place


def key_of(*parts: str) -> str:
    """A name for what these texts decide."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _remembered(memo: Path) -> Digest | None:
    try:
        return Digest.parse(memo.read_text("utf-8"))
    except (OSError, ImageError):
        return None


def _write(path: Path, text: str) -> None:
    with written(path) as file:
        file.write(text.encode())

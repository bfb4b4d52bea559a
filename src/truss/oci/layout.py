"""Layout folders: images on disk in the form that OCI tools share (`oci-layout`, `index.json`, `blobs/`).

Content comes first and `index.json`, which names it, last and at once: who reads the folder meanwhile,
or after a power cut, finds the images of before or those of now.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from truss.errors import BrokenImageError, ImageError
from truss.oci.config import ImageConfig
from truss.oci.content import FileContent
from truss.oci.descriptor import Blob, Descriptor, Platform, json_object, write_file
from truss.oci.digest import Digest
from truss.oci.files import written
from truss.oci.image import Artifact, Image, ImageIndex
from truss.oci.manifest import Index, Manifest
from truss.oci.media_types import INDEXES, MANIFESTS

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation that gives an image of a folder its name there."""

LAYOUT_VERSION = b'{"imageLayoutVersion":"1.0.0"}'
_TEMPORARY = "."  # what is being written has a name that begins so


@dataclass(frozen=True)
class Layout:
    """A folder with images.

    Attributes:
        folder: Where it is.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path) -> Layout:
        """The layout that `folder` is.

        Raises:
            ImageError: It is none.
        """
        layout = cls(folder)
        try:
            version = json_object((folder / "oci-layout").read_bytes(), "oci-layout").get(
                "imageLayoutVersion"
            )
        except OSError:
            version = None
        if version != "1.0.0" or not (folder / "index.json").is_file():
            raise ImageError("the folder is no OCI layout of version 1.0.0", where=str(folder))
        return layout

    @property
    def index(self) -> Index:
        """What the folder holds, as a document."""
        return Index.parse((self.folder / "index.json").read_bytes())

    def path(self, digest: Digest) -> Path:
        """Where the content of that digest is, or would be."""
        return self.folder / "blobs" / digest.algorithm / digest.hex

    def blob(self, descriptor: Descriptor) -> Blob:
        """The content that `descriptor` points at.

        Raises:
            BrokenImageError: It is missing, or of another size.
        """
        path = self.path(descriptor.digest)
        if not path.is_file():
            raise BrokenImageError("the content is missing", where=str(path))
        content = FileContent.of(path)
        if content.size != descriptor.size:
            raise BrokenImageError(
                f"the content has {content.size} bytes instead of {descriptor.size}", where=str(path)
            )
        return Blob(descriptor, content)

    def find(self, name: str | None = None) -> Descriptor:
        """The image of that name; without a name, the only one there is. What is attached to images is none.

        Raises:
            ImageError: There is none, or more than one; the hint lists the names.
        """
        images = [one for one in self.index.manifests if not one.artifact_type]
        there = [one for one in images if name in (None, one.annotations.get(REF_NAME))]
        if len(there) != 1:
            names = [one.annotations.get(REF_NAME, "(no name)") for one in images]
            wanted = f"image '{name}'" if name is not None else "single image"
            raise ImageError(
                f"the layout holds no {wanted}",
                where=str(self.folder),
                hint=f"it holds {', '.join(names) or 'nothing'}",
            )
        return there[0]

    def image(self, name: str | None = None, platform: Platform | None = None) -> Image:
        """One image, its layers ready to be read.

        Args:
            name: Which, where the folder holds several.
            platform: Which, where the image is there for several.

        Raises:
            ImageError: There is none, or it is not clear which.
            BrokenImageError: What is there cannot be read.
        """
        found = self.find(name)
        if found.media_type in INDEXES:
            index = Index.parse(self.blob(found).read())
            if platform is not None:
                found = index.for_platform(platform)
            elif len(index.manifests) == 1:
                found = index.manifests[0]
            else:
                raise ImageError("the image is there for several platforms", hint="say which one is meant")
        return self._image(found)

    def images(self, name: str | None = None) -> Image | ImageIndex:
        """One image, or one for each platform, as it was put there.

        Raises:
            ImageError: There is none of that name.
            BrokenImageError: What is there cannot be read.
        """
        found = self.find(name)
        if found.media_type not in INDEXES:
            return self._image(found)
        manifest = self.blob(found)
        images = (self._image(one) for one in Index.parse(manifest.read()).manifests)
        return ImageIndex(manifest, tuple(images))

    def _image(self, descriptor: Descriptor) -> Image:
        manifest = self.blob(replace(descriptor, annotations={}, platform=None))
        document = Manifest.parse(manifest.read())
        config = self.blob(document.config)
        layers = tuple(self.blob(one) for one in document.layers)
        return Image(manifest, ImageConfig.parse(config.read()), config, layers)


def write_layout(
    folder: Path, image: Image | ImageIndex, *, name: str = "latest", attached: Sequence[Artifact] = ()
) -> Layout:
    """Put an image into a layout folder, and with it what is attached to it.

    A folder that is new appears whole or not at all. One that is a layout keeps its other images, and loses
    the one that had the same name. One process at a time may write to a folder.

    Args:
        folder: Where; its parent exists.
        image: What.
        name: What the image is called in the folder.
        attached: What goes along.

    Raises:
        ImageError: The folder holds something else, or cannot be written.
        BrokenImageError: Content is not what its digest says.
    """
    if folder.exists() and not _is_empty(folder):
        layout = Layout.open(folder)
        _put(layout, image, name, attached)
        return layout
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        _put(_new(unfinished), image, name, attached)
        unfinished.replace(folder)  # an empty folder of that name gives way
    except OSError as error:
        raise ImageError(
            f"the layout cannot be written: {error.strerror or error}",
            where=str(folder),
            hint="give yourself the right to write there, or choose another place",
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return Layout(folder)


def contents(image: Image | ImageIndex | Artifact) -> Iterator[Blob]:
    """All blobs of an image, each once, parts before the manifests that name them."""
    seen: set[Digest] = set()
    for blob in _contents(image):
        if blob.digest not in seen:
            seen.add(blob.digest)
            yield blob


def _contents(image: Image | ImageIndex | Artifact) -> Iterator[Blob]:
    if isinstance(image, ImageIndex):
        for one in image.images:
            yield from _contents(one)
    else:
        yield from image.blobs
    yield image.manifest


def _is_empty(folder: Path) -> bool:
    if not folder.is_dir():
        raise ImageError("a layout is a folder, this is none", where=str(folder))
    return next(folder.iterdir(), None) is None


def _new(folder: Path) -> Layout:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    (folder / "oci-layout").write_bytes(LAYOUT_VERSION)
    (folder / "index.json").write_bytes(Index(()).to_bytes())
    return Layout(folder)


def _put(layout: Layout, image: Image | ImageIndex, name: str, attached: Sequence[Artifact]) -> None:
    for one in (image, *attached):
        for blob in contents(one):
            _keep(layout, blob)
    named = image.descriptor.annotated(**{REF_NAME: name})
    new = [named, *(artifact.descriptor for artifact in attached)]
    digests = {one.digest for one in new}
    others = [
        one
        for one in layout.index.manifests
        if one.annotations.get(REF_NAME) != name
        and (one.digest not in digests or one.annotations.get(REF_NAME) is not None)
    ]
    with written(layout.folder / "index.json") as file:
        file.write(Index((*others, *new)).to_bytes())
    _forget_unused(layout)


def _keep(layout: Layout, blob: Blob) -> None:
    path = layout.path(blob.digest)
    if path.is_file() and path.stat().st_size == blob.size:
        return
    path.parent.mkdir(exist_ok=True)
    write_file(blob, path)


def _forget_unused(layout: Layout) -> None:
    """Remove content that no image of the layout names any more; what is being written is left alone."""
    used = set(_named_digests(layout, layout.index.manifests))
    for path in (layout.folder / "blobs").glob("*/*"):
        if not path.name.startswith(_TEMPORARY) and f"{path.parent.name}:{path.name}" not in used:
            path.unlink()


def _named_digests(layout: Layout, descriptors: Iterable[Descriptor]) -> Iterator[str]:
    """The digests of all that `descriptors` name, and what that names, as far as it is there."""
    for descriptor in descriptors:
        yield str(descriptor.digest)
        if not layout.path(descriptor.digest).is_file():
            continue
        if descriptor.media_type in INDEXES:
            yield from _named_digests(layout, Index.parse(layout.blob(descriptor).read()).manifests)
        elif descriptor.media_type in MANIFESTS:
            document = Manifest.parse(layout.blob(descriptor).read())
            yield from (str(one.digest) for one in (document.config, *document.layers))

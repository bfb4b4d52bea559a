"""Archives that `docker load`, `podman load` and `ctr images import` take: an image in one tar.

The archive is an OCI layout, and holds Docker's own `manifest.json` beside it, for engines that read
only that. It is written front to back from where the content is, so a large image needs neither memory
nor a second copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from truss.errors import ImageError
from truss.oci import tar
from truss.oci.descriptor import Blob, canonical_json
from truss.oci.digest import Digest
from truss.oci.files import written
from truss.oci.image import Image, ImageIndex
from truss.oci.layout import LAYOUT_VERSION, REF_NAME, contents
from truss.oci.manifest import Index
from truss.oci.reference import Reference


def write_docker_archive(path: Path, image: Image, reference: Reference) -> None:
    """Write an image as an archive that engines load, whole or not at all. Same image, same bytes.

    Args:
        path: The archive to write; its folder exists.
        image: What, for one platform: engines load no more from an archive.
        reference: What the image is called once it is loaded.

    Raises:
        ImageError: The reference has no tag, or the archive cannot be written.
        BrokenImageError: Content is not what its digest says.
    """
    with written(path) as file:
        for block in archive_blocks(image, reference):
            file.write(block)


def archive_blocks(image: Image, reference: Reference) -> Iterator[bytes]:
    """The archive of `write_docker_archive` as blocks, e.g. to be sent to an engine.

    Raises:
        ImageError: The reference has no tag.
        BrokenImageError: Content is not what its digest says.
    """
    if isinstance(image, ImageIndex):
        raise ImageError("an archive holds the image of one platform", hint="write one for each platform")
    if reference.tag is None:
        raise ImageError(f"'{reference}' has no tag to call the loaded image by", hint="add one, like :1.0")
    return _archive(image, reference)


def _archive(image: Image, reference: Reference) -> Iterator[bytes]:
    blobs = sorted(contents(image), key=lambda blob: _blob_path(blob.digest))
    for folder in _folders(blob.digest for blob in blobs):
        yield tar.header(tar.Member(folder, "directory", 0o755))
    for blob in blobs:
        yield tar.header(tar.Member(_blob_path(blob.digest), "file", 0o644, blob.size))
        yield from blob.checked_blocks()
        yield tar.padding(blob.size)
    for path, data in _documents(image, reference):
        yield tar.header(tar.Member(path, "file", 0o644, len(data)))
        yield data + tar.padding(len(data))
    yield tar.END


def _documents(image: Image, reference: Reference) -> Iterator[tuple[str, bytes]]:
    name = f"{reference.repository}:{reference.tag}"
    named = image.descriptor.annotated(
        **{"io.containerd.image.name": name, REF_NAME: reference.tag or ""},
    )
    yield "index.json", Index((named,)).to_bytes()
    docker = {
        "Config": _blob_path(image.config_blob.digest),
        "RepoTags": [_familiar(name)],
        "Layers": [_blob_path(layer.digest) for layer in image.layers],
    }
    yield "manifest.json", canonical_json([docker])
    yield "oci-layout", LAYOUT_VERSION


def _familiar(name: str) -> str:
    """A name as Docker shows it: without what it adds by itself."""
    return name.removeprefix("docker.io/").removeprefix("library/") if name.startswith("docker.io/") else name


def _blob_path(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"


def _folders(digests: Iterable[Digest]) -> list[str]:
    paths = {PurePosixPath(_blob_path(digest)).parent for digest in digests}
    return sorted({str(folder) for path in paths for folder in (path, path.parent)})


def archive_size(image: Image, reference: Reference) -> int:
    """How many bytes the archive has, found without reading any layer."""
    blobs: list[Blob] = list(contents(image))
    documents = [len(data) for _, data in _documents(image, reference)]
    sizes = [*(blob.size for blob in blobs), *documents]
    folders = len(_folders(blob.digest for blob in blobs))
    files = sum(tar.BLOCK + size + len(tar.padding(size)) for size in sizes)
    return folders * tar.BLOCK + files + len(tar.END)

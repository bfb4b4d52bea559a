"""Pushing: an image, its parts first and side by side, then what names them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal

from truss.oci.descriptor import Blob, Descriptor
from truss.oci.digest import Digest
from truss.oci.image import Artifact, Image, ImageIndex
from truss.oci.layout import contents
from truss.oci.manifest import Index
from truss.oci.media_types import INDEX, INDEXES, MANIFESTS
from truss.oci.reference import Reference
from truss.oci.registry import Registry, RemoteRepository, referrers_tag
from truss.oci.sessions import Sessions
from truss.oci.upload import CHUNK_SIZE, Upload, Uploaded

PARALLEL = 4
"""Blobs that are on their way at a time."""

NOTHING_NOTED = Sessions()


@dataclass(frozen=True)
class Progress:
    """How far one blob is.

    Attributes:
        descriptor: Which blob.
        state: `sending`, or what became of it.
        arrived: Bytes that have arrived so far.
    """

    descriptor: Descriptor
    state: Literal["sending", "exists", "mounted", "uploaded"]
    arrived: int


@dataclass(frozen=True)
class Pushed:
    """What was pushed.

    Attributes:
        reference: The image's name, with its digest.
        digest: What names exactly this image.
        blobs: What became of every part, in the image's order.
        bytes_uploaded: Bytes of content that were sent, documents included.
    """

    reference: Reference
    digest: Digest
    blobs: tuple[Uploaded, ...]
    bytes_uploaded: int


def push_image(
    image: Image | ImageIndex,
    reference: Reference,
    *,
    attached: Sequence[Artifact] = (),
    registry: Registry | None = None,
    progress: Callable[[Progress], None] | None = None,
    chunk_size: int = CHUNK_SIZE,
    parallel: int = PARALLEL,
    sessions: Sessions = NOTHING_NOTED,
) -> Pushed:
    """Push an image, for one platform or several, and what is attached to it.

    Content that the registry has is not sent; content that another repository of it has is taken over
    from there. The name is given last: until then nobody sees anything of the push.

    Args:
        image: What.
        reference: Where to, and the tag; without a tag the image has no name but its digest.
        attached: What is attached to the image, e.g. a bill of materials.
        registry: The registry to use; by default a new connection to the reference's.
        progress: Told of every step, by one thread at a time.
        chunk_size: Bytes of one request.
        parallel: How many blobs are on their way at a time.
        sessions: Where it is noted how far uploads in chunks are, for another process to go on with them.

    Raises:
        RegistryAuthError: The registry wants other credentials.
        RegistryUnavailableError: It failed for now, at every try.
        RegistryError: It refuses something.
        BrokenImageError: Content is not what its digest says.
    """
    registry = registry or Registry(reference.repository.registry)
    everything = _unique([blob for one in (image, *attached) for blob in contents(one)])
    documents = [blob for blob in everything if blob.descriptor.media_type in (*INDEXES, *MANIFESTS)]
    blobs = [blob for blob in everything if blob not in documents]
    sources = {blob.origin.name for blob in blobs if blob.origin and blob.origin.registry == registry.host}
    repository = registry.repository(reference.repository.name, push=True, sources=tuple(sources))
    report = _Report(progress)
    uploaded = _upload(repository, blobs, report, chunk_size, parallel, sessions)
    sent = sum(one.sent for one in uploaded)
    sent += _put_documents(repository, documents, image, reference, attached, parallel)
    return Pushed(reference.at(image.digest), image.digest, uploaded, sent)


class _Report:
    """Passes progress on, one thread at a time."""

    def __init__(self, progress: Callable[[Progress], None] | None) -> None:
        self._progress = progress
        self._lock = threading.Lock()

    def tell(self, step: Progress) -> None:
        if self._progress is not None:
            with self._lock:
                self._progress(step)


def _unique(blobs: Sequence[Blob]) -> list[Blob]:
    return list({blob.digest: blob for blob in blobs}.values())


def _upload(
    repository: RemoteRepository,
    blobs: Sequence[Blob],
    report: _Report,
    chunk_size: int,
    parallel: int,
    sessions: Sessions,
) -> tuple[Uploaded, ...]:
    """Upload side by side; the first failure, or an interrupt, stops the others."""
    stop = threading.Event()

    failures: list[BaseException] = []

    def upload(blob: Blob) -> Uploaded:
        def moved(arrived: int) -> None:
            report.tell(Progress(blob.descriptor, "sending", arrived))

        if stop.is_set():
            raise CancelledError
        # What goes in one request is never gone on with, and most blobs do.
        noted = sessions if blob.size > chunk_size else NOTHING_NOTED
        try:
            with noted.of(repository.registry.origin, repository.name, blob.digest) as note:
                done = Upload(
                    repository, blob, chunk_size=chunk_size, moved=moved, stop=stop, note=note
                ).run()
        except BaseException as error:
            failures.append(error)
            stop.set()
            raise
        report.tell(Progress(blob.descriptor, done.how, blob.size))
        return done

    with ThreadPoolExecutor(parallel, thread_name_prefix="truss-push") as pool:
        futures = [pool.submit(upload, blob) for blob in blobs]
        try:
            wait(futures)
        except BaseException:  # an interrupt
            stop.set()
            raise
    if failures:
        raise failures[0]
    return tuple(future.result() for future in futures)


def _put_documents(
    repository: RemoteRepository,
    documents: Sequence[Blob],
    image: Image | ImageIndex,
    reference: Reference,
    attached: Sequence[Artifact],
    parallel: int,
) -> int:
    """Store manifests by digest, then the image that names them under its tag; list what is attached."""

    def put(document: Blob, version: str) -> int:
        if repository.has_manifest(version, document.digest):
            return 0
        repository.put_manifest(document, version)
        return document.size

    named = reference.tag or str(image.digest)
    others = [document for document in documents if document.digest != image.digest]
    with ThreadPoolExecutor(parallel, thread_name_prefix="truss-push") as pool:
        sent = sum(pool.map(lambda document: put(document, str(document.digest)), others))
        listing = pool.submit(_list_referrers, repository, attached)
        sent += put(image.manifest, named)
        return sent + listing.result()


def _list_referrers(repository: RemoteRepository, attached: Sequence[Artifact]) -> int:
    """List what is attached under tags made of digests, where the registry does not list it itself."""
    return sum(
        _list_referrers_of(repository, subject, [one for one in attached if one.subject.digest == subject])
        for subject in dict.fromkeys(artifact.subject.digest for artifact in attached)
    )


def _list_referrers_of(repository: RemoteRepository, subject: Digest, attached: Sequence[Artifact]) -> int:
    if repository.own_referrers(subject) is not None:
        return 0
    listed = repository.listed_referrers(subject)
    there = {one.digest for one in listed.manifests}
    missing = [artifact.descriptor for artifact in attached if artifact.digest not in there]
    if not missing:
        return 0
    index = Blob.of(Index((*listed.manifests, *missing)).to_bytes(), INDEX)
    repository.put_manifest(index, referrers_tag(subject))
    return index.size

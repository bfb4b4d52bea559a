"""Uploading one blob: not at all where it is there, by mounting where a neighbour has it, else in chunks.

Small blobs go in one request, large ones in chunks, so that a proxy in front of the registry that limits
requests lets them through and a connection that breaks costs one chunk: the registry is asked how far it
got, and the upload goes on there. Where the registry forgot the upload it begins anew. An upload in chunks
that another process began is gone on with as well, if that is noted and the registry still has it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urljoin, urlsplit, urlunsplit

from truss.errors import (
    BrokenImageError,
    ImageError,
    RegistryAuthError,
    RegistryError,
    RegistryUnavailableError,
)
from truss.oci.content import Content
from truss.oci.descriptor import Blob
from truss.oci.registry import RemoteRepository, same_origin
from truss.oci.sessions import Note
from truss.oci.transport import Answer, Request

How = Literal["exists", "mounted", "uploaded"]

CHUNK_SIZE = 64 << 20
"""Bytes of one request: less than the 100 MB that common proxies let through."""

_BINARY = "application/octet-stream"
_RANGE = re.compile(r"(?:bytes=)?0-(\d+)")


@dataclass(frozen=True)
class Uploaded:
    """What became of one blob.

    Attributes:
        blob: Which.
        how: Whether it was there already, was taken over from another repository, or was sent.
        sent: Bytes that went over the wire for it, those that were sent again included.
    """

    blob: Blob
    how: How
    sent: int = 0


@dataclass(frozen=True)
class _Session:
    """An upload that a registry has begun."""

    location: str
    offset: int = 0


class Upload:
    """One blob on its way to one repository.

    Args:
        repository: Where to.
        blob: What.
        chunk_size: Bytes of one request.
        moved: Told how many bytes have arrived so far, whenever that changes.
        stop: Set when the upload shall end early.
        note: Where it is noted how to go on, should this process end early; by default nowhere.
    """

    def __init__(
        self,
        repository: RemoteRepository,
        blob: Blob,
        *,
        chunk_size: int = CHUNK_SIZE,
        moved: Callable[[int], None] = lambda _: None,
        stop: threading.Event | None = None,
        note: Note | None = None,
    ) -> None:
        self._repository = repository
        self._blob = blob
        self._chunk_size = chunk_size
        self._moved = moved
        self._stop = stop or threading.Event()
        self._note = note or Note()
        self._inherited = False  # whether another process sent a part of it
        self._sent = 0
        self._furthest = 0
        self._failures = 0  # since the upload last got further
        self._in_one = blob.size <= chunk_size

    def run(self) -> Uploaded:
        """Bring the blob there.

        Raises:
            RegistryUnavailableError: It failed for now, again and again, without getting further.
            RegistryError: The registry refuses it.
            BrokenImageError: The content is not what its digest says.
        """
        how = self._run()
        self._note.forget()
        return Uploaded(self._blob, how, self._sent)

    def _run(self) -> How:
        if self._repository.has_blob(self._blob.digest):
            return "exists"
        session = self._mount() if self._can_be_mounted else self._noted() or self._begin()
        if session is None:
            return "mounted"
        while session is not None:
            session = self._advanced(session)
        return "uploaded"

    @property
    def _can_be_mounted(self) -> bool:
        origin = self._blob.origin
        return origin is not None and (
            origin.registry == self._repository.registry.host and origin.name != self._repository.name
        )

    def _mount(self) -> _Session | None:
        """Have the registry take the blob over from another repository; `None` when it did."""
        assert self._blob.origin is not None
        query = {"mount": str(self._blob.digest), "from": self._blob.origin.name}
        try:
            answer = self._repository.send(Request("POST", self._repository.url("blobs/uploads/", **query)))
        except (
            RegistryAuthError
        ):  # of the other repository: whether we may write to this one, an upload tells
            return self._noted() or self._begin()
        if answer.status == 201:
            return None
        if noted := self._noted():
            return noted
        # 202 is an upload begun instead; a registry that mounts nothing may also refuse.
        return self._session(answer, 0) if answer.status == 202 else self._begin()

    def _noted(self) -> _Session | None:
        """The upload that another process began, if the registry still has it."""
        location = self._note.read()
        session = self._asked(location) if self._can_be_noted(location) else None
        if session is None or not session.offset:
            self._note.forget()
            return None
        self._inherited = True
        self._moved(session.offset)
        return session

    def _can_be_noted(self, location: str) -> bool:
        """Whether an address opens nothing by itself: the registry's own want credentials, others may not."""
        return same_origin(location, self._repository.registry.origin)

    def _begin(self) -> _Session:
        answer = self._repository.send(Request("POST", self._repository.url("blobs/uploads/")))
        if answer.status != 202:
            raise self._repository.refusal(answer, "the upload")
        smallest = answer.headers.get("OCI-Chunk-Min-Length", "")
        if smallest.isdigit():
            self._chunk_size = max(self._chunk_size, int(smallest))
        return self._session(answer, 0)

    def _advanced(self, session: _Session) -> _Session | None:
        """The session after one more step, `None` when the blob is there; goes on where a step broke."""
        patience = self._repository.registry.transport.patience
        try:
            following = self._step(session)
        except RegistryUnavailableError as error:
            self._failures += 1
            if self._failures >= patience.tries:
                raise
            patience.before(self._failures, error.retry_after)
            following = self._resumed(session)
        if following is not None and following.offset > self._furthest:
            self._furthest, self._failures = following.offset, 0
        return following

    def _step(self, session: _Session) -> _Session | None:
        left = self._blob.size - session.offset
        if not self._in_one and left > 0:
            return self._chunk(session, left)
        return self._finish(session, left)

    def _chunk(self, session: _Session, left: int) -> _Session:
        length = min(self._chunk_size, left)
        end = session.offset + length
        headers = {"Content-Type": _BINARY, "Content-Range": f"{session.offset}-{end - 1}"}
        answer = self._transfer("PATCH", session.location, session.offset, length, headers)
        if answer.status in (200, 201, 202, 204):
            arrived = _offset(answer, end)
            if arrived <= session.offset:
                raise RegistryUnavailableError("the registry took nothing of a chunk")
            following = self._session(answer, arrived)
            if self._can_be_noted(following.location):
                self._note.write(following.location)
            return following
        if answer.status == 416:
            raise RegistryUnavailableError("the registry has lost a part of the upload")
        if answer.status in (400, 404, 405, 411, 501) and not self._inherited:
            self._in_one = True  # no chunks here, or not like this: one request is always allowed
            return self._begin()
        return self._anew(answer)

    def _finish(self, session: _Session, left: int) -> _Session | None:
        """End the upload with what is left of the content, and have the registry check its digest."""
        url = _with_query(session.location, f"digest={self._blob.digest}")
        answer = self._transfer("PUT", url, session.offset, left, {"Content-Type": _BINARY})
        if answer.status in (404, 416):
            raise RegistryUnavailableError("the registry has lost the upload")
        if answer.status not in (200, 201, 202, 204):
            return self._anew(answer)
        self._moved(self._blob.size)
        return None

    def _anew(self, answer: Answer) -> _Session:
        """Begin again where the upload that is refused is another process's, of which we know too little.

        Raises:
            ImageError: It is our own.
        """
        if not self._inherited:
            raise self._refused(answer)
        self._inherited = False
        self._note.forget()
        return self._begin()

    def _transfer(self, method: str, url: str, start: int, length: int, headers: dict[str, str]) -> Answer:
        part = _Part(self._blob.content, start, length, self._count)
        return self._repository.send(Request(method, url, headers, content=part), again=False)

    def _count(self, position: int, size: int) -> None:
        if self._stop.is_set():
            raise ImageError("the upload was stopped")
        self._sent += size
        self._moved(position)

    def _resumed(self, session: _Session) -> _Session | None:
        """Where an interrupted upload goes on: where the registry says, or from the start, or not at all."""
        if self._repository.has_blob(self._blob.digest):
            return None  # only the answer was lost
        return (None if self._in_one else self._asked(session.location)) or self._begin()

    def _asked(self, location: str) -> _Session | None:
        """How far the registry says that an upload is; `None` when it does not say."""
        answer = self._repository.send(Request("GET", location))
        if answer.status in (200, 204) and answer.headers.get("Range"):
            return self._session(answer, _offset(answer, 0), location)
        return None

    def _session(self, answer: Answer, offset: int, known: str = "") -> _Session:
        location = answer.headers.get("Location") or known
        if not location:
            raise RegistryError(
                "the registry begins an upload and does not say where", where=self._repository.registry.host
            )
        return _Session(urljoin(answer.url, location), min(offset, self._blob.size))

    def _refused(self, answer: Answer) -> ImageError:
        refusal = self._repository.refusal(answer, f"the blob {self._blob.digest}")
        if refusal.code == "DIGEST_INVALID":
            return BrokenImageError(
                "the registry says that the content is not what its digest says",
                where=str(self._blob.digest),
                hint="the file may have changed meanwhile, or a proxy on the way changes content",
            )
        return refusal


@dataclass(frozen=True)
class _Part:
    """A part of some content, counted as it is read."""

    whole: Content
    start: int
    size: int
    count: Callable[[int, int], None]

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        at, end = self.start + start, self.start + self.size
        if at >= end:
            return
        for block in self.whole.blocks(at):
            part = block[: end - at]
            at += len(part)
            yield part
            self.count(at, len(part))
            if at >= end:
                return


def _offset(answer: Answer, default: int) -> int:
    """How many bytes the registry says it has; an empty upload is told from one byte by nothing but luck."""
    found = _RANGE.fullmatch(answer.headers.get("Range", "").strip())
    if found is None:
        return default
    return int(found[1]) + 1 if found[1] != "0" else 0


def _with_query(url: str, query: str) -> str:
    """`url` with one more parameter; what it has already is kept as it is."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(query=f"{parts.query}&{query}" if parts.query else query))

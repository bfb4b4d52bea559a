"""Content that is still in a registry: read from there when it is needed, in the middle if need be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from truss.errors import RegistryUnavailableError
from truss.oci.descriptor import Descriptor
from truss.oci.transport import Request, host_of

if TYPE_CHECKING:
    from truss.oci.registry import RemoteRepository


@dataclass(frozen=True)
class RemoteContent:
    """Content that a registry has.

    Attributes:
        repository: Where.
        descriptor: Which.
    """

    repository: RemoteRepository
    descriptor: Descriptor

    @property
    def size(self) -> int:
        """How many bytes there are."""
        return self.descriptor.size

    def blocks(self, start: int = 0) -> Iterator[bytes]:
        """The bytes from `start` to the end; a connection that breaks is taken up again where it broke.

        Raises:
            ImageNotFoundError: The registry has no such content.
            RegistryUnavailableError: The connection breaks again and again.
        """
        patience = self.repository.registry.transport.patience
        attempt, at = 0, start
        while at < self.size:
            before = at
            try:
                for block in self._open(at):
                    at += len(block)
                    yield block
            except RegistryUnavailableError:
                attempt = 1 if at > before else attempt + 1
                if attempt >= patience.tries:
                    raise
                patience.before(attempt)

    def _open(self, start: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        request = Request("GET", self.repository.url(f"blobs/{self.descriptor.digest}"), headers)
        answer = self.repository.send(request, open_body=True)
        if answer.status not in (200, 206):
            answer.close()
            raise self.repository.refusal(answer, f"the blob {self.descriptor.digest}")
        at = 0 if answer.status == 200 else start  # not every server begins in the middle
        for block in answer.blocks():
            if at + len(block) > start:
                yield block[max(0, start - at) :]
            at += len(block)
        if at < self.size:
            where = host_of(answer.url)
            raise RegistryUnavailableError(f"{at} bytes of {self.size} were sent", where=where)

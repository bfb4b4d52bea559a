"""`hf://`: a repository of the Hugging Face hub, or of what speaks as it does (`HF_ENDPOINT`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from truss.errors import MissingExtraError
from truss.weights.sources import Source
from truss.weights.store import Listing, RemoteFile, missing, refused
from truss.weights.web import WebStore


@dataclass(frozen=True)
class HubStore:
    """A repository.

    Attributes:
        source: Which, and at which revision.
        token: An access token; empty: the one that `huggingface-cli login` or HF_TOKEN has left, or none.
    """

    source: Source
    token: str = field(default="", repr=False)

    def listing(self) -> Listing:
        """Its files at one commit, with the digests that the hub tells."""
        try:
            import huggingface_hub as hub
            from huggingface_hub.errors import (
                GatedRepoError,
                HfHubHTTPError,
                RepositoryNotFoundError,
                RevisionNotFoundError,
            )
        except ImportError:
            raise MissingExtraError("huggingface_hub", "hf", f"fetching {self.source.url}") from None
        revision = self.source.revision or "main"
        try:
            info = hub.HfApi(token=self.token or None).model_info(
                self.source.path, revision=revision, files_metadata=True
            )
        except GatedRepoError:
            raise refused(self.source, given=bool(self.token)) from None
        except RevisionNotFoundError:
            raise missing(self.source, f"the repository has no revision '{revision}'") from None
        except RepositoryNotFoundError as error:
            if error.response.status_code in (401, 403):
                raise refused(self.source, given=bool(self.token)) from None
            raise missing(self.source, "there is no such repository, or it is private") from None
        except HfHubHTTPError as error:
            if error.response is not None and error.response.status_code in (401, 403):
                raise refused(self.source, given=bool(self.token)) from None
            raise ConnectionError(f"the hub answers {error}") from error
        commit = info.sha or revision
        files = [
            RemoteFile(
                one.rfilename,
                one.size,
                one.blob_id or "",
                _digests(one),
                hub.hf_hub_url(self.source.path, one.rfilename, revision=commit),
            )
            for one in info.siblings or []
            if self.source.wants(one.rfilename)
        ]
        return Listing(tuple(files), commit)

    def read(self, file: RemoteFile, start: int) -> tuple[int, Iterator[bytes]]:
        """A file's content; the hub sends on to where large ones are, without the token."""
        begins, blocks = WebStore(self.source, self.token or _local_token()).read(
            # What is at a commit does not change; the entity tag is another than the hub lists.
            RemoteFile(file.path, file.size, "", file.digests, file.address),
            start,
        )
        return begins, blocks


def _digests(sibling: object) -> dict[str, str]:
    large = getattr(sibling, "lfs", None)
    if large is not None:
        return {"sha256": large.sha256}
    blob = getattr(sibling, "blob_id", None)
    return {"git": blob} if blob else {}


def _local_token() -> str:
    from huggingface_hub import get_token

    return get_token() or ""

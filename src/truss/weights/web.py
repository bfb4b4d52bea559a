"""`https://`: one file of the web, with ranges where the server knows them. Needs Python's library only."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from truss.errors import WeightsError
from truss.weights.sources import Source
from truss.weights.store import BLOCK, Listing, RemoteFile, missing, refused

_TIMEOUT = 60.0
"""Seconds without a byte after which a connection counts as broken."""

_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True)
class WebStore:
    """One file at an address.

    Attributes:
        source: Which.
        token: What is sent as a bearer token; empty: none is. It goes to no other host.
    """

    source: Source
    token: str = field(default="", repr=False)

    def listing(self) -> Listing:
        """The file, as the head of an answer describes it."""
        with self._open(self.source.url, {"Range": "bytes=0-0"}) as answer:
            headers = answer.headers
            size = _total(headers)
        path = unquote(urlsplit(self.source.url).path.rpartition("/")[2]) or "file"
        digests = {"sha256": self.source.sha256.lower()} if self.source.sha256 else {}
        tag = headers.get("ETag") or headers.get("Last-Modified") or ""
        return Listing((RemoteFile(path, size, tag, digests, self.source.url),))

    def read(self, file: RemoteFile, start: int) -> tuple[int, Iterator[bytes]]:
        """Its content; from the first byte on where the server knows no ranges, or the file has changed."""
        wanted = {"Range": f"bytes={start}-"} if start else {}
        if start and file.version and not file.version.startswith("W/"):
            wanted["If-Range"] = file.version
        answer = self._open(file.address, wanted)
        return (start if answer.status == http.client.PARTIAL_CONTENT else 0), _blocks(answer)

    def _open(self, url: str, headers: Mapping[str, str]) -> Any:
        request = urllib.request.Request(  # noqa: S310  # the scheme was checked with the source
            url, headers={"User-Agent": "truss", "Accept-Encoding": "identity", **headers}
        )
        if self.token:
            # Not sent on to where the server redirects to.
            request.add_unredirected_header("Authorization", f"Bearer {self.token}")
        try:
            return urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 403):
                raise refused(self.source, given=bool(self.token)) from None
            if error.code in (404, 410):
                raise missing(self.source) from None
            if error.code in _TEMPORARY:
                raise ConnectionError(f"the server answers {error.code} {error.reason}") from None
            raise WeightsError(
                f"the server answers {error.code} {error.reason}", where=self.source.url
            ) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise WeightsError(
                    f"the server's certificate is not trusted: {error.reason.verify_message}",
                    where=self.source.url,
                    hint="name the certificates to trust with SSL_CERT_FILE",
                ) from error
            raise ConnectionError(str(error.reason)) from error


def _total(headers: Any) -> int | None:
    whole = (headers.get("Content-Range") or "").rpartition("/")[2] or headers.get("Content-Length") or ""
    return int(whole) if whole.isdigit() else None


def _blocks(answer: Any) -> Iterator[bytes]:
    with answer:
        try:
            while block := answer.read(BLOCK):
                yield block
            if answer.length:  # http.client takes a short body for a whole one where it is read in parts
                raise ConnectionError("the connection broke off")
        except http.client.HTTPException as error:
            raise ConnectionError("the connection broke off") from error

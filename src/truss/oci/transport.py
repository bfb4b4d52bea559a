"""HTTP as registries need it: tried again when that may help, redirected without secrets, through proxies.

One `Transport` is shared by all threads that talk to a registry, and keeps its connections.
"""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from truss.errors import RegistryError, RegistryUnavailableError
from truss.oci.connections import new_pool, proxy_for
from truss.oci.content import BLOCK_SIZE, Content
from truss.oci.patience import Patience

if TYPE_CHECKING:
    import urllib3

_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_TRIES_TO_CONNECT = 3  # a host that is not there at all is seldom there a moment later
_MAX_DOCUMENT = 32 << 20


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        method: HTTP's name for what to do.
        url: To what.
        headers: What every server on the way may see.
        secrets: Headers for the first server only: a redirect to another host leaves them out.
        content: The body.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    content: Content | None = None


@dataclass(frozen=True)
class Answer:
    """A server's answer.

    Attributes:
        status: The HTTP status.
        headers: Looked up whatever the case of their names.
        url: What answered, after redirects.
        body: The body; empty for an open answer.
        stream: What a large body is read from, by `blocks`, when it was asked for open.
    """

    status: int
    headers: Mapping[str, str]
    url: str
    body: bytes = b""
    stream: Any = field(default=None, repr=False)

    def blocks(self) -> Iterator[bytes]:
        """The body of an open answer.

        Raises:
            RegistryUnavailableError: The connection broke; there may be more.
        """
        import urllib3

        try:
            for block in self.stream.stream(BLOCK_SIZE, decode_content=False):
                if block:
                    yield block
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(self.url, error) from error
        finally:
            self.close()

    def close(self) -> None:
        """Give the connection of an open answer up, unless its body was read to the end."""
        if self.stream is not None:
            self.stream.close()  # which leaves the connection alone when everything was read

    @property
    def retry_after(self) -> float:
        """In how many seconds the server asks to be tried again; 0 when it does not say."""
        text = self.headers.get("Retry-After", "").strip()
        if text.isdigit():
            return float(text)
        try:
            return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
        except (TypeError, ValueError):
            return 0.0


class Transport:
    """Sends requests.

    Args:
        patience: How often and after which pauses what failed for now is tried again.
        connections: How many connections to one host are kept.
    """

    def __init__(self, patience: Patience | None = None, connections: int = 8) -> None:
        self.patience = patience or Patience()
        self._connections = connections
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(self, request: Request, *, again: bool = True, open_body: bool = False) -> Answer:
        """Send a request and return its answer, whatever its status, after redirects.

        Args:
            request: What to send.
            again: Whether to try again after what is temporary: broken connections, and statuses that say so.
            open_body: Whether to leave the answer's body to be read by `Answer.blocks`.

        Raises:
            RegistryUnavailableError: The server could not be reached, or failed for now at every try.
            RegistryError: It cannot be trusted, or redirects where no secret may go.
        """
        attempt = 1
        while True:
            try:
                return self._attempt(request, open_body)
            except RegistryUnavailableError as error:
                if not again or attempt >= _tries(error, self.patience):
                    raise
                self.patience.before(attempt, error.retry_after)
            attempt += 1

    def _attempt(self, request: Request, open_body: bool) -> Answer:
        answer = self._follow(request, open_body)
        if answer.status in _TEMPORARY:
            answer.close()
            raise _failed_for_now(answer)
        return answer

    def _follow(self, request: Request, open_body: bool) -> Answer:
        first = request.url
        for _ in range(_MAX_REDIRECTS + 1):
            answer = self._once(request, open_body)
            location = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            answer.close()
            request = _redirected(request, urljoin(request.url, location), answer.status)
        raise RegistryError("the registry redirects without end", where=host_of(first))

    def _once(self, request: Request, open_body: bool) -> Answer:
        pool = self._pool(request.url)
        import urllib3

        headers = {"User-Agent": "truss", **request.headers, **request.secrets}
        body: Any = None
        if request.content is not None:
            # With a length given, blocks are sent as they come, not in HTTP's chunks, which some refuse.
            headers["Content-Length"] = str(request.content.size)
            body = request.content.blocks()
        elif request.method in ("POST", "PUT", "PATCH"):
            headers["Content-Length"] = "0"
        try:
            response = pool.request(
                request.method,
                request.url,
                body=body,
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
            )
            data = b"" if open_body else _document(response)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise unreachable(request.url, error) from error
        return Answer(response.status, response.headers, request.url, data, response if open_body else None)

    def _pool(self, url: str) -> urllib3.PoolManager:
        """The connections for `url`: direct ones, or those through the proxy that the environment names."""
        scheme, proxy = urlsplit(url).scheme, proxy_for(url)
        with self._lock:
            if (scheme, proxy) not in self._pools:
                self._pools[scheme, proxy] = new_pool(scheme, proxy, self._connections)
            return self._pools[scheme, proxy]


def _document(response: Any) -> bytes:
    data = b""
    for block in response.stream(BLOCK_SIZE, decode_content=True):
        data += block
        if len(data) > _MAX_DOCUMENT:
            response.close()
            raise RegistryError("the registry's answer is too long for a document")
    return data


def _redirected(request: Request, target: str, status: int) -> Request:
    before, after = urlsplit(request.url), urlsplit(target)
    if after.scheme not in ("http", "https") or (before.scheme, after.scheme) == ("https", "http"):
        raise RegistryError(
            f"the registry redirects to an address that is not encrypted: {after.scheme}://{after.netloc}",
            where=host_of(request.url),
        )
    if (before.scheme, before.netloc) != (after.scheme, after.netloc):
        request = replace(request, secrets={})
    if status == 303:
        request = replace(request, method="GET", content=None)
    return replace(request, url=target)


def host_of(url: str) -> str:
    """The host and port of an address, for messages: without path, query and what else may be secret."""
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2]


def unreachable(url: str, error: Exception) -> RegistryError:
    """What to tell somebody about a connection that failed."""
    import urllib3

    host, reason = host_of(url), getattr(error, "reason", None) or error
    if isinstance(error, urllib3.exceptions.SSLError):
        return RegistryError(
            f"the registry's certificate is not trusted: {reason}",
            where=host,
            hint="name your organisation's certificates in SSL_CERT_FILE; a registry that speaks plain HTTP "
            "is listed in TRUSS_INSECURE_REGISTRIES",
        )
    if isinstance(error, urllib3.exceptions.ProxyError):
        return RegistryUnavailableError(
            "the proxy cannot be reached",
            where=host,
            hint="the variables HTTPS_PROXY, HTTP_PROXY and NO_PROXY say which is used",
        )
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return RegistryUnavailableError(
            "there is no host of that name", where=host, hint="check the name and the connection"
        )
    return RegistryUnavailableError(
        f"the connection failed: {_said(error)}",
        where=host,
        hint="see that the registry runs and is reached from here, then run the same again",
    )


def _tries(error: RegistryUnavailableError, patience: Patience) -> int:
    """How often to try after this error: less where the request did not even reach its host."""
    import urllib3

    never_arrived = (
        urllib3.exceptions.ConnectTimeoutError,
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ProxyError,
    )
    return (
        min(patience.tries, _TRIES_TO_CONNECT)
        if isinstance(error.__cause__, never_arrived)
        else patience.tries
    )


def _said(error: Exception) -> str:
    """The error's last words: libraries put the objects they are about before them."""
    return str(error.args[-1] if error.args else error).rpartition(": ")[2] or type(error).__name__


def _failed_for_now(answer: Answer) -> RegistryUnavailableError:
    reason = "asks for fewer requests" if answer.status == 429 else "fails for now"
    return RegistryUnavailableError(
        f"the registry {reason}: HTTP status {answer.status}",
        where=host_of(answer.url),
        hint="try again later",
        http_status=answer.status,
        retry_after=answer.retry_after,
    )

"""Ask a running Truss server for a prediction. The standard library does: one request, no session."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from truss.errors import RemoteError, RemoteRefusalError

PREDICT_PATH = "/v1/models/model:predict"
BINARY_PATH = "/v1/models/model:predict_binary"


def ask(url: str, body: bytes, *, path: str = PREDICT_PATH) -> bytes:
    """POST a request body to a server and return the answer's body.

    Args:
        url: The server, e.g. `http://127.0.0.1:8080`. With a path of its own, it is asked as it stands.
        body: The request, already encoded.
        path: The route, for a URL that names only the server.

    Raises:
        RemoteError: the server cannot be reached.
        RemoteRefusalError: its answer is not a 200; says what it answered.
    """
    target = endpoint(url, path)
    content_type = "application/octet-stream" if path == BINARY_PATH else "application/json"
    headers = {"Content-Type": content_type, "Accept": "application/json"}  # a stream's chunks in one answer
    request = urllib.request.Request(target, data=body, headers=headers)  # noqa: S310
    try:
        with _opener(target).open(request) as answer:
            content: bytes = answer.read()
            return content
    except urllib.error.HTTPError as error:
        with error:
            raise _refusal(target, error.code, error.read()) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise RemoteError(
            f"cannot reach the server: {reason}", where=target, hint="is it running? truss serve DIR"
        ) from error


def endpoint(url: str, path: str) -> str:
    """The address to ask: `path` on the server that `url` names, or `url` itself when it has a path.

    Raises:
        RemoteError: not an HTTP URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise RemoteError(f"'{url}' is not an HTTP address", hint="write it as http://127.0.0.1:8080")
    return url.rstrip("/") + path if parts.path in ("", "/") else url


def _opener(url: str) -> urllib.request.OpenerDirector:
    """An opener that goes through the environment's proxies, except to this machine."""
    if _is_local(urlsplit(url).hostname or ""):
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    return urllib.request.build_opener()


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _refusal(url: str, status: int, body: bytes) -> RemoteRefusalError:
    try:
        error: Any = json.loads(body)["error"]
        message, hint = str(error["message"]), error.get("hint")
    except (ValueError, KeyError, TypeError, AttributeError):
        text = body.decode(errors="replace").strip()
        message, hint = text[:500] or "no message", None
    return RemoteRefusalError(f"the server answered {status}: {message}", where=url, hint=hint)

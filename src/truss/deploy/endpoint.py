"""A deployment that is reached over HTTP: asked as any client would."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from truss.errors import PlatformUnreachableError, RemoteRefusalError

_TIMEOUT = 60.0
"""Seconds that an answer may take."""


def ask(url: str, body: bytes, headers: Mapping[str, str] | None = None) -> bytes:
    """The answer to a JSON body.

    Args:
        url: Where to POST it.
        body: The body.
        headers: Further headers, such as those that authorise.

    Raises:
        RemoteRefusalError: the answer is an error.
        PlatformUnreachableError: there is none.
    """
    request = Request(url, data=body, headers={"content-type": "application/json", **(headers or {})})  # noqa: S310  # of a platform
    try:
        with urlopen(request, timeout=_TIMEOUT) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content
    except HTTPError as error:
        said = error.read().decode(errors="replace")
        raise RemoteRefusalError(f"the deployment answered {error.code}: {said}", where=url) from error
    except OSError as error:
        raise PlatformUnreachableError(
            f"the deployment cannot be reached: {error}",
            where=url,
            hint="see `truss status` and `truss logs`",
        ) from error

"""A Ray cluster's dashboard, spoken to over plain HTTP: no `ray` is needed here, of whatever version.

Serve's part of it: https://docs.ray.io/en/latest/serve/api/index.html#serve-rest-api
Jobs' part, archives included: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/api.html
Logs' part: https://docs.ray.io/en/latest/ray-observability/reference/index.html
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from truss.errors import DeployError, PlatformAuthError, PlatformRefusalError, PlatformUnreachableError

TOKEN_VARIABLE = "RAY_AUTH_TOKEN"  # noqa: S105  # the name of a variable
"""The variable that Ray's own tools take a cluster's token from; the next one names a file with it.

https://docs.ray.io/en/latest/ray-security/token-auth.html
"""

_TOKEN_PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"  # noqa: S105  # as above

_TIMEOUT = 300.0
"""Seconds that an answer may take; the first one starts Serve, which takes minutes on nodes that are busy."""

_UPLOAD_TIMEOUT = 600.0

_LARGEST = 100 << 20
"""The largest archive that the dashboard takes, in bytes: its `DASHBOARD_CLIENT_MAX_SIZE`."""

_MARKS = (":job_id:", ":actor_name:", ":task_name:")
"""What Ray writes between an actor's lines to know whose they are."""


@dataclass(frozen=True)
class Dashboard:
    """The dashboard of a cluster.

    Attributes:
        address: Its URL.
    """

    address: str

    @property
    def host(self) -> str:
        """The name of its host, where Serve is reached as well unless it is said otherwise."""
        return urlsplit(self.address).hostname or "127.0.0.1"

    def get(self, path: str) -> Any:
        """The JSON at a path."""
        return json.loads(self._ask("GET", path))

    def put(self, path: str, body: Mapping[str, Any]) -> None:
        """Send JSON to a path."""
        self._ask("PUT", path, json.dumps(body).encode())

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> None:
        """Send JSON to a path that does something."""
        self._ask("POST", path, json.dumps(body or {}).encode())

    def delete(self, path: str) -> None:
        """Remove what a path names."""
        self._ask("DELETE", path)

    def has_archive(self, name: str) -> bool:
        """Whether the cluster's own store holds an archive; if so it will for ten minutes at least."""
        try:
            self._ask("GET", f"/api/packages/gcs/{name}")
        except PlatformRefusalError as error:
            if error.code == "404":
                return False
            raise
        return True

    def store(self, name: str, archive: Path) -> None:
        """Put an archive into the cluster's own store.

        Raises:
            DeployError: it is larger than the store takes.
        """
        size = archive.stat().st_size
        if size > _LARGEST:
            raise DeployError(
                f"the archive has {size >> 20} MiB, and the cluster's own store takes {_LARGEST >> 20}",
                where="deploy.ray.repository",
                hint="name a place that all nodes can read: --repository s3://bucket/folder or "
                "file:///shared/folder; or fetch the weights at start: docs/guides/weights.md",
            )
        self._ask("PUT", f"/api/packages/gcs/{name}", archive.read_bytes(), timeout=_UPLOAD_TIMEOUT)

    def log(self, actor: str, suffix: str, *, follow: bool, lines: int) -> Iterator[str]:
        """Lines that an actor has written.

        Args:
            actor: Its id.
            suffix: `out` or `err`.
            follow: Whether to go on with those that it writes from now on.
            lines: How many of the last ones to begin with.
        """
        query = urlencode({"actor_id": actor, "suffix": suffix, "lines": lines})
        kind = "stream" if follow else "file"
        request = self._request("GET", f"/api/v0/logs/{kind}?{query}")
        with self._open(request, None if follow else _TIMEOUT) as answer:
            for line in answer:
                text = line.decode(errors="replace").rstrip("\r\n")
                if not text.startswith(_MARKS):
                    yield text

    def _ask(self, method: str, path: str, body: bytes | None = None, timeout: float = _TIMEOUT) -> bytes:
        with self._open(self._request(method, path, body), timeout) as answer:
            content: bytes = answer.read()
            return content

    def _request(self, method: str, path: str, body: bytes | None = None) -> Request:
        headers = {"content-type": "application/json"}
        if token := _token(os.environ):
            headers["authorization"] = f"Bearer {token}"
        return Request(f"{self.address.rstrip('/')}{path}", body, headers, method=method)  # noqa: S310  # of the user's

    def _open(self, request: Request, timeout: float | None) -> Any:
        try:
            return urlopen(request, timeout=timeout)  # noqa: S310  # as above
        except HTTPError as error:
            said = error.read().decode(errors="replace").strip()
            raise _refusal(error.code, said, request.full_url) from error
        except OSError as error:
            raise PlatformUnreachableError(
                f"the cluster's dashboard gives no answer: {error}",
                where=self.address,
                hint="name it with --address, or bring it here: ray dashboard CLUSTER.yaml, or kubectl "
                "port-forward service/NAME-head-svc 8265 8000",
            ) from error


def _refusal(code: int, said: str, where: str) -> DeployError:
    if code in (401, 403):
        return PlatformAuthError(
            f"the cluster refuses: {said or code}", where=where, hint=f"give its token in {TOKEN_VARIABLE}"
        )
    lines = [line.strip() for line in said.splitlines() if len(line.strip()) > 1]
    return PlatformRefusalError(f"the cluster refuses: {_told(lines) or code}", code=str(code), where=where)


def _token(variables: Mapping[str, str]) -> str:
    """The cluster's token, where Ray's own tools look for it; empty: there is none."""
    if given := variables.get(TOKEN_VARIABLE):
        return given
    file = Path(variables.get(_TOKEN_PATH_VARIABLE) or Path.home() / ".ray" / "auth_token")
    try:
        return file.read_text("utf-8").strip()
    except (OSError, ValueError):
        return ""


def _told(lines: Sequence[str]) -> str:
    """What it says first; of a traceback, what it says last."""
    if not lines:
        return ""
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]

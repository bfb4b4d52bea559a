"""A project in a region: calls of Google's APIs, and their failures as errors of ours.

The client is Google's own for all its APIs: https://googleapis.github.io/google-api-python-client/docs/
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from truss.errors import (
    DeployError,
    MissingExtraError,
    PlatformAuthError,
    PlatformRefusalError,
    PlatformUnreachableError,
    QuotaError,
)

MARK = "truss-deployment"
"""The label that everything carries which was made for a deployment; its value is the deployment's name."""

_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_OVERRIDE = "CLOUDSDK_API_ENDPOINT_OVERRIDES_"
"""With a service's name behind it, where that is asked instead, as gcloud has it."""

_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
"""Seconds between two looks at something long."""

_LOG_IN = "log in with `gcloud auth application-default login`, or set GOOGLE_APPLICATION_CREDENTIALS"
_SEE_LOGS = "see what the copies wrote with `truss logs`, mend that, and deploy again; it goes on from here"
_VERSIONS = {
    "run": "v2",
    "aiplatform": "v1",
    "secretmanager": "v1",
    "iam": "v1",
    "logging": "v2",
    "artifactregistry": "v1",
}


@dataclass(frozen=True)
class Account:
    """A project in a region, with the credentials that Google's client finds.

    Attributes:
        project: The project; empty: the one that the credentials name.
        region: The region, as `europe-west1`.
    """

    project: str
    region: str
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @cached_property
    def _credentials(self) -> tuple[Any, str | None]:
        try:
            import google.auth
            import googleapiclient.discovery  # noqa: F401  # to say at once that it is missing
        except ImportError:
            raise MissingExtraError(
                "google-api-python-client", "google", "deploying to Google Cloud"
            ) from None
        try:
            found, project = google.auth.default(scopes=_SCOPES)
        except google.auth.exceptions.GoogleAuthError as error:
            raise PlatformAuthError(f"Google Cloud wants credentials: {error}", hint=_LOG_IN) from error
        return found, project

    @property
    def project_name(self) -> str:
        """The project that is used.

        Raises:
            DeployError: none is named.
        """
        named = self.project or os.environ.get("GOOGLE_CLOUD_PROJECT") or self._credentials[1]
        if not named:
            raise DeployError("no project is named", where="--project", hint="say --project PROJECT")
        return named

    @property
    def place(self) -> str:
        """The project and region as names of resources begin."""
        return f"projects/{self.project_name}/locations/{self.region}"

    def client(self, service: str) -> Any:
        """The client of an API; its description is part of the package, so nothing is asked."""
        if service not in self._clients:
            credentials = self._credentials[0]
            from googleapiclient.discovery import build

            where = self._address(service)
            self._clients[service] = build(
                service,
                _VERSIONS[service],
                credentials=credentials,
                static_discovery=True,
                cache_discovery=False,
                client_options={"api_endpoint": where} if where else None,
            )
        return self._clients[service]

    def call(self, service: str, path: str, method: str, **arguments: Any) -> Any:
        """What a method gives: `call("run", "projects.locations.services", "get", name=...)`.

        Raises:
            PlatformAuthError: there are no credentials, or they may not do this.
            PlatformUnreachableError: there is no answer.
            QuotaError: a limit of the project is reached.
            PlatformRefusalError: it is refused otherwise; its code is the status as Google names it.
        """
        with _told(f"{service}.{path}.{method}"):
            return self._request(service, path, method, arguments).execute()

    def found(self, service: str, path: str, **arguments: Any) -> Any | None:
        """What `get` gives; None where there is none."""
        try:
            return self.call(service, path, "get", **arguments)
        except PlatformRefusalError as error:
            if error.code == "NOT_FOUND":
                return None
            raise

    def listed(
        self, service: str, path: str, key: str, method: str = "list", **arguments: Any
    ) -> Iterator[Any]:
        """The items of a list, of all its pages."""
        while True:
            page = self.call(service, path, method, **arguments)
            yield from page.get(key, ())
            if not page.get("nextPageToken"):
                return
            arguments = {**arguments, "pageToken": page["nextPageToken"]}

    def done(self, service: str, path: str, method: str, **arguments: Any) -> Any:
        """What comes of a method that begins something long, once that is over."""
        operation = self.call(service, path, method, **arguments)
        pause = _SHORTEST_PAUSE
        while not operation.get("done"):
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            operation = self.call(service, "projects.locations.operations", "get", name=operation["name"])
        if "error" in operation:
            raise _failure(operation["error"], f"{service}.{path}.{method}")
        return operation.get("response", {})

    def gone(
        self, service: str, path: str, *, long: bool = False, method: str = "delete", **arguments: Any
    ) -> None:
        """Remove something; nothing happens where it is gone already."""
        try:
            (self.done if long else self.call)(service, path, method, **arguments)
        except PlatformRefusalError as error:
            if error.code != "NOT_FOUND":
                raise

    def raw(self, url: str, body: bytes) -> tuple[bytes, Mapping[str, str]]:
        """What a POST of JSON gives that an API's description has no form for, and its headers.

        Raises:
            As `call`.
        """
        from google.auth.transport.requests import AuthorizedSession

        session = AuthorizedSession(self._credentials[0])
        with _told(url):
            reply = session.post(url, data=body, headers={"content-type": "application/json"})
        if reply.status_code >= 400:
            raise _refusal(_error(reply.content, reply.status_code), url)
        return reply.content, reply.headers

    def address(self, service: str) -> str:
        """Where a service is asked, with its scheme."""
        return self._address(service) or f"https://{service}.googleapis.com"

    def _address(self, service: str) -> str | None:
        """Where a service is asked; None: where everybody asks it."""
        override = os.environ.get(f"{_OVERRIDE}{service.upper()}", "").rstrip("/")
        regional = f"https://{self.region}-aiplatform.googleapis.com" if service == "aiplatform" else None
        return override or regional

    def identity(self, audience: str) -> dict[str, str]:
        """The headers that tell a service of the project who asks; none where that cannot be told.

        https://cloud.google.com/run/docs/authenticating/service-to-service
        """
        credentials = self._credentials[0]
        import google.auth.exceptions
        from google.auth.transport.requests import Request
        from google.oauth2.id_token import fetch_id_token

        try:
            if getattr(credentials, "id_token", None):  # of a person who logged in
                credentials.refresh(Request())
                return {"authorization": f"Bearer {credentials.id_token}"}
            return {"authorization": f"Bearer {fetch_id_token(Request(), audience)}"}
        except google.auth.exceptions.GoogleAuthError:
            return {}

    def _request(self, service: str, path: str, method: str, arguments: Mapping[str, Any]) -> Any:
        resource = self.client(service)
        for part in path.split("."):
            resource = getattr(resource, part)()
        return getattr(resource, method)(**arguments)


@contextmanager
def _told(what: str) -> Iterator[None]:
    import google.auth.exceptions as auth
    import httplib2
    from googleapiclient.errors import HttpError

    try:
        yield
    except HttpError as error:
        raise _refusal(_error(error.content, error.resp.status), what) from error
    except (auth.DefaultCredentialsError, auth.RefreshError) as error:
        raise PlatformAuthError(f"Google Cloud refuses the credentials: {error}", hint=_LOG_IN) from error
    except (httplib2.ServerNotFoundError, auth.TransportError, OSError) as error:
        raise PlatformUnreachableError(
            f"Google Cloud gives no answer: {error}",
            hint="check the region's name (--region) and the network",
        ) from error


def _error(content: bytes, status: int) -> Mapping[str, Any]:
    # https://google.aip.dev/193
    try:
        error: Mapping[str, Any] = json.loads(content)["error"]
    except (ValueError, KeyError, TypeError):
        return {"code": status, "message": content.decode(errors="replace")}
    return error


_BY_NUMBER = {
    1: "CANCELLED",
    2: "UNKNOWN",
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}
"""Operations tell their failures by number: https://grpc.io/docs/guides/status-codes/"""


def _refusal(error: Mapping[str, Any], what: str) -> DeployError:
    number = error.get("code")
    code = error.get("status") or _BY_NUMBER.get(number or 0) or str(number)
    text = f"Google Cloud refuses {what}: {error.get('message') or code}"
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403"):
        return PlatformAuthError(
            text,
            hint="`truss targets TARGET --permissions` prints the role it takes; the guide lists the APIs",
        )
    if code in ("RESOURCE_EXHAUSTED", "429"):
        return QuotaError(
            text, hint="ask for a higher quota (IAM & Admin, Quotas), or remove what is not needed"
        )
    return PlatformRefusalError(text, code=code)


def _failure(error: Mapping[str, Any], what: str) -> DeployError:
    """What went on for long, and came to nothing: mostly copies that did not start, and then wrote why."""
    refusal = _refusal(error, what)
    if isinstance(refusal, PlatformRefusalError):
        text = f"Google Cloud began {what}, and it failed: {error.get('message') or refusal.code}"
        return PlatformRefusalError(text, code=refusal.code, hint=_SEE_LOGS)
    return refusal


def marks(deployment: str) -> dict[str, str]:
    """The mark of a deployment, as labels."""
    return {MARK: deployment}


def marked(told: Mapping[str, Any]) -> str:
    """The deployment that a resource's labels name; empty: none."""
    return str(told.get("labels", {}).get(MARK, ""))


def last(names: Sequence[str] | str) -> str:
    """The end of a resource's full name."""
    return str(names).rpartition("/")[2]

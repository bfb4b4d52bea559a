"""A resource group of a subscription: calls of Azure's Resource Manager, their failures as errors of ours.

The client is Azure's own for all that is managed: https://learn.microsoft.com/python/api/azure-mgmt-core/
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
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
"""The tag that everything carries which was made for a deployment; its value is the deployment's name."""

_ENDPOINT = "ARM_ENDPOINT"
"""Where the Resource Manager is asked instead: of Azure Stack Hub, or a stand-in."""

_GROUPS = "2021-04-01"
_BETWEEN_LOOKS = 5.0
"""Seconds between two looks at something long, unless Azure says how many."""

_MAY = "`truss targets TARGET --permissions` prints the role that deploying takes"
_LOG_IN = "log in with `az login`, or set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"


@dataclass(frozen=True)
class Account:
    """A resource group, with the credentials that Azure's client finds.

    Attributes:
        subscription: The subscription's identifier; empty: that of `AZURE_SUBSCRIPTION_ID`.
        group: The resource group; empty: that of `AZURE_DEFAULTS_GROUP`, as `az` has it.
        workspace: The workspace of Azure Machine Learning; empty: that of `AZURE_DEFAULTS_WORKSPACE`.
    """

    subscription: str
    group: str
    workspace: str = ""

    @cached_property
    def _client(self) -> Any:
        try:
            from azure.core.pipeline import policies
            from azure.core.settings import settings
            from azure.identity import DefaultAzureCredential
            from azure.mgmt.core import ARMPipelineClient
            from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
            from azure.mgmt.core.tools import get_arm_endpoints
        except ImportError:
            raise MissingExtraError("azure-mgmt-core", "azure", "deploying to Azure") from None
        cloud = get_arm_endpoints(settings.azure_cloud())
        return ARMPipelineClient(
            os.environ.get(_ENDPOINT) or cloud["resource_manager"],
            policies=[
                policies.RequestIdPolicy(),
                policies.UserAgentPolicy("truss"),
                policies.RetryPolicy(retry_total=3, retry_connect=1),
                ARMChallengeAuthenticationPolicy(DefaultAzureCredential(), *cloud["credential_scopes"]),
            ],
        )

    @property
    def subscribed(self) -> str:
        """The subscription as names of resources begin.

        Raises:
            DeployError: none is named.
        """
        named = self.subscription or _named("AZURE_SUBSCRIPTION_ID", "subscription")
        return f"/subscriptions/{named}"

    @property
    def place(self) -> str:
        """The resource group as names of resources begin.

        Raises:
            DeployError: none is named.
        """
        return f"{self.subscribed}/resourceGroups/{self.group or _named('AZURE_DEFAULTS_GROUP', 'group')}"

    @property
    def learning(self) -> str:
        """The workspace of Azure Machine Learning as names of its resources begin.

        Raises:
            DeployError: none is named.
        """
        named = self.workspace or _named("AZURE_DEFAULTS_WORKSPACE", "workspace")
        return f"{self.place}/providers/Microsoft.MachineLearningServices/workspaces/{named}"

    @cached_property
    def location(self) -> str:
        """The region of the resource group."""
        return str(self.call("GET", self.place, _GROUPS)["location"])

    def call(self, method: str, path: str, api: str, body: Any = None, **query: str) -> Any:
        """What a call gives.

        Args:
            method: The HTTP method.
            path: What is asked, from `/subscriptions` on.
            api: The version of its API.
            body: What is sent, as JSON.
            query: Further words of the query.

        Raises:
            PlatformAuthError: there are no credentials, or they may not do this.
            PlatformUnreachableError: there is no answer.
            QuotaError: a limit of the subscription is reached.
            PlatformRefusalError: it is refused otherwise; its code is Azure's.
        """
        with self._told(method, path):
            return _json(self._sent(method, path, api, body, query).http_response)

    def found(self, path: str, api: str) -> Any | None:
        """What there is under a name; None where there is nothing."""
        try:
            return self.call("GET", path, api)
        except PlatformRefusalError as error:
            if error.code == _ABSENT:
                return None
            raise

    def listed(self, path: str, api: str, **query: str) -> Iterator[Any]:
        """The items of a list, of all its pages."""
        page = self.call("GET", path, api, **query)
        yield from page.get("value", ())
        while page.get("nextLink"):
            with self._told("GET", path):
                page = _json(self._answer(self._request("GET", page["nextLink"])).http_response)
            yield from page.get("value", ())

    def done(self, method: str, path: str, api: str, body: Any = None) -> Any:
        """What comes of a call that begins something long, once that is over."""
        with self._told(method, path):
            begun = self._sent(method, path, api, body, {})
            from azure.core.polling import LROPoller
            from azure.mgmt.core.polling.arm_polling import ARMPolling

            return LROPoller(self._client, begun, _last_answer, ARMPolling(_BETWEEN_LOOKS)).result()

    def gone(self, path: str, api: str) -> None:
        """Remove something; nothing happens where it is gone already."""
        try:
            self.done("DELETE", path, api)
        except PlatformRefusalError as error:
            if error.code != _ABSENT:
                raise

    def lines(self, url: str, token: str) -> Iterator[str]:
        """The lines of an address beside the Resource Manager, as they come.

        Args:
            url: The address.
            token: What authorises there.
        """
        from azure.core.rest import HttpRequest

        request = HttpRequest("GET", url, headers={"Authorization": f"Bearer {token}"})
        with self._told("GET", "the log"):
            from azure.core.pipeline.transport import RequestsTransport

            with RequestsTransport() as transport, transport.send(request, stream=True) as reply:
                reply.raise_for_status()
                yield from _split(reply.iter_bytes())

    def _request(
        self, method: str, url: str, body: Any = None, query: Mapping[str, str] | None = None
    ) -> Any:
        client = self._client
        from azure.core.rest import HttpRequest

        return HttpRequest(method, client.format_url(url), params=query, json=body)

    def _sent(self, method: str, path: str, api: str, body: Any, query: Mapping[str, str]) -> Any:
        return self._answer(self._request(method, path, body, {"api-version": api, **query}))

    def _answer(self, request: Any) -> Any:
        from azure.core.exceptions import HttpResponseError
        from azure.mgmt.core.exceptions import ARMErrorFormat

        # The whole run of the pipeline is what the client's poller starts from.
        run = self._client.send_request(request, _return_pipeline_response=True)
        if run.http_response.status_code >= 400:
            raise HttpResponseError(response=run.http_response, error_format=ARMErrorFormat)
        return run

    @contextmanager
    def _told(self, method: str, path: str) -> Iterator[None]:
        self._client  # noqa: B018  # says that its package is missing, before that is imported
        from azure.core import exceptions

        what = f"{method} {path.rpartition('/providers/')[2]}"
        try:
            yield
        except exceptions.HttpResponseError as error:
            raise _refusal(error, what) from error
        except (exceptions.ServiceRequestError, exceptions.ServiceResponseError) as error:
            raise PlatformUnreachableError(
                f"Azure gives no answer: {error.message}",
                hint="check the network, and the cloud that is named",
            ) from error


_ABSENT = "404"
"""How we call whatever code a service has for what is not there."""


def _named(variable: str, option: str) -> str:
    named = os.environ.get(variable)
    if not named:
        raise DeployError(
            f"no {option} is named", where=f"--{option}", hint=f"say --{option} NAME, or set {variable}"
        )
    return named


def _json(reply: Any) -> Any:
    return reply.json() if reply.content else {}


def _last_answer(run: Any) -> Any:
    return _json(run.http_response)


def _split(parts: Iterator[bytes]) -> Iterator[str]:
    rest = b""
    for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        yield from (line.decode(errors="replace").rstrip("\r") for line in whole if line.strip())
    if rest.strip():
        yield rest.decode(errors="replace")


def _refusal(error: Any, what: str) -> DeployError:
    reply = error.response
    if reply is None:  # of the client itself, which looked for credentials
        return PlatformAuthError(f"Azure wants credentials: {error.message.strip()}", hint=_LOG_IN)
    said = getattr(error, "error", None)
    code = (said.code if said is not None else None) or str(reply.status_code)
    message = (said.message if said is not None else None) or error.message
    text = f"Azure refuses {what}: {message}"
    if reply.status_code in (401, 403):
        return PlatformAuthError(text, hint=_MAY)
    if _is_limit(code, reply.status_code):
        return QuotaError(text, hint="ask for a higher quota (portal, Quotas), or remove what is not needed")
    return PlatformRefusalError(text, code=_ABSENT if reply.status_code == 404 else code)


def _is_limit(code: str, status: int) -> bool:
    # https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/error-resource-quota
    # https://learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints
    return status == 429 or "quota" in code.lower() or code.startswith("MaxNumberOf")


def tags(deployment: str) -> dict[str, str]:
    """The mark of a deployment."""
    return {MARK: deployment}


def marked(told: Mapping[str, Any]) -> str:
    """The deployment that a resource's tags name; empty: none."""
    return str((told.get("tags") or {}).get(MARK, ""))

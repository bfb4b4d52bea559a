"""The registry that an image is pulled from, and who may: https://learn.microsoft.com/azure/container-registry/.

Azure's registries only. Others are taken for public.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from truss.deploy.azure.account import MARK, Account
from truss.deploy.azure.things import Thing
from truss.deploy.plan import Output, Resource
from truss.deploy.target import Found
from truss.oci import Reference

_API = "2023-07-01"
_PULL = "7f951dda-4ed3-4680-a7ca-43fe172d538d"
"""AcrPull: https://learn.microsoft.com/azure/role-based-access-control/built-in-roles/containers"""

_ROLES = "Microsoft.Authorization/roleDefinitions"


def registry_of(image: str) -> str:
    """The address of Azure's registry that an image is in; empty: it is in another."""
    host = Reference.parse(image).repository.registry
    return host if host.endswith((".azurecr.io", ".azurecr.cn", ".azurecr.us")) else ""


class Registry:
    """A registry, which has to be there: looked up by its address in the whole subscription."""

    kind = "acr:registry"
    rights = ("Microsoft.ContainerRegistry/registries/read",)

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this address."""
        every = f"{account.subscribed}/providers/Microsoft.ContainerRegistry/registries"
        for told in account.listed(every, _API):
            if told["properties"]["loginServer"] == resource.name:
                return Found(self.kind, resource.name, resource.body, outputs={"id": told["id"]})
        return None

    def expression(self, name: str, output: str) -> str:  # noqa: ARG002  # it has no other
        """Its full name, if it is in the same resource group."""
        return f"resourceId('Microsoft.ContainerRegistry/registries', '{name.partition('.')[0]}')"


def registry(host: str) -> Resource:
    """The registry of an address."""
    return Resource(Registry.kind, host, {}, "az acr show")


class Pull(Thing):
    """That an identity may pull from a registry. A role that somebody else gave does as well, and stays.

    https://learn.microsoft.com/rest/api/authorization/role-assignments

    Args:
        principal: Who it is that a deployment pulls as; empty: nobody yet.
    """

    kind = "acr:pull"
    type = "Microsoft.Authorization/roleAssignments"
    api = "2022-04-01"
    awaited = True

    def __init__(self, principal: Callable[[Account, str], str]) -> None:
        self._principal = principal

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The role, with the mark as its description: it takes no tags."""
        return {
            "properties": {
                "roleDefinitionId": f"/providers/{_ROLES}/{_PULL}",
                "principalId": body["principal"],
                "principalType": "ServicePrincipal",
                "description": f"{_mark(body['deployment'])} {body['server']}",
            }
        }

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The role that the identity has there."""
        body = resource.body
        if isinstance(body["principal"], Output) or isinstance(body["registry"], Output):
            return None  # the identity is yet to be made
        for told in self._given(account, body["registry"], body["principal"]):
            scope = str(told["properties"]["scope"])
            if scope.lower() == str(body["registry"]).lower():
                return Found(self.kind, resource.name, body, body["deployment"], {"id": told["id"]})
        return None

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Give it."""
        body = resource.body
        name = uuid.uuid5(uuid.NAMESPACE_URL, f"{body['registry']}/{body['principal']}")
        path = f"{body['registry']}/providers/{self.type}/{name}"
        return {"id": account.call("PUT", path, self.api, self.request(body))["id"]}

    def delete(self, account: Account, found: Found) -> None:
        """Take it back."""
        account.gone(found.outputs["id"], self.api)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """Those that the deployment's identity has, of its mark."""
        principal = self._principal(account, deployment)
        if not principal:
            return []
        return [
            Found(self.kind, _said(told)[1], {}, deployment, {"id": told["id"]})
            for told in self._given(account, account.subscribed, principal)
            if _said(told)[0] == _mark(deployment)
        ]

    def entry(self, resource: Resource) -> dict[str, Any]:
        """With a name that a template makes."""
        place, who = (str(resource.body[name]).strip("[]") for name in ("registry", "principal"))
        name = f"[guid({place}, '{resource.body['deployment']}', '{_PULL}')]"
        role = f"[subscriptionResourceId('{_ROLES}', '{_PULL}')]"
        properties = {**self.request(resource.body)["properties"], "roleDefinitionId": role}
        return {"name": name, "scope": f"[{place}]", "properties": {**properties, "principalId": f"[{who}]"}}

    def _given(self, account: Account, scope: str, principal: str) -> Sequence[Any]:
        every = f"{scope}/providers/{self.type}"
        told = account.listed(every, self.api, **{"$filter": f"principalId eq '{principal}'"})
        return [one for one in told if one["properties"]["roleDefinitionId"].endswith(_PULL)]


def pull(deployment: str, host: str, principal: Output) -> Resource:
    """That an identity may pull a deployment's image."""
    where = Output(f"{Registry.kind}/{host}", "id")
    body = {"deployment": deployment, "server": host, "registry": where, "principal": principal}
    return Resource(Pull.kind, host, body, "az role assignment create --role AcrPull")


def _mark(deployment: str) -> str:
    return f"{MARK}={deployment}"


def _said(told: Mapping[str, Any]) -> tuple[str, str]:
    """The mark in a role's description, and the registry's address behind it."""
    mark, _, host = str(told["properties"].get("description") or "").partition(" ")
    return mark, host

"""The identity that copies have, and the resource group that everything is in.

https://learn.microsoft.com/rest/api/managedidentity/user-assigned-identities
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from truss.deploy.azure.account import Account, marked, tags
from truss.deploy.azure.things import Thing
from truss.deploy.plan import Output, Resource
from truss.deploy.target import Found


class Group:
    """The resource group, which has to be there."""

    kind = "group"
    rights = ("Microsoft.Resources/subscriptions/resourceGroups/read",)

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one that is named, and its region."""
        return Found(self.kind, resource.name, resource.body, outputs={"location": account.location})

    def expression(self, name: str, output: str) -> str:  # noqa: ARG002  # it has no other
        """That of the deployment."""
        return f"resourceGroup().{output}"


GROUP = Resource(Group.kind, "present", {}, "az group show")
LOCATION = Output(GROUP.key, "location")


class Identity(Thing):
    """An identity of the deployment's own, which may do nothing but what it is given."""

    kind = "identity"
    type = "Microsoft.ManagedIdentity/userAssignedIdentities"
    api = "2023-01-31"
    actions = ("read", "write", "delete", "assign/action")

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """There is nothing to say of it but where it is."""
        return {"location": body["location"], "tags": tags(body["deployment"])}

    def read(self, account: Account, told: Mapping[str, Any], like: Mapping[str, Any] | None) -> Found:  # noqa: ARG002  # as every kind
        """Its full name, and who it is."""
        deployment = marked(told)
        outputs = {"id": told["id"], "principalId": told["properties"]["principalId"]}
        body = {"deployment": deployment, "location": told["location"]}
        return Found(self.kind, told["name"], body, deployment, outputs)


def identity(deployment: str, location: str | Output) -> Resource:
    """The identity of a deployment."""
    body = {"deployment": deployment, "location": location}
    return Resource(Identity.kind, f"truss-{deployment}", body, "az identity create")


def principal_of(account: Account, deployment: str) -> str:
    """Who a deployment's identity is; empty: it is not there."""
    owned = Identity().owned(account, deployment)
    return str(owned[0].outputs["principalId"]) if owned else ""

"""What Azure has to allow to whoever deploys, as a role of one's own.

Each module says it next to the calls that it makes. The actions, by service:
https://learn.microsoft.com/azure/role-based-access-control/resource-provider-operations
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from truss.deploy.kinds import Entitled
from truss.deploy.plan import File

PUSHING = (
    "Microsoft.ContainerRegistry/registries/pull/read",
    "Microsoft.ContainerRegistry/registries/push/write",
)
"""The actions that push an image, of which what is there already is not pushed.

https://learn.microsoft.com/azure/container-registry/container-registry-rbac-built-in-roles-overview
"""


def role(where: str, parts: Iterable[Entitled], others: Iterable[str]) -> File:
    """A role, in the form that `az role definition create --role-definition` takes.

    https://learn.microsoft.com/azure/role-based-access-control/custom-roles-cli

    Args:
        where: What it lets one deploy to, for its name.
        parts: What makes calls for the target.
        others: What the target needs besides.
    """
    body = {
        "Name": f"Truss to {where}",
        "IsCustom": True,
        "Description": f"What `truss deploy` and its like need to take models to {where}.",
        "Actions": sorted({*(right for part in parts for right in part.rights), *others}),
        "NotActions": [],
        "DataActions": [],
        "NotDataActions": [],
        "AssignableScopes": ["/subscriptions/SUBSCRIPTION"],
    }
    return File("role.json", json.dumps(body, indent=2) + "\n")

"""IAM: the account that a deployment's copies act as, which may do nothing but what it is given.

https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from truss.deploy.google.account import Account
from truss.deploy.plan import Output, Resource
from truss.deploy.target import Found

_API, _ACCOUNTS = "iam", "projects.serviceAccounts"
_LONGEST = 30
_MARK = "made by truss deploy for "


class ServiceAccount:
    """A service account; it can carry no labels, so its description names the deployment."""

    kind = "iam:service-account"
    rights = (
        "iam.serviceAccounts.actAs",  # to have copies act as it
        "iam.serviceAccounts.create",
        "iam.serviceAccounts.delete",
        "iam.serviceAccounts.get",
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        deployment = resource.body["deployment"]
        told = account.call(
            _API,
            _ACCOUNTS,
            "create",
            name=f"projects/{account.project_name}",
            body={"accountId": resource.name, "serviceAccount": described(deployment)},
        )
        return {"email": told["email"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as every kind
        """Nothing: there is nothing of it that changes."""
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it."""
        account.gone(_API, _ACCOUNTS, name=_full(account, found.name))

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if its description says so."""
        found = self._named(account, account_name(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = account.found(_API, _ACCOUNTS, name=_full(account, name))
        if told is None:
            return None
        said = str(told.get("description", ""))
        deployment = said.removeprefix(_MARK) if said.startswith(_MARK) else ""
        return Found(self.kind, name, {"deployment": deployment}, deployment, {"email": told["email"]})


def service_account(deployment: str) -> Resource:
    """The account of a deployment."""
    name = account_name(deployment)
    return Resource(
        ServiceAccount.kind, name, {"deployment": deployment}, "iam.projects.serviceAccounts.create"
    )


def described(deployment: str) -> dict[str, str]:
    """What an account says of itself."""
    return {"displayName": f"truss {deployment}", "description": f"{_MARK}{deployment}"}


def email_of(deployment: str) -> Output:
    """Its address, which is known once it is there."""
    return Output(f"{ServiceAccount.kind}/{account_name(deployment)}", "email")


def account_name(deployment: str) -> str:
    """The name of a deployment's account, of 30 characters at most; a long one ends in a digest."""
    name = f"truss-{deployment}"
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 7].rstrip('-')}-{hashlib.sha256(deployment.encode()).hexdigest()[:6]}"


def _full(account: Account, name: str) -> str:
    project = account.project_name
    return f"projects/{project}/serviceAccounts/{name}@{project}.iam.gserviceaccount.com"

"""Secret Manager: the values of a model's secrets.

https://cloud.google.com/secret-manager/docs/reference/rest
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from truss.deploy.google.account import MARK, Account, last, marked, marks
from truss.deploy.plan import Output, Resource, SecretValue
from truss.deploy.target import Found

_API, _SECRETS = "secretmanager", "projects.secrets"
READER = "roles/secretmanager.secretAccessor"


class Secret:
    """One secret, `truss-DEPLOYMENT-NAME`, that the deployment's own account may read."""

    kind = "secretmanager:secret"
    rights = (
        "secretmanager.secrets.create",
        "secretmanager.secrets.delete",
        "secretmanager.secrets.get",
        "secretmanager.secrets.getIamPolicy",
        "secretmanager.secrets.list",
        "secretmanager.secrets.setIamPolicy",
        "secretmanager.versions.access",
        "secretmanager.versions.add",
        "secretmanager.versions.list",
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The secret, its value, and who reads it."""
        told = account.found(_API, _SECRETS, name=_full(account, resource.name))
        return None if told is None else self._found(account, told)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, give it its value, and let the account read it."""
        account.call(
            _API,
            _SECRETS,
            "create",
            parent=f"projects/{account.project_name}",
            secretId=resource.name,
            body={"replication": {"automatic": {}}, "labels": marks(resource.body["deployment"])},
        )
        return self.update(account, resource, Found(self.kind, resource.name, {}))

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it another version of its value, and let the account read it."""
        name, body = _full(account, resource.name), resource.body
        version = found.outputs.get("version", "")
        if found.body.get("value") != body["value"]:
            data = base64.b64encode(str(body["value"]).encode()).decode()
            told = account.call(_API, _SECRETS, "addVersion", parent=name, body={"payload": {"data": data}})
            version = last(told["name"])
        bindings = [{"role": READER, "members": [f"serviceAccount:{body['reader']}"]}]
        account.call(_API, _SECRETS, "setIamPolicy", resource=name, body={"policy": {"bindings": bindings}})
        return {"version": version, "place": f"{name}/versions/{version}"}

    def delete(self, account: Account, found: Found) -> None:
        """Remove it with all versions of its value."""
        account.gone(_API, _SECRETS, name=_full(account, found.name))

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """Those that have the deployment's mark."""
        listed = account.listed(
            _API,
            _SECRETS,
            "secrets",
            parent=f"projects/{account.project_name}",
            filter=f"labels.{MARK}={deployment}",
        )
        return [self._found(account, one) for one in listed if marked(one) == deployment]

    def _found(self, account: Account, told: Mapping[str, Any]) -> Found:
        versions = list(
            account.listed(
                _API, f"{_SECRETS}.versions", "versions", parent=told["name"], filter="state:ENABLED"
            )
        )
        value, version = "", ""
        if versions:
            version = last(versions[0]["name"])  # the newest comes first
            payload = account.call(_API, f"{_SECRETS}.versions", "access", name=versions[0]["name"])
            value = base64.b64decode(payload["payload"]["data"]).decode()
        policy = account.call(_API, _SECRETS, "getIamPolicy", resource=told["name"])
        readers = [
            member.partition(":")[2]
            for one in policy.get("bindings", ())
            if one["role"] == READER
            for member in one["members"]
        ]
        deployment = marked(told)
        body = {"deployment": deployment, "value": value, "reader": ",".join(readers)}
        place = f"{_full(account, last(told['name']))}/versions/{version}"
        outputs = {"version": version, "place": place}
        return Found(
            self.kind, last(told["name"]), body, deployment, outputs, frozenset({"version", "place"})
        )


def secret(deployment: str, name: str, reader: Output) -> Resource:
    """The secret of a deployment with the value of one of the model's."""
    body = {"deployment": deployment, "value": SecretValue(name), "reader": reader}
    return Resource(Secret.kind, secret_name(deployment, name), body, "secretmanager.projects.secrets.create")


def secret_name(deployment: str, name: str) -> str:
    """The name of a secret in the project."""
    return f"truss-{deployment}-{name}"


def _full(account: Account, name: str) -> str:
    return f"projects/{account.project_name}/secrets/{name}"

"""Secrets Manager: the values of a model's secrets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from truss.deploy.aws.account import Account, marked, tags
from truss.deploy.aws.permissions import Right
from truss.deploy.plan import Resource, SecretValue
from truss.deploy.target import Found


class Secret:
    """One secret, `truss/DEPLOYMENT/NAME`.

    https://docs.aws.amazon.com/secretsmanager/latest/apireference/
    """

    kind = "secretsmanager:secret"
    rights = (
        Right("secretsmanager", ("ListSecrets",)),
        Right(
            "secretsmanager",
            ("CreateSecret", "DeleteSecret", "GetSecretValue", "PutSecretValue", "TagResource"),
            ("secret:truss/*",),
        ),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The secret and its value."""
        listed = account.listed("secretsmanager", "list_secrets", "SecretList", Filters=_named(resource.name))
        told = next((one for one in listed if one["Name"] == resource.name), None)
        return None if told is None else self._found(account, told)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it; its name can be used again at once when it was removed before."""
        made = account.call(
            "secretsmanager",
            "create_secret",
            Name=resource.name,
            SecretString=str.__str__(resource.body["value"]),
            Tags=tags(resource.body["deployment"]),
        )
        return {"arn": made["ARN"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it another value."""
        value = str.__str__(resource.body["value"])
        account.call("secretsmanager", "put_secret_value", SecretId=resource.name, SecretString=value)
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it at once, so that its name is free."""
        account.gone(
            "secretsmanager",
            "delete_secret",
            "ResourceNotFoundException",
            SecretId=found.name,
            ForceDeleteWithoutRecovery=True,
        )

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """Those below the deployment's name that have its mark."""
        listed = account.listed(
            "secretsmanager", "list_secrets", "SecretList", Filters=_named(f"truss/{deployment}/")
        )
        every = [self._found(account, one) for one in listed]
        return [one for one in every if one.deployment == deployment]

    def _found(self, account: Account, told: Mapping[str, Any]) -> Found:
        deployment = marked(told.get("Tags"))
        value = ""
        if deployment:  # those of others are not read
            value = account.call("secretsmanager", "get_secret_value", SecretId=told["ARN"])["SecretString"]
        body = {"deployment": deployment, "value": value}
        return Found(self.kind, told["Name"], body, deployment, {"arn": told["ARN"]})


def secret(deployment: str, name: str) -> Resource:
    """The secret of a deployment with the value of one of the model's."""
    body = {"deployment": deployment, "value": SecretValue(name)}
    return Resource(Secret.kind, f"truss/{deployment}/{name}", body, "secretsmanager:CreateSecret")


def _named(prefix: str) -> list[dict[str, Any]]:
    return [{"Key": "name", "Values": [prefix]}]

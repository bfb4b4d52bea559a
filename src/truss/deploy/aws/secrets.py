"""Secrets Manager: the values of a model's secrets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from truss.deploy.aws.account import Account, marked, tags
from truss.deploy.aws.permissions import Right
from truss.deploy.plan import Output, Resource, SecretValue
from truss.deploy.release import Release
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
        return {"arn": made["ARN"], "version": made["VersionId"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it another value."""
        value = str.__str__(resource.body["value"])
        told = account.call("secretsmanager", "put_secret_value", SecretId=resource.name, SecretString=value)
        return {**found.outputs, "version": told["VersionId"]}

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
        value, outputs = "", {"arn": told["ARN"]}
        if deployment:  # those of others are not read
            got = account.call("secretsmanager", "get_secret_value", SecretId=told["ARN"])
            value, outputs["version"] = got["SecretString"], got["VersionId"]
        body = {"deployment": deployment, "value": value}
        return Found(self.kind, told["Name"], body, deployment, outputs, frozenset({"version"}))


def secret(deployment: str, name: str) -> Resource:
    """The secret of a deployment with the value of one of the model's."""
    body = {"deployment": deployment, "value": SecretValue(name)}
    return Resource(Secret.kind, f"truss/{deployment}/{name}", body, "secretsmanager:CreateSecret")


def arn(deployment: str, name: str) -> Output:
    """Where the value is kept, which is known once the secret is there."""
    return Output(secret(deployment, name).key, "arn")


def may_read(release: Release) -> list[dict[str, Any]]:
    """What a role of a deployment has to be allowed, to read the model's secrets."""
    if not release.secrets:
        return []
    arns = [arn(release.name, one) for one in release.secrets]
    return [{"Effect": "Allow", "Action": ["secretsmanager:GetSecretValue"], "Resource": arns}]


def variables(release: Release) -> dict[str, Output]:
    """What tells copies where the values are, that have nothing but variables: see `runtime.stored_secrets`.

    Which version each has makes another value a change of theirs, so that they start anew and read it.
    """
    found = {}
    for place, name in release.stored_variables.items():
        found[place] = arn(release.name, name)
        version = place.replace("_SECRET_", "_VERSION_", 1)
        found[version] = Output(secret(release.name, name).key, "version")
    return found


def notes(release: Release, where: str) -> Iterator[str]:
    """What a person should know of secrets where copies have nothing but variables."""
    if release.secrets:
        names = ", ".join(release.secrets)
        yield (
            f"{where} has no secrets of its own: Secrets Manager keeps {names}, a variable says where, and "
            "the server reads the value when it starts, over the network, with the rights of its role"
        )


def _named(prefix: str) -> list[dict[str, Any]]:
    return [{"Key": "name", "Values": [prefix]}]

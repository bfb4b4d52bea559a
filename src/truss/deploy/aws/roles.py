"""IAM: what services may do in the account on a deployment's behalf."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from truss.deploy.aws import patience
from truss.deploy.aws.account import Account, marked, tags
from truss.deploy.aws.permissions import Right
from truss.deploy.plan import Resource
from truss.deploy.target import Found

_ABSENT = "NoSuchEntity"
INLINE = "truss"
_OURS = ("role/truss-*",)


class Role:
    """A role.

    https://docs.aws.amazon.com/IAM/latest/APIReference/
    """

    kind = "iam:role"
    rights = (
        Right(
            "iam",
            (
                "CreateRole",
                "DeleteRole",
                "DeleteRolePolicy",
                "DetachRolePolicy",
                "GetRole",
                "GetRolePolicy",
                "ListAttachedRolePolicies",
                "ListRoleTags",
                "TagRole",
            ),
            _OURS,
        ),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The role, with who may take it on and what it may do."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, then give it its rights."""
        made = account.call(
            "iam",
            "create_role",
            RoleName=resource.name,
            AssumeRolePolicyDocument=json.dumps(trust(resource.body["service"])),
            Tags=tags(resource.body["deployment"]),
        )
        outputs = {"arn": made["Role"]["Arn"]}
        return self.update(account, resource, Found(self.kind, resource.name, {}, outputs=outputs))

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it its rights, and take others away."""
        wanted, had = resource.body["policies"], found.body.get("policies", ())
        for arn in wanted:
            account.call("iam", "attach_role_policy", RoleName=resource.name, PolicyArn=arn)
        for arn in set(had) - set(wanted):
            account.gone("iam", "detach_role_policy", _ABSENT, RoleName=resource.name, PolicyArn=arn)
        if statements := resource.body["statements"]:
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            account.call(
                "iam", "put_role_policy", RoleName=resource.name, PolicyName=INLINE, PolicyDocument=document
            )
        elif found.body.get("statements"):
            account.gone("iam", "delete_role_policy", _ABSENT, RoleName=resource.name, PolicyName=INLINE)
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Take its rights away, then remove it."""
        for arn in found.body["policies"]:
            account.gone("iam", "detach_role_policy", _ABSENT, RoleName=found.name, PolicyArn=arn)
        account.gone("iam", "delete_role_policy", _ABSENT, RoleName=found.name, PolicyName=INLINE)
        account.gone("iam", "delete_role", _ABSENT, RoleName=found.name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """Those of the deployment's names that have its mark."""
        every = (self._named(account, role_name(deployment, use)) for use in USES)
        return [one for one in every if one is not None and one.deployment == deployment]

    def _named(self, account: Account, name: str) -> Found | None:
        role = account.get("iam", "get_role", "Role", _ABSENT, RoleName=name)
        if role is None:
            return None
        attached = account.listed("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=name)
        deployment = marked(account.call("iam", "list_role_tags", RoleName=name)["Tags"])
        body = {
            "deployment": deployment,
            "service": _trusted(role["AssumeRolePolicyDocument"]),
            "policies": sorted(one["PolicyArn"] for one in attached),
            "statements": _statements(account, name),
        }
        return Found(self.kind, name, body, deployment, {"arn": role["Arn"]})


def giving(service: str, policies: Sequence[str] = (), *, own: bool = False) -> tuple[Right, ...]:
    """What a target needs to let a service take on its roles, and to give these their rights.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_use_passrole.html

    Args:
        service: The service, as `ecs-tasks.amazonaws.com`.
        policies: The policies of AWS that the roles have.
        own: Whether they have rights of their own as well.
    """
    to = {"StringEquals": {"iam:PassedToService": service}}
    only = {"ArnEquals": {"iam:PolicyARN": list(policies)}}
    return (
        Right("iam", ("PassRole",), _OURS, to),
        *((Right("iam", ("AttachRolePolicy",), _OURS, only),) if policies else ()),
        *((Right("iam", ("PutRolePolicy",), _OURS),) if own else ()),
    )


def once_known(account: Account, service: str, operation: str, /, **arguments: Any) -> Any:
    """What an operation gives that uses a role; one that was just made is not known everywhere at once.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot.html#troubleshoot_general_eventual-consistency
    """
    return patience.in_time(account, service, operation, "assume", within=_KNOWN_WITHIN, **arguments)


_KNOWN_WITHIN = 60.0

USES = ("execution", "task", "machine", "model", "function")
"""What roles of deployments are for, as their names end."""


def role_name(deployment: str, use: str) -> str:
    """The name of a deployment's role."""
    return f"truss-{deployment}-{use}"


def role(
    deployment: str,
    use: str,
    service: str,
    policies: Sequence[str],
    statements: Sequence[Mapping[str, Any]] = (),
) -> Resource:
    """A role that a service takes on.

    Args:
        deployment: The deployment.
        use: What it is for: the end of its name.
        service: The service, as `ecs-tasks.amazonaws.com`.
        policies: Policies of AWS that it has.
        statements: Rights of its own.
    """
    body = {
        "deployment": deployment,
        "service": service,
        "policies": sorted(policies),
        "statements": [dict(one) for one in statements],
    }
    return Resource(Role.kind, role_name(deployment, use), body, "iam:CreateRole")


def _trusted(document: Any) -> str:
    """The service that may take a role on; empty: somebody else may, as of a role that is not ours."""
    match document:
        case {"Statement": [{"Principal": {"Service": str(service)}}]}:
            return service
    return ""


def _statements(account: Account, name: str) -> list[Any]:
    document = account.get(
        "iam", "get_role_policy", "PolicyDocument", _ABSENT, RoleName=name, PolicyName=INLINE
    )
    found: list[Any] = document["Statement"] if document else []
    return found


def trust(service: str) -> dict[str, Any]:
    """Who may take a role on."""
    statement = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}

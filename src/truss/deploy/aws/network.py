"""EC2's networks: where copies run, and who reaches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from truss.deploy.aws import patience
from truss.deploy.aws.account import Account, marked, tags
from truss.deploy.aws.permissions import MARKED, MARKING, Right
from truss.deploy.plan import Output, Resource
from truss.deploy.target import Found
from truss.errors import PlanError

_ABSENT = "InvalidGroup.NotFound"


class Network:
    """The network that an account has anyway, or subnets that the user names: looked up, never made.

    https://docs.aws.amazon.com/vpc/latest/userguide/default-vpc.html
    """

    kind = "ec2:network"
    rights = (Right("ec2", ("DescribeSubnets",)),)

    def find(self, account: Account, resource: Resource) -> Found | None:
        """Its network, its subnets in different zones, and the region they are in.

        Raises:
            PlanError: the account has no network of its own there.
        """
        named = list(resource.body["subnets"])
        wanted = {"SubnetIds": named} if named else {"Filters": DEFAULT_SUBNETS}
        told = account.call("ec2", "describe_subnets", **wanted)["Subnets"]
        if not told:
            raise PlanError(
                f"the account has no default network in {account.region_name}",
                where="--subnets",
                hint="name two or more subnets: --subnets subnet-1,subnet-2",
            )
        outputs = {
            "vpc": told[0]["VpcId"],
            "subnets": sorted(one["SubnetId"] for one in told),
            "region": account.region_name,
        }
        return Found(self.kind, resource.name, resource.body, outputs=outputs)


DESCRIPTION = "made by truss deploy"
_NETWORK = "default"
DEFAULT_SUBNETS = [{"Name": "default-for-az", "Values": ["true"]}]


class SecurityGroup:
    """Who reaches what is in it.

    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/
    """

    kind = "ec2:security-group"
    rights = (
        Right("ec2", ("DescribeSecurityGroups",)),
        Right("ec2", ("CreateSecurityGroup",), ("security-group/*",), MARKING),
        Right("ec2", ("CreateSecurityGroup",), ("vpc/*",)),
        Right(
            "ec2",
            ("CreateTags",),
            ("security-group/*",),
            {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}},
        ),
        Right(
            "ec2",
            ("AuthorizeSecurityGroupIngress", "DeleteSecurityGroup", "RevokeSecurityGroupIngress"),
            ("security-group/*",),
            MARKED,
        ),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The group of this name in its network."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it, and let in who may come."""
        marks = [{"ResourceType": "security-group", "Tags": tags(resource.body["deployment"])}]
        made = account.call(
            "ec2",
            "create_security_group",
            GroupName=resource.name,
            Description=DESCRIPTION,
            VpcId=resource.body["vpc"],
            TagSpecifications=marks,
        )
        found = Found(self.kind, resource.name, {}, outputs={"id": made["GroupId"]})
        return self.update(account, resource, found)

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Let in who may come, and nobody else."""
        group = found.outputs["id"]
        if found.body.get("from"):
            account.call(
                "ec2",
                "revoke_security_group_ingress",
                GroupId=group,
                IpPermissions=[_permission(found.body)],
            )
        account.call(
            "ec2",
            "authorize_security_group_ingress",
            GroupId=group,
            IpPermissions=[_permission(resource.body)],
        )
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it, when the last of what is in it is gone."""
        busy, group = "DependencyViolation", found.outputs["id"]
        patience.gone(account, "ec2", "delete_security_group", _ABSENT, busy, GroupId=group)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """Those of the deployment's names that have its mark; copies' first, which name the balancer's."""
        every = (self._named(account, group_name(deployment, use)) for use in ("copies", "balancer"))
        return [one for one in every if one is not None and one.deployment == deployment]

    def _named(self, account: Account, name: str) -> Found | None:
        wanted = [{"Name": "group-name", "Values": [name]}]
        told = account.first("ec2", "describe_security_groups", "SecurityGroups", Filters=wanted)
        if told is None:
            return None
        deployment = marked(told.get("Tags"))
        body = {"deployment": deployment, "vpc": told["VpcId"], **_ingress(told["IpPermissions"])}
        return Found(self.kind, name, body, deployment, {"id": told["GroupId"]})


def network(subnets: Sequence[str]) -> Resource:
    """The network that a deployment runs in: the account's own, or that of some subnets."""
    return Resource(Network.kind, _NETWORK, {"subnets": list(subnets)}, "ec2:DescribeSubnets")


def of_network(name: str) -> Output:
    """What is known of it when it is looked up: `vpc`, `subnets`, `region`."""
    return Output(f"{Network.kind}/{_NETWORK}", name)


def group_name(deployment: str, use: str) -> str:
    """The name of a deployment's group."""
    return f"truss-{deployment}-{use}"


def security_group(deployment: str, use: str, port: int, source: str | Output) -> Resource:
    """A group that lets in requests to a port.

    Args:
        deployment: The deployment.
        use: What it is for: the end of its name.
        port: The port.
        source: Who may come: a range of addresses, or another group.
    """
    body = {"deployment": deployment, "vpc": of_network("vpc"), "port": port, "from": source}
    return Resource(SecurityGroup.kind, group_name(deployment, use), body, "ec2:CreateSecurityGroup")


def _permission(body: Mapping[str, Any]) -> dict[str, Any]:
    port, source = body["port"], str(body["from"])
    whom = (
        {"UserIdGroupPairs": [{"GroupId": source}]}
        if source.startswith("sg-")
        else {"IpRanges": [{"CidrIp": source}]}
    )
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **whom}


def _ingress(permissions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    for one in permissions:
        sources = [pair["GroupId"] for pair in one.get("UserIdGroupPairs", ())]
        sources += [range_["CidrIp"] for range_ in one.get("IpRanges", ())]
        if sources:
            return {"port": one["FromPort"], "from": sources[0]}
    return {}

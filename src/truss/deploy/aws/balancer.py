"""Elastic Load Balancing: one address in front of a deployment's copies.

https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from truss.deploy.aws.account import Account, marked, tags
from truss.deploy.aws.network import SecurityGroup, group_name, of_network
from truss.deploy.aws.permissions import Right, service_linked
from truss.deploy.plan import Output, Resource
from truss.deploy.release import PORT, READY
from truss.deploy.target import Found

_SERVICE = "elbv2"
_IN_IAM = "elasticloadbalancing"
_NO_BALANCER = ("LoadBalancerNotFound", "LoadBalancerNotFoundException")
_NO_GROUP = ("TargetGroupNotFound", "TargetGroupNotFoundException")

LONGEST_NAME = 32


class LoadBalancer:
    """A balancer of HTTP."""

    kind = "elbv2:load-balancer"
    rights = (
        Right(_IN_IAM, ("DescribeLoadBalancerAttributes", "DescribeLoadBalancers", "DescribeTags")),
        Right(
            _IN_IAM,
            (
                "AddTags",
                "CreateLoadBalancer",
                "DeleteLoadBalancer",
                "ModifyLoadBalancerAttributes",
                "SetSecurityGroups",
                "SetSubnets",
            ),
            ("loadbalancer/app/truss-*/*",),
        ),
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-permissions.html
        Right(
            "ec2",
            (
                "DescribeAccountAttributes",
                "DescribeAddresses",
                "DescribeInternetGateways",
                "DescribeSecurityGroups",
                "DescribeSubnets",
                "DescribeVpcs",
            ),
        ),
        service_linked("elasticloadbalancing.amazonaws.com"),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        body = resource.body
        made = account.call(
            _SERVICE,
            "create_load_balancer",
            Name=resource.name,
            Type="application",
            Scheme=body["scheme"],
            Subnets=body["subnets"],
            SecurityGroups=body["security_groups"],
            Tags=tags(body["deployment"]),
        )["LoadBalancers"][0]
        self._patience(account, made["LoadBalancerArn"], body)
        return _outputs(made)

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Place it in other subnets or groups; who may reach it is decided when it is made."""
        body, arn = resource.body, found.outputs["arn"]
        account.call(_SERVICE, "set_subnets", LoadBalancerArn=arn, Subnets=body["subnets"])
        account.call(
            _SERVICE, "set_security_groups", LoadBalancerArn=arn, SecurityGroups=body["security_groups"]
        )
        self._patience(account, arn, body)
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it, and wait until its groups are free."""
        arn = found.outputs["arn"]
        account.gone(_SERVICE, "delete_load_balancer", *_NO_BALANCER, LoadBalancerArn=arn)
        what = f"the load balancer {found.name} to be gone"
        account.wait(_SERVICE, "load_balancers_deleted", what, LoadBalancerArns=[arn])

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, balancer_name(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _patience(self, account: Account, arn: str, body: Mapping[str, Any]) -> None:
        attributes = [{"Key": "idle_timeout.timeout_seconds", "Value": str(body["timeout"])}]
        account.call(_SERVICE, "modify_load_balancer_attributes", LoadBalancerArn=arn, Attributes=attributes)

    def _named(self, account: Account, name: str) -> Found | None:
        told = account.first(
            _SERVICE, "describe_load_balancers", "LoadBalancers", *_NO_BALANCER, Names=[name]
        )
        if told is None:
            return None
        arn = told["LoadBalancerArn"]
        attributes = account.call(_SERVICE, "describe_load_balancer_attributes", LoadBalancerArn=arn)
        timeout = _attribute(attributes["Attributes"], "idle_timeout.timeout_seconds")
        deployment = _mark(account, arn)
        body = {
            "deployment": deployment,
            # One that somebody made may have none, nor an address.
            "scheme": told.get("Scheme", ""),
            "subnets": sorted(zone["SubnetId"] for zone in told["AvailabilityZones"]),
            "security_groups": told.get("SecurityGroups", []),
            "timeout": int(timeout or 60),
        }
        return Found(self.kind, name, body, deployment, _outputs(told))


class TargetGroup:
    """The copies that get requests."""

    kind = "elbv2:target-group"
    rights = (
        Right(_IN_IAM, ("DescribeTags", "DescribeTargetGroupAttributes", "DescribeTargetGroups")),
        Right(
            _IN_IAM,
            (
                "AddTags",
                "CreateTargetGroup",
                "DeleteTargetGroup",
                "ModifyTargetGroup",
                "ModifyTargetGroupAttributes",
            ),
            ("targetgroup/truss-*/*",),
        ),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        body = resource.body
        made = account.call(
            _SERVICE,
            "create_target_group",
            Name=resource.name,
            Protocol="HTTP",
            Port=PORT,
            VpcId=body["vpc"],
            TargetType=body["targets"],
            Tags=tags(body["deployment"]),
            **health(body),
        )["TargetGroups"][0]
        arn = made["TargetGroupArn"]
        self._drain(account, arn, body)
        return {"arn": arn, "label": _label(arn)}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Change how its copies are looked at."""
        arn = found.outputs["arn"]
        account.call(_SERVICE, "modify_target_group", TargetGroupArn=arn, **health(resource.body))
        self._drain(account, arn, resource.body)
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it."""
        account.gone(_SERVICE, "delete_target_group", *_NO_GROUP, TargetGroupArn=found.outputs["arn"])

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, balancer_name(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _drain(self, account: Account, arn: str, body: Mapping[str, Any]) -> None:
        attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": str(body["drain"])}]
        account.call(_SERVICE, "modify_target_group_attributes", TargetGroupArn=arn, Attributes=attributes)

    def _named(self, account: Account, name: str) -> Found | None:
        told = account.first(_SERVICE, "describe_target_groups", "TargetGroups", *_NO_GROUP, Names=[name])
        if told is None:
            return None
        arn = told["TargetGroupArn"]
        attributes = account.call(_SERVICE, "describe_target_group_attributes", TargetGroupArn=arn)
        drain = _attribute(attributes["Attributes"], "deregistration_delay.timeout_seconds")
        deployment = _mark(account, arn)
        body = {
            "deployment": deployment,
            # One that somebody made may be of functions, or of connections.
            "vpc": told.get("VpcId", ""),
            "targets": told["TargetType"],
            "health": told.get("HealthCheckPath", ""),
            "drain": int(drain or 300),
        }
        return Found(self.kind, name, body, deployment, {"arn": arn, "label": _label(arn)})


class Listener:
    """What a balancer does with requests to a port."""

    kind = "elbv2:listener"
    rights = (
        Right(_IN_IAM, ("DescribeListeners", "DescribeTags")),
        Right(_IN_IAM, ("CreateListener",), ("loadbalancer/app/truss-*/*",)),
        Right(_IN_IAM, ("AddTags", "DeleteListener"), ("listener/app/truss-*/*/*",)),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one at its balancer."""
        balancer = resource.body["balancer"]
        return None if isinstance(balancer, Output) else self._at(account, balancer, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        body = resource.body
        secure = {"Certificates": [{"CertificateArn": body["certificate"]}]} if body["certificate"] else {}
        made = account.call(
            _SERVICE,
            "create_listener",
            LoadBalancerArn=body["balancer"],
            Protocol="HTTPS" if secure else "HTTP",
            Port=body["port"],
            DefaultActions=[{"Type": "forward", "TargetGroupArn": body["targets"]}],
            Tags=tags(body["deployment"]),
            **secure,
        )
        return {"arn": made["Listeners"][0]["ListenerArn"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Make it anew: what it listens for cannot be changed half."""
        self.delete(account, found)
        return self.create(account, resource)

    def delete(self, account: Account, found: Found) -> None:
        """Remove it."""
        account.gone(_SERVICE, "delete_listener", "ListenerNotFound", ListenerArn=found.outputs["arn"])

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one at the deployment's balancer."""
        balancers = LoadBalancer().owned(account, deployment)
        every = [self._at(account, one.outputs["arn"], deployment) for one in balancers]
        return [one for one in every if one is not None and one.deployment == deployment]

    def _at(self, account: Account, balancer: str, name: str) -> Found | None:
        told = account.first(
            _SERVICE, "describe_listeners", "Listeners", *_NO_BALANCER, LoadBalancerArn=balancer
        )
        if told is None:
            return None
        deployment = _mark(account, told["ListenerArn"])
        certificates = told.get("Certificates") or [{"CertificateArn": ""}]
        body = {
            "deployment": deployment,
            "balancer": balancer,
            "port": told["Port"],
            "certificate": certificates[0]["CertificateArn"],
            "targets": told["DefaultActions"][0]["TargetGroupArn"],
        }
        return Found(self.kind, name, body, deployment, {"arn": told["ListenerArn"]})


def balancer_name(deployment: str) -> str:
    """The name of a deployment's balancer and of its target group, which may have 32 characters."""
    return f"truss-{deployment}"[:LONGEST_NAME].rstrip("-")


def balanced(
    deployment: str, *, internal: bool, certificate: str, timeout: int, drain: int, targets: str
) -> tuple[Resource, Resource, Resource]:
    """A balancer, its target group, and what it listens for.

    Args:
        deployment: The deployment.
        internal: Whether it is reached from its network only.
        certificate: The certificate of its name; empty: it speaks plain HTTP.
        timeout: Seconds that an answer may take.
        drain: Seconds that a copy which stops still gets answers through.
        targets: What its copies are: `ip` or `instance`.
    """
    name = balancer_name(deployment)
    group = Output(f"{SecurityGroup.kind}/{group_name(deployment, 'balancer')}", "id")
    balancer = {
        "deployment": deployment,
        "scheme": "internal" if internal else "internet-facing",
        "subnets": of_network("subnets"),
        "security_groups": [group],
        "timeout": timeout,
    }
    copies = {
        "deployment": deployment,
        "vpc": of_network("vpc"),
        "targets": targets,
        "health": READY,
        "drain": drain,
    }
    listener = {
        "deployment": deployment,
        "balancer": Output(f"{LoadBalancer.kind}/{name}", "arn"),
        "port": 443 if certificate else 80,
        "certificate": certificate,
        "targets": Output(f"{TargetGroup.kind}/{name}", "arn"),
    }
    return (
        Resource(LoadBalancer.kind, name, balancer, "elbv2:CreateLoadBalancer"),
        Resource(TargetGroup.kind, name, copies, "elbv2:CreateTargetGroup"),
        Resource(Listener.kind, deployment, listener, "elbv2:CreateListener"),
    )


def metric_label(deployment: str) -> tuple[Output, Output]:
    """What the metric of a deployment's requests is told to count at."""
    name = balancer_name(deployment)
    kinds = (LoadBalancer.kind, TargetGroup.kind)
    return Output(f"{kinds[0]}/{name}", "label"), Output(f"{kinds[1]}/{name}", "label")


def health(body: Mapping[str, Any]) -> dict[str, Any]:
    """How a balancer looks whether copies can answer."""
    return {
        "HealthCheckPath": body["health"],
        "HealthCheckIntervalSeconds": 10,
        "HealthCheckTimeoutSeconds": 5,
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 3,
        "Matcher": {"HttpCode": "200"},
    }


def _outputs(told: Mapping[str, Any]) -> dict[str, Any]:
    arn = told["LoadBalancerArn"]
    return {"arn": arn, "address": told.get("DNSName", ""), "label": arn.partition(":loadbalancer/")[2]}


def _label(arn: str) -> str:
    """What metrics call a target group."""
    return arn.rpartition(":")[2]


def _attribute(attributes: Sequence[Mapping[str, str]], name: str) -> str:
    return next((one["Value"] for one in attributes if one["Key"] == name), "")


def _mark(account: Account, arn: str) -> str:
    told = account.call(_SERVICE, "describe_tags", ResourceArns=[arn])["TagDescriptions"]
    return marked(told[0]["Tags"]) if told else ""

"""Application Auto Scaling: how many copies there are.

https://docs.aws.amazon.com/autoscaling/application/APIReference/
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from truss.deploy.aws.account import Account
from truss.deploy.aws.permissions import Right, service_linked
from truss.deploy.plan import Output, Resource
from truss.deploy.target import Found

_SERVICE = "application-autoscaling"
_ABSENT = "ObjectNotFoundException"
POLICY = "truss"

KIND = "application-autoscaling:target"


@dataclass(frozen=True)
class Scaling:
    """The least and the most number of copies, and how many requests a minute each has.

    Attributes:
        namespace: The service that runs the copies.
        dimension: What of it is scaled.
        metric: What tells how many requests a copy has.
        resource_id: The scaled thing's identifier, after the deployment's name.
        is_ours: Whether what is scaled was made for a deployment: it carries the mark, this cannot.
    """

    namespace: str
    dimension: str
    metric: str
    resource_id: Callable[[str], str]
    is_ours: Callable[[Account, str], bool]
    kind: str = KIND

    @property
    def rights(self) -> Sequence[Right]:
        """For the copies' number, and for the alarms by which the service changes it.

        https://docs.aws.amazon.com/autoscaling/application/userguide/security_iam_id-based-policy-examples.html
        """
        actions = (
            "DeleteScalingPolicy",
            "DeregisterScalableTarget",
            "PutScalingPolicy",
            "RegisterScalableTarget",
        )
        only = {"StringEquals": {f"{_SERVICE}:service-namespace": self.namespace}}
        return (
            Right(_SERVICE, ("DescribeScalableTargets", "DescribeScalingPolicies")),
            Right(_SERVICE, actions, ("scalable-target/*",), only),
            Right("cloudwatch", ("DescribeAlarms",), ("alarm:*",)),
            Right("cloudwatch", ("DeleteAlarms", "PutMetricAlarm"), ("alarm:TargetTracking-*",)),
            service_linked(f"{self.namespace}.application-autoscaling.amazonaws.com"),
        )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """What is registered for the deployment."""
        return self._of(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Register it."""
        body, which = resource.body, self.which(resource.name)
        least, most = body["least"], body["most"]
        account.call(_SERVICE, "register_scalable_target", **which, MinCapacity=least, MaxCapacity=most)
        metric = {"PredefinedMetricType": self.metric}
        if body["label"]:
            metric["ResourceLabel"] = "/".join(body["label"])
        account.call(
            _SERVICE,
            "put_scaling_policy",
            **which,
            PolicyName=POLICY,
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": float(body["requests_a_minute"]),
                "PredefinedMetricSpecification": metric,
            },
        )
        return {}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as every kind
        """Register it anew, which changes it."""
        return self.create(account, resource)

    def delete(self, account: Account, found: Found) -> None:
        """Take it back."""
        which = self.which(found.name)
        account.gone(_SERVICE, "delete_scaling_policy", _ABSENT, **which, PolicyName=POLICY)
        account.gone(_SERVICE, "deregister_scalable_target", _ABSENT, **which)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """What is registered for a deployment that is ours."""
        found = self._of(account, deployment) if self.is_ours(account, deployment) else None
        return [found] if found is not None else []

    def _of(self, account: Account, name: str) -> Found | None:
        which = self.which(name)
        space, identifier = which["ServiceNamespace"], which["ResourceId"]
        told = account.first(
            _SERVICE,
            "describe_scalable_targets",
            "ScalableTargets",
            ServiceNamespace=space,
            ResourceIds=[identifier],
        )
        if told is None:
            return None
        policy = account.first(
            _SERVICE,
            "describe_scaling_policies",
            "ScalingPolicies",
            ServiceNamespace=space,
            ResourceId=identifier,
        )
        tracked = (policy or {}).get("TargetTrackingScalingPolicyConfiguration", {})
        label = tracked.get("PredefinedMetricSpecification", {}).get("ResourceLabel", "")
        deployment = name if self.is_ours(account, name) else ""
        body = {
            "deployment": deployment,
            "least": told["MinCapacity"],
            "most": told["MaxCapacity"],
            "requests_a_minute": int(tracked.get("TargetValue", 0)),
            "label": _parts(label),
        }
        return Found(self.kind, name, body, deployment)

    def which(self, deployment: str) -> dict[str, str]:
        """What is scaled, as each call names it."""
        return {
            "ServiceNamespace": self.namespace,
            "ResourceId": self.resource_id(deployment),
            "ScalableDimension": self.dimension,
        }


def scaling(
    deployment: str, *, least: int, most: int, requests_a_minute: int, label: Sequence[Output] = ()
) -> Resource:
    """How many copies of a deployment there are.

    Args:
        deployment: The deployment.
        least: How many there are at least.
        most: How many there are at most.
        requests_a_minute: At a copy, above which there are more.
        label: What the metric is told to count at, in two parts: a balancer and its target group.
    """
    body = {
        "deployment": deployment,
        "least": least,
        "most": most,
        "requests_a_minute": requests_a_minute,
        "label": list(label),
    }
    return Resource(KIND, deployment, body, f"{_SERVICE}:RegisterScalableTarget")


def _parts(label: str) -> list[str]:
    """The label's parts, `app/NAME/ID` of a balancer and `targetgroup/NAME/ID`."""
    if not label:
        return []
    balancer, _, group = label.partition("/targetgroup/")
    return [balancer, f"targetgroup/{group}"]

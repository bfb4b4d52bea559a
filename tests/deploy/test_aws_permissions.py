"""The policies of `truss targets ecs --permissions`, held against AWS's reference and against what is called.

The calls are those that a deployment's whole life makes to moto's server; test_aws.py holds its own against
the policies as well. That AWS itself wants nothing more, this does not show: see aws_calls.py.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from aws_calls import REGION, Call, Watched, arn, details, reference, refused, resource_types
from aws_server import aws, reset

from truss.config import parse_config
from truss.deploy import Plan, Release, apply, destroy, read_options, target_named
from truss.deploy.aws.capacity import capacity_name
from truss.deploy.aws.ecs import EcsPlatform
from truss.deploy.aws.functions import LambdaPlatform
from truss.deploy.aws.repositories import PUSHING
from truss.deploy.aws.sagemaker import SageMakerPlatform
from truss.errors import DeployError

TARGETS = ("ecs", "sagemaker", "lambda")
PLATFORMS = {"ecs": EcsPlatform, "sagemaker": SageMakerPlatform, "lambda": LambdaPlatform}

# Plans of a first deployment, and of one that changes whatever can be changed.
FIRST = {
    "ecs": {"max_copies": 3},
    "sagemaker": {"max_copies": 2},
    "lambda": {"public": True, "most_at_once": 5},
}
THEN = {
    "ecs": {"max_copies": 4, "timeout": 60, "reachable_from": "10.0.0.0/8"},
    "sagemaker": {"max_copies": 3},
    "lambda": {},
}
# And of one that changes the machines that the second has made.
LAST = {"max_copies": 6, "disk": 200}
# And of one that is asked in another way.
ASKED_OTHERWISE = {"sagemaker": {"mode": "asynchronous", "answers": "s3://answers/iris"}}

PUSHED = {f"ecr:{action}": "the registry's client asks for it when it pushes" for action in PUSHING}
SCALED = {
    f"cloudwatch:{action}": "Application Auto Scaling asks whether whoever sets it up may do it"
    for action in ("DeleteAlarms", "DescribeAlarms", "PutMetricAlarm")
}
SERVICE_LINKED = {
    "iam:CreateServiceLinkedRole": "AWS makes the role when a service is used for the first time"
}
BALANCED = {
    f"ec2:{action}": "Elastic Load Balancing asks whether whoever makes a balancer may do it"
    for action in (
        "DescribeAccountAttributes",
        "DescribeAddresses",
        "DescribeInternetGateways",
        "DescribeVpcs",
    )
}
STARTED = dict.fromkeys(
    ("ec2:RunInstances", "ssm:GetParameters"),
    "AWS asks whether whoever makes the group of machines may start what its template says",
)
NOT_CALLED: Mapping[str, Mapping[str, str]] = {
    "ecs": {**PUSHED, **SCALED, **SERVICE_LINKED, **BALANCED, **STARTED},
    "sagemaker": {
        **PUSHED,
        **SCALED,
        **SERVICE_LINKED,
        "sagemaker:UpdateEndpointWeightsAndCapacities": "as the alarms",
    },
    "lambda": {
        **PUSHED,
        "lambda:ListTags": "else GetFunction leaves out the tags",
        "ecr:DeleteRepositoryPolicy": "only the others have nobody read a repository of the same name",
    },
}

ELSEWHERE = frozenset({("iam:PassedToService", "codebuild.amazonaws.com")})
EVERYTHING = frozenset({("s3:prefix", "")})
ALL = frozenset({("iam:PolicyARN", "arn:aws:iam::aws:policy/AdministratorAccess")})

LONGEST = 10_240
"""Of a policy that is kept by itself, white space apart.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


def policy(name: str) -> Any:
    target: Any = target_named(name)
    return json.loads(target.permissions().text)


def planned(name: str, digit: str, config: str, options: Mapping[str, Any]) -> Plan:
    target = target_named(name)
    release = Release("iris", f"registry.example.com/iris@sha256:{digit * 64}", parse_config(config))
    return target.plan(release, read_options(target, options))


def others(name: str) -> None:
    """What is in the account besides, and what somebody did to what is ours."""
    import boto3

    if name == "ecs":
        boto3.client("ecs").create_cluster(clusterName="theirs")
        boto3.client("ecs").create_cluster(clusterName="not-truss-iris")
    role = {"ecs": "task", "sagemaker": "model", "lambda": "function"}[name]
    policy = "AmazonECSTaskExecutionRolePolicy" if name == "lambda" else "AWSLambdaBasicExecutionRole"
    boto3.client("iam").attach_role_policy(
        RoleName=f"truss-iris-{role}", PolicyArn=f"arn:aws:iam::aws:policy/service-role/{policy}"
    )
    reader = {
        "Effect": "Allow",
        "Principal": {"Service": "example.amazonaws.com"},
        "Action": "ecr:BatchGetImage",
    }
    text = json.dumps({"Version": "2012-10-17", "Statement": [reader]})
    boto3.client("ecr").set_repository_policy(repositoryName=f"truss/{name}/iris", policyText=text)


def bucket() -> None:
    """The one that an asynchronous endpoint puts answers into."""
    import boto3

    where = {"LocationConstraint": REGION}
    boto3.client("s3").create_bucket(Bucket="answers", CreateBucketConfiguration=where)


def scaled_otherwise() -> None:
    """What somebody did to the capacity provider."""
    import boto3

    boto3.client("ecs").update_capacity_provider(
        name=capacity_name("iris"),
        autoScalingGroupProvider={"managedScaling": {"status": "ENABLED", "targetCapacity": 50}},
    )


@pytest.mark.parametrize("name", TARGETS)
def test_a_policy_allows_what_a_deployment_calls_and_nothing_else(name, server):
    reset(server)
    account = Watched(region=REGION)
    platform = PLATFORMS[name](account)
    first = planned(name, "1", "secrets: {api-key: null}", FIRST[name])
    apply(first, platform, {"api-key": "s3cret"})
    others(name)
    gpu = "resources: {accelerator: T4}\n" if name != "lambda" else ""
    config = f"secrets: {{api-key: null}}\n{gpu}runtime: {{timeouts: {{grace: 7}}}}"
    apply(planned(name, "2", config, THEN[name]), platform, {"api-key": "another"})
    if name == "ecs":
        config = config.replace("T4", "L4")
        scaled_otherwise()
        apply(planned(name, "3", config, {**THEN[name], **LAST}), platform, {"api-key": "another"})
    assert platform.deployments()
    assert platform.status("iris") is not None
    assert list(platform.logs("iris")) == []
    platform.roll_back("iris", platform.revisions("iris")[0])
    assert platform.login().password
    assert platform.storage("iris").repository
    with contextlib.suppress(DeployError):  # nothing runs there
        platform.ask("iris", b"{}")
    destroy("iris", platform)
    if name in ASKED_OTHERWISE:
        bucket()
        apply(planned(name, "4", "", ASKED_OTHERWISE[name]), platform, {})
        platform.ask("iris", b"{}")
        destroy("iris", platform)

    assert not refused(account.calls, policy(name))
    allowed = {action for statement in policy(name)["Statement"] for action in statement["Action"]}
    rest = allowed - {call.action for call in account.calls}
    assert (sorted(rest - NOT_CALLED[name].keys()), sorted(NOT_CALLED[name].keys() - rest)) == ([], [])


@pytest.mark.parametrize("name", TARGETS)
def test_a_policy_is_one_that_aws_takes(name):
    """Every action is there, can be restricted to what it is restricted to, and by what."""
    for statement in policy(name)["Statement"]:
        for action in statement["Action"]:
            types = resource_types(action)
            if statement["Resource"] == ["*"]:
                assert not types, f"{action} can be restricted to {set(types)}"
            else:
                fits = [one for one in statement["Resource"] if any(t.fullmatch(one) for t in types.values())]
                assert fits, f"{action} can only be restricted to {set(types)}"
            keys = {key for one in statement.get("Condition", {}).values() for key in one}
            assert {re.sub(r"(Tag/).*", r"\1${TagKey}", key) for key in keys} <= conditions(action)
    text = json.dumps(policy(name))
    assert len(re.sub(r"\s", "", text)) <= LONGEST


def conditions(action: str) -> set[str]:
    """What an action can be restricted by."""
    told = details(action)
    service = action.partition(":")[0]
    kinds = [
        reference().resources.get_resource_type_details(service, one["name"]) for one in told["resourceTypes"]
    ]
    every = (told, *told["resourceTypes"], *kinds)
    return {key for one in every for key in one.get("conditionKeys", ())}


@pytest.mark.parametrize(
    ("name", "call"),
    [
        # Security groups have no names there: their mark alone tells whose they are.
        ("ecs", Call("ec2:DeleteSecurityGroup", arn("ec2", "security-group/sg-1"))),
        ("ecs", Call("ec2:CreateTags", arn("ec2", "security-group/sg-1"))),
        ("ecs", Call("ecs:TagResource", arn("ecs", "task-definition/theirs:1"))),
        ("ecs", Call("ecs:DeleteService", arn("ecs", "service/theirs/iris"))),
        ("sagemaker", Call("sagemaker:DeleteEndpoint", arn("sagemaker", "endpoint/theirs"))),
        ("sagemaker", Call("s3:GetObject", arn("s3", "answers/theirs.json"))),
        ("sagemaker", Call("s3:ListBucket", arn("s3", "answers"), EVERYTHING)),
        ("lambda", Call("lambda:DeleteFunction", arn("lambda", "function:theirs"))),
        *((name, Call("ecr:DeleteRepository", arn("ecr", "repository/theirs"))) for name in TARGETS),
        *((name, Call("iam:PassRole", arn("iam", "role/truss-iris-task"), ELSEWHERE)) for name in TARGETS),
        *((name, Call("iam:AttachRolePolicy", arn("iam", "role/truss-iris-task"), ALL)) for name in TARGETS),
    ],
    ids=lambda value: value if isinstance(value, str) else value.action,
)
def test_what_belongs_to_others_is_not_allowed(name, call):
    assert refused([call], policy(name)) == [call]

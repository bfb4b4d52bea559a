"""What AWS refuses, at the command line: a limit of the account, a right that is missing.

The refusals are AWS's own names and forms over HTTP, before moto's server (see refusing_server.py); that AWS
refuses in these cases, and in no others, this does not show.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_server import aws, reset
from refusing_server import Refusal, refusing

from truss.cli import main

CONFIG = "model_name: iris\nsecrets: {api-key: null}\n"
IMAGE = f"registry.example.com/iris@sha256:{'1' * 64}"

LIMITS = [
    ("ecs", "CreateCluster", "ClusterLimitExceededException", "You have reached 10000 clusters."),
    ("ecs", "CreateService", "ServiceQuotaExceededException", "You have reached 5000 services."),
    ("ecs", "CreateLoadBalancer", "TooManyLoadBalancers", "You have reached 50 load balancers."),
    ("ecs", "CreateSecurityGroup", "SecurityGroupLimitExceeded", "You have reached 2500 groups."),
    ("ecs", "CreateListener", "TargetGroupAssociationLimit", "You have reached 100 groups."),
    ("ecs", "CreateRole", "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000"),
    ("ecs", "CreateSecret", "LimitExceededException", "You have reached 500000 secrets."),
    ("ecs gpu", "CreateAutoScalingGroup", "LimitExceeded", "You have reached 500 groups."),
    ("sagemaker", "CreateEndpoint", "ResourceLimitExceeded", "'ml.m5.xlarge for endpoint usage' is 0."),
    ("sagemaker", "CreateLogGroup", "LimitExceededException", "Resource limit exceeded."),
    ("lambda", "POST /2015-03-31/functions", "CodeStorageExceededException", "Code storage limit exceeded."),
    (
        "lambda",
        "PUT /2017-10-31/functions/truss-iris/concurrency",
        "InvalidParameterValueException",
        "Specified ReservedConcurrentExecutions for function decreases account's"
        " UnreservedConcurrentExecution below its minimum value of [100].",
    ),
    ("lambda", "CreateRole", "LimitExceeded", "Cannot exceed quota for RolesPerAccount: 1000"),
]

_DENIED = "User: arn:aws:iam::123456789012:user/me is not authorized to perform: "
RIGHTS = [
    ("ecs", "CreateCluster", "AccessDeniedException", f"{_DENIED}ecs:CreateCluster"),
    ("ecs", "CreateService", "AccessDeniedException", f"{_DENIED}ecs:CreateService"),
    ("ecs", "CreateSecurityGroup", "UnauthorizedOperation", "You are not authorized to perform this."),
    ("ecs", "CreateTargetGroup", "AccessDenied", f"{_DENIED}elasticloadbalancing:CreateTargetGroup"),
    ("ecs", "AttachRolePolicy", "AccessDenied", f"{_DENIED}iam:AttachRolePolicy"),
    ("ecs gpu", "AddRoleToInstanceProfile", "AccessDenied", f"{_DENIED}iam:PassRole"),
    ("ecs gpu", "PutClusterCapacityProviders", "AccessDeniedException", f"{_DENIED}ecs:PutCluster"),
    ("sagemaker", "CreateModel", "AccessDeniedException", f"{_DENIED}sagemaker:CreateModel"),
    ("sagemaker", "CreateEndpoint", "AccessDeniedException", f"{_DENIED}sagemaker:CreateEndpoint"),
    ("lambda", "POST /2015-03-31/functions", "AccessDeniedException", f"{_DENIED}lambda:CreateFunction"),
    (
        "lambda",
        "POST /2021-10-31/functions/truss-iris/url",
        "AccessDeniedException",
        f"{_DENIED}lambda:CreateFunctionUrlConfig",
    ),
]

GPU = "resources: {accelerator: T4}\n"
"""What a config says besides where the name of a target is followed by `gpu`."""

WORDS = {"ecs": ("--max-copies", "2"), "sagemaker": (), "lambda": ("--most-at-once", "5")}

PASSES = {
    "deploy": [("CreateAutoScalingGroup", "ValidationError", "Invalid IAM Instance Profile name")],
    "destroy": [
        ("PutClusterCapacityProviders", "ResourceInUseException", "The capacity provider is in use."),
        ("DeleteCluster", "ClusterContainsContainerInstancesException", "The cluster has instances."),
        ("DeleteSecurityGroup", "DependencyViolation", "resource sg-1 has a dependent object"),
    ],
}
"""What AWS refuses for a while, as each command meets it."""

Run = Callable[..., Any]


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


@pytest.fixture
def run(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run `truss WORDS...` about a Truss, in an empty account; gives the exit code, and what was said."""
    reset(server)
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path))
    monkeypatch.setenv("TRUSS_SECRET_api-key", "s3cret")
    folder = tmp_path / "iris"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "model.py").write_text(
        "class Model:\n    def predict(self, request):\n        return 1\n"
    )

    def run(command: str, where: str, *words: str, through: str = server) -> tuple[int, Any, str]:
        name, _, gpu = where.partition(" ")
        (folder / "config.yaml").write_text(CONFIG + (GPU if gpu else ""))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_ENDPOINT_URL", through)
            status = main([command, str(folder), "--to", name, "--yes", "--json", *words])
        ran = capsys.readouterr()
        assert "Traceback" not in ran.err
        assert "s3cret" not in ran.out + ran.err
        return status, json.loads(ran.out), ran.err

    return run


def deploy(run: Run, name: str, **options: str) -> tuple[int, Any, str]:
    words = WORDS[name.partition(" ")[0]]
    return run("deploy", name, "--image", IMAGE, "--no-wait", *words, **options)  # type: ignore[no-any-return]


def steps(said: str, verb: str) -> set[str]:
    """What it was told to have done, `Making` for example."""
    return {line.partition(" ")[2] for line in said.splitlines() if line.startswith(f"{verb} ")}


@pytest.mark.parametrize(
    ("name", "operation", "code", "message", "kind", "hint"),
    [
        *((*one, "quota", "ask for a higher limit") for one in LIMITS),
        *((*one, "platform_auth", "the guide lists the rights") for one in RIGHTS),
    ],
    ids=[f"{name}-{what.rpartition('/')[2]}-{code}" for name, what, code, _ in (*LIMITS, *RIGHTS)],
)
def test_what_is_refused_is_said_and_gone_on_with(name, operation, code, message, kind, hint, run, server):
    import boto3

    roles = boto3.client("iam")
    roles.create_role(RoleName="truss-other-task", AssumeRolePolicyDocument="{}")
    with refusing(server, Refusal(operation, code, message)) as url:
        status, told, said = deploy(run, name, through=url)
    assert status == 1
    assert told["error"]["type"] == kind
    assert message in told["error"]["message"]
    assert "AWS refuses" in told["error"]["message"]
    assert hint in told["error"]["hint"]
    assert not steps(said, "Removing")

    status, told, again = deploy(run, name)
    assert status == 0, told
    assert not steps(again, "Removing")
    made, twice = steps(said, "Making"), steps(said, "Making") & steps(again, "Making")
    assert len(twice) <= 1, f"of {made} only what was refused is made again"
    status, told, quiet = deploy(run, name)
    assert not steps(quiet, "Making") | steps(quiet, "Changing")

    assert run("destroy", name)[0] == 0
    assert [role["RoleName"] for role in roles.list_roles()["Roles"]] == ["truss-other-task"]


def test_what_is_refused_for_a_while_is_waited_for(run, server):
    """Once each, here; that AWS refuses for so long and in these words, this does not show."""
    words = {"deploy": ("--image", IMAGE, "--no-wait")}
    for command, refusals in PASSES.items():
        with contextlib.ExitStack() as stack:
            url = server
            for one in refusals:
                url = stack.enter_context(refusing(url, Refusal(*one, once=True)))
            status, told, _ = run(command, "ecs gpu", *words.get(command, ()), through=url)
            assert status == 0, told

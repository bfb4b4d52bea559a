"""What AWS refuses, at the command line: a limit, credentials, a right, a name; and what fails there.

The refusals are AWS's own names and forms over HTTP, before moto's server (see refusing_server.py); that AWS
refuses in these cases, and in no others, this does not show.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_server import aws, reset
from refusing_server import Refusal, refusing

from truss.cli import main
from truss.deploy.aws.account import Account
from truss.errors import DeployError, PlatformAuthError, QuotaError

CONFIG = "model_name: iris\nsecrets: {api-key: null}\n"
IMAGE = f"registry.example.com/iris@sha256:{'1' * 64}"
BROKEN = IMAGE.replace("1", "0")
"""An image that Lambda cannot start: see moto_server.py."""

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

_INVALID = "The security token included in the request is invalid."
_EXPIRED = "The security token included in the request is expired"
_MISMATCH = "The request signature we calculated does not match the signature you provided."
_FUNCTION = "GET /2015-03-31/functions/truss-iris"
# In the words of https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html; the
# protocols of ECS, IAM and EC2 differ in the names.
CREDENTIALS = [
    ("ecs", "DescribeClusters", "UnrecognizedClientException", _INVALID),
    ("ecs", "DescribeServices", "ExpiredTokenException", _EXPIRED),
    ("ecs", "GetRole", "SignatureDoesNotMatch", _MISMATCH),
    ("ecs", "DescribeSecurityGroups", "AuthFailure", "AWS was not able to validate the credentials."),
    ("sagemaker", "ListEndpoints", "UnrecognizedClientException", _INVALID),
    ("sagemaker", "ListModels", "InvalidSignatureException", _MISMATCH),
    ("sagemaker", "ListEndpoints", "ExpiredTokenException", _EXPIRED),
    ("sagemaker", "GetRole", "ExpiredToken", _EXPIRED),
    ("lambda", _FUNCTION, "UnrecognizedClientException", _INVALID),
    ("lambda", _FUNCTION, "InvalidSignatureException", _MISMATCH),
    ("lambda", _FUNCTION, "ExpiredTokenException", _EXPIRED),
    ("lambda", "GetRole", "InvalidClientTokenId", _INVALID),
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


LIMIT = ("quota", "ask for a higher limit")
RIGHT = ("platform_auth", "prints the policy")
MIDWAY = [*((*one, *LIMIT) for one in LIMITS), *((*one, *RIGHT) for one in RIGHTS)]

ONE_OF_A_KIND = [
    ("ecs", "CreateSecurityGroup", "SecurityGroupLimitExceeded"),
    ("ecs", "CreateListener", "TargetGroupAssociationLimit"),
    ("ecs", "CreateService", "AccessDeniedException"),
    ("ecs gpu", "CreateAutoScalingGroup", "LimitExceeded"),
    ("sagemaker", "CreateEndpoint", "ResourceLimitExceeded"),
    ("lambda", "POST /2015-03-31/functions", "AccessDeniedException"),
    ("lambda", "PUT /2017-10-31/functions/truss-iris/concurrency", "InvalidParameterValueException"),
]
"""Of each form that AWS's services speak, and each target, one that a deployment goes on after."""


def named(one: tuple[str, ...]) -> str:
    return f"{one[0]}-{one[1].rpartition('/')[2]}-{one[2]}"


@pytest.mark.parametrize(
    ("code", "message", "kind"),
    sorted({(code, message, kind) for _, _, code, message, kind, _ in MIDWAY}),
    ids=lambda value: value.rpartition(" ")[2],
)
def test_a_refusal_is_a_limit_or_a_want_of_a_right(code, message, kind, server, monkeypatch):
    with refusing(server, Refusal("GetCallerIdentity", code, message)) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(DeployError, match=re.escape(message)) as caught:
            assert Account().number
    assert type(caught.value) is {"quota": QuotaError, "platform_auth": PlatformAuthError}[kind]


@pytest.mark.parametrize(
    ("name", "operation", "code", "message"), CREDENTIALS, ids=[named(one) for one in CREDENTIALS]
)
def test_wrong_credentials_are_said_and_nothing_is_made(name, operation, code, message, run, server):
    with refusing(server, Refusal(operation, code, message)) as url:
        status, told, said = deploy(run, name, through=url)
    assert status == 1
    check(told, message, "platform_auth", "log in with `aws sso login`")
    assert not steps(said, "Making")


@pytest.mark.parametrize(
    ("name", "operation", "code", "message", "kind", "hint"),
    [
        # The others stand in the same forms, and are told apart by what the test above shows.
        pytest.param(*one, id=named(one), marks=() if one[:3] in ONE_OF_A_KIND else pytest.mark.thorough)
        for one in MIDWAY
    ],
)
def test_what_is_refused_midway_is_gone_on_with(name, operation, code, message, kind, hint, run, server):
    import boto3

    roles = boto3.client("iam")
    roles.create_role(RoleName="truss-other-task", AssumeRolePolicyDocument="{}")
    with refusing(server, Refusal(operation, code, message)) as url:
        status, told, said = deploy(run, name, through=url)
    assert status == 1
    check(told, message, kind, hint)
    assert not steps(said, "Removing")

    status, told, again = deploy(run, name)
    assert status == 0, told
    assert not steps(again, "Removing")
    made, twice = steps(said, "Making"), steps(said, "Making") & steps(again, "Making")
    assert len(twice) <= 1, f"of {made} only what was refused is made again"

    assert run("destroy", name)[0] == 0
    assert [role["RoleName"] for role in roles.list_roles()["Roles"]] == ["truss-other-task"]


def check(told: Any, message: str, kind: str, hint: str) -> None:
    """Hold what a command said against what AWS refused."""
    assert told["error"]["type"] == kind
    assert message in told["error"]["message"]
    assert "AWS refuses" in told["error"]["message"]
    assert hint in told["error"]["hint"]


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


def test_a_function_that_fails_to_start_is_made_anew(run):
    """Lambda changes none that failed: https://docs.aws.amazon.com/lambda/latest/dg/functions-states.html."""
    import boto3

    words = ("--no-wait", *WORDS["lambda"])
    for _ in range(2):
        status, told, _ = run("deploy", "lambda", "--image", BROKEN, *words)
        assert status == 1, told
        assert told["error"]["type"] == "deploy"
        assert told["error"]["where"] == "lambda:function/truss-iris"
        assert "waited for the function truss-iris to start in vain" in told["error"]["message"]
        assert "State Failed, StateReason The image cannot be read." in told["error"]["message"]
        assert "mend what AWS names" in told["error"]["hint"]

    status, told, said = run("deploy", "lambda", "--image", IMAGE, *words)
    assert (status, told["state"], told["image"]) == (0, "healthy", IMAGE)
    assert "lambda:function/truss-iris" in steps(said, "Changing")
    limit = boto3.client("lambda").get_function_concurrency(FunctionName="truss-iris")
    assert limit["ReservedConcurrentExecutions"] == 5
    assert not steps(run("deploy", "lambda", "--image", IMAGE, *words)[2], "Changing")


def test_a_change_that_a_function_does_not_take_is_said(run):
    assert deploy(run, "lambda")[0] == 0
    status, told, _ = run("deploy", "lambda", "--image", BROKEN, "--no-wait", *WORDS["lambda"])
    assert status == 1
    assert "waited for the function truss-iris to take its change in vain" in told["error"]["message"]
    assert "LastUpdateStatusReason The image cannot be read." in told["error"]["message"]
    status, told, _ = deploy(run, "lambda")
    assert (status, told["state"], told["image"]) == (0, "healthy", IMAGE)


def a_cluster() -> None:
    import boto3

    ecs = boto3.client("ecs")
    ecs.create_cluster(clusterName="truss-iris")
    container = {"name": "theirs", "image": IMAGE, "memory": 128}
    ecs.register_task_definition(family="theirs", containerDefinitions=[container])
    ecs.create_service(cluster="truss-iris", serviceName="iris", taskDefinition="theirs", desiredCount=1)


def a_balancer() -> None:
    import boto3

    subnets = [one["SubnetId"] for one in boto3.client("ec2").describe_subnets()["Subnets"]]
    boto3.client("elbv2").create_load_balancer(Name="truss-iris", Subnets=subnets, Type="network")


def a_role() -> None:
    import boto3

    whoever = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [whoever]})
    boto3.client("iam").create_role(RoleName="truss-iris-execution", AssumeRolePolicyDocument=document)


def a_secret() -> None:
    import boto3

    boto3.client("secretsmanager").create_secret(Name="truss/iris/api-key", SecretBinary=b"theirs")


def an_endpoint() -> None:
    import boto3

    client, role = boto3.client("sagemaker"), "arn:aws:iam::123456789012:role/theirs"
    client.create_model(ModelName="theirs", PrimaryContainer={"Image": IMAGE}, ExecutionRoleArn=role)
    variant = {"VariantName": "one", "ModelName": "theirs", "InstanceType": "ml.m5.large"}
    variants = [{**variant, "InitialInstanceCount": 1, "InitialVariantWeight": 1.0}]
    client.create_endpoint_config(EndpointConfigName="theirs", ProductionVariants=variants)
    client.create_endpoint(EndpointName="truss-iris", EndpointConfigName="theirs")


def a_model() -> None:
    import boto3

    role, both = "arn:aws:iam::123456789012:role/theirs", [{"Image": IMAGE}, {"Image": BROKEN}]
    boto3.client("sagemaker").create_model(ModelName="truss-iris-1", Containers=both, ExecutionRoleArn=role)


def a_function() -> None:
    import boto3

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("theirs.py", "def answer(event, context): return 1")
    trusted = {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
    made = boto3.client("iam").create_role(RoleName="theirs", AssumeRolePolicyDocument=document)
    boto3.client("lambda").create_function(
        FunctionName="truss-iris",
        Runtime="python3.12",
        Role=made["Role"]["Arn"],
        Handler="theirs.answer",
        Code={"ZipFile": content.getvalue()},
    )


@pytest.mark.parametrize(
    ("name", "key", "make"),
    [
        ("ecs", "ecs:cluster/truss-iris", a_cluster),
        ("ecs", "elbv2:load-balancer/truss-iris", a_balancer),
        ("ecs", "iam:role/truss-iris-execution", a_role),
        ("ecs", "secretsmanager:secret/truss/iris/api-key", a_secret),
        ("sagemaker", "sagemaker:endpoint/truss-iris", an_endpoint),
        ("sagemaker", "sagemaker:model/iris", a_model),
        ("lambda", "lambda:function/truss-iris", a_function),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_somebody_made_by_our_name_is_left(name, key, make, run):
    """Of a form that ours do not have, where the service has several; destroying leaves it as well."""
    make()
    status, told, _ = deploy(run, name)
    assert status == 1, told
    assert told["error"]["type"] == "name_taken"
    assert told["error"]["where"] == key
    assert "was not made by Truss" in told["error"]["message"]
    assert "--name" in told["error"]["hint"]
    removed = run("destroy", name)[1].get("removed", [])
    assert key not in removed
    assert deploy(run, name)[1] == told  # it is there still


def test_a_secret_is_told_from_one_whose_name_goes_on(run):
    import boto3

    boto3.client("secretsmanager").create_secret(Name="truss/iris/api-key-of-others", SecretString="theirs")
    assert deploy(run, "sagemaker")[0] == 0
    assert not steps(deploy(run, "sagemaker")[2], "Making")
    assert run("destroy", "sagemaker")[0] == 0
    left = boto3.client("secretsmanager").list_secrets()["SecretList"]
    assert [one["Name"] for one in left] == ["truss/iris/api-key-of-others"]

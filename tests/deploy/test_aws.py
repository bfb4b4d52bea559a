"""`truss deploy --to ecs`, `sagemaker` and `lambda`, against moto's server: AWS's APIs over HTTP.

It shows that our calls are ones that AWS's own client makes, and what they make of an account. That copies
start, and answer through a balancer or an endpoint, it does not show: nothing runs there. Where moto is not
as AWS documents, see moto_server.py.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, ClassVar
from urllib.request import Request, urlopen

import pytest
from aws_calls import Watched, refused
from aws_server import aws, free_address, reset
from refusing_server import Refusal, refusing

from truss.cli import main
from truss.config import parse_config
from truss.deploy import Plan, Platform, Release, apply, destroy, read_options, target_named
from truss.deploy.aws.account import Account
from truss.deploy.aws.machines import MACHINES
from truss.deploy.changes import Action
from truss.errors import DeployError, NameTakenError, PlanError, PlatformAuthError, PlatformUnreachableError
from truss.oci import Credentials, Registry
from truss.oci.credentials import Found
from truss.runtime.stored_secrets import read_stored
from truss.testing.registry import running_registry
from truss.testing.targets import PlatformConformance

IMAGE = f"registry.example.com/iris@sha256:{'1' * 64}"


@pytest.fixture(scope="module", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with aws(tmp_path_factory.mktemp("aws")) as url:
        yield url


def connected(name: str, **options: Any) -> Platform:
    target = target_named(name)
    return target.connect(read_options(target, options))


def planned(name: str, config: str, **options: Any) -> Plan:
    target = target_named(name)
    return target.plan(Release("iris", IMAGE, parse_config(config)), read_options(target, options))


def body(plan: Plan, kind: str) -> Any:
    return next(one.body for one in plan.resources if one.kind == kind)


def left() -> list[str]:
    """Whatever is in the account and carries a mark, or a name, of ours."""
    import boto3

    names: list[str] = []
    for service, operation, key, field in (
        ("iam", "list_roles", "Roles", "RoleName"),
        ("ecr", "describe_repositories", "repositories", "repositoryName"),
        ("logs", "describe_log_groups", "logGroups", "logGroupName"),
        ("secretsmanager", "list_secrets", "SecretList", "Name"),
        ("sagemaker", "list_models", "Models", "ModelName"),
        ("sagemaker", "list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"),
        ("sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
        ("lambda", "list_functions", "Functions", "FunctionName"),
        ("elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerName"),
        ("elbv2", "describe_target_groups", "TargetGroups", "TargetGroupName"),
        ("ecs", "list_task_definitions", "taskDefinitionArns", ""),
    ):
        found = getattr(boto3.client(service), operation)()[key]
        names += [one[field] if field else one for one in found]
    clusters = boto3.client("ecs").describe_clusters(clusters=["truss-steps"])["clusters"]
    names += [one["clusterName"] for one in clusters if one["status"] != "INACTIVE"]
    groups = boto3.client("ec2").describe_security_groups()["SecurityGroups"]
    return names + [one["GroupName"] for one in groups if one["GroupName"] != "default"]


@pytest.mark.registry
@pytest.mark.network
@pytest.mark.xdist_group("images")
@pytest.mark.parametrize(("name", "words"), [("ecs", ("--no-wait",)), ("sagemaker", ()), ("lambda", ())])
def test_from_the_first_deployment_to_the_last_trace(name, words, bench, small, server, monkeypatch):
    """By the commands, with an image that is pushed to a registry; see the module for what runs."""
    import boto3

    reset(server)
    bystander = boto3.client("iam").create_role(RoleName="truss-other-task", AssumeRolePolicyDocument="{}")
    monkeypatch.setenv("TRUSS_SECRET_api-key", "t0ken")
    folder = small("steps", config="secrets: {api-key: null}\n")
    said = []

    def run(command: str, *more: str, ok: bool = True) -> Any:
        done = bench.run(command, folder, "--to", name, *more)
        said.append(done.stdout + done.stderr)
        assert (done.returncode == 0) is ok, said[-1]
        return json.loads(done.stdout) if "--json" in more and ok else done

    push = ("--repository", f"{bench.registry}/steps")
    assert "Making" not in run("deploy", *push, "--plan").stdout
    assert left() == ["truss-other-task"]
    first = run("deploy", *push, *words, "--yes", "--json")
    assert first["image"].startswith(f"{bench.registry}/steps@sha256:")
    assert first["state"] == ("starting" if words else "healthy")
    again = run("deploy", *push, *words, "--yes")
    assert "Changing" not in again.stderr + again.stdout
    assert "Making" not in again.stderr

    (folder / "model" / "model.py").write_text(
        "class Model:\n    def predict(self, request):\n        return 2\n"
    )
    second = run("deploy", *push, *words, "--yes", "--json")
    assert second["image"] != first["image"]
    assert run("rollback", *words, "--json")["image"] == first["image"]
    assert run("status", "--json")["image"] == first["image"]
    assert [one["current"] for one in run("rollback", "--list", "--json")].count(True) == 1

    group = next(one for one in left() if one.startswith("/"))
    logs = boto3.client("logs")
    logs.create_log_stream(logGroupName=group, logStreamName="copy")
    event = {"timestamp": round(time.time() * 1000), "message": "the model is loaded"}
    logs.put_log_events(logGroupName=group, logStreamName="copy", logEvents=[event])
    assert run("logs").stdout == "the model is loaded\n"

    assert len(run("destroy", "--yes", "--json")["removed"]) >= 4
    assert left() == [bystander["Role"]["RoleName"]]
    assert "nothing is deployed" in run("destroy", "--yes", ok=False).stderr
    assert "t0ken" not in "".join(said)


@pytest.mark.registry
@pytest.mark.network
@pytest.mark.xdist_group("images")
@pytest.mark.parametrize(
    ("name", "words"), [("ecs", ("--no-wait",)), ("lambda", ()), ("sagemaker", ("--no-wait",))]
)
def test_an_image_goes_to_a_repository_of_its_own(name, words, bench, small, server, tmp_path):
    """ECR's API makes and removes the repository; the image goes to a registry that wants ECR's token.

    moto has no registry behind its ECR: that ECR's own takes the image, and that what is in a repository
    goes with it, this does not show.
    """
    import boto3

    reset(server)
    folder = small("steps")
    ecr = boto3.client("ecr")
    repository = f"truss/{name}/steps"
    address = f"123456789012.dkr.ecr.eu-west-1.amazonaws.com/{repository}"
    namesake = "truss/elsewhere/steps"  # of the deployment of this name to another service
    mark = {"Key": "truss:deployment", "Value": "steps"}
    ecr.create_repository(repositoryName=namesake, tags=[mark])
    with running_registry(tmp_path / "registry", protected=True) as registry:
        words = ("--to", name, "--registry", registry.host, *words)

        def run(command: str, *more: str, ok: bool = True) -> Any:
            done = bench.run(command, folder, *words[: None if command == "deploy" else 4], *more)
            assert (done.returncode == 0) is ok, done.stdout + done.stderr
            return done

        asked = run("deploy", ok=False)
        assert "Make these changes?" in asked.stderr
        assert f"+ ecr:repository/{repository}" in asked.stderr
        assert left() == [namesake]
        first = json.loads(run("deploy", "--yes", "--json").stdout)
        found = [one["repositoryUri"] for one in ecr.describe_repositories()["repositories"]]
        assert sorted(found) == sorted([address, address.replace(repository, namesake)])
        assert first["image"].startswith(f"{address}@sha256:")
        digest = first["image"].partition("@")[2]
        known = Found(Credentials("AWS", "123456789012-auth-token"))
        pushed = Registry(registry.host, find=lambda _: known).repository(repository)
        assert str(pushed.manifest(digest).digest) == digest
        if name == "lambda":
            policy = json.loads(ecr.get_repository_policy(repositoryName=repository)["policyText"])
            assert policy["Statement"][0]["Principal"] == {"Service": ["lambda.amazonaws.com"]}
        again = run("deploy", "--yes").stderr
        assert "Making" not in again
        assert "Changing" not in again

        elsewhere = f"{registry.host}/{repository}@{digest}"
        run("deploy", "--yes", "--no-wait", "--image", elsewhere, "--repository", f"{registry.host}/other")
        assert len(ecr.describe_repositories()["repositories"]) == 2, "earlier revisions need it"
        assert f"ecr:repository/{repository}" in run("destroy", "--yes", "--json").stdout
        assert left() == [namesake]

    ecr.create_repository(repositoryName=repository)
    taken = run("deploy", "--yes", ok=False)
    assert "not made by Truss" in taken.stderr
    assert "Pushing" not in taken.stderr
    assert sorted(left()) == sorted([namesake, repository])


ANSWERS = {
    "machines": (
        "sagemaker/endpoint-results",
        lambda text: {"Body": text, "ContentType": "application/json"},
    ),
    "asynchronous": ("sagemaker/async-endpoint-results", lambda text: {"data": text}),
    "lambda": ("lambda-simple/response", lambda text: text),
}
"""Where moto's server is told what a deployment answers, and in what form."""


def answer_with(server: str, mode: str, value: Any) -> None:
    """Have the next request answered so."""
    path, form = ANSWERS[mode]
    tell(server, path, form(json.dumps(value)))


def tell(server: str, path: str, result: Any) -> None:
    """Tell moto's server what something gives that it does not run."""
    body = json.dumps({"region": "eu-west-1", "results": [result]}).encode()
    head = {"Content-Type": "application/json"}
    with urlopen(Request(f"{server}/moto-api/static/{path}", body, head), timeout=30):
        pass


@pytest.fixture
def run(server, small, tmp_path, monkeypatch, capsys) -> Callable[..., Any]:
    """Run `truss COMMAND` about the Truss `steps` in an empty account; gives its JSON, and what it said."""
    reset(server)
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path / "home"))
    folder = small("steps")

    def run(command: str, *words: str, example: str = "", ok: bool = True) -> tuple[Any, str]:
        if example:
            expected = "expected: {predictions: [1]}"
            (folder / "examples.yaml").write_text(f"- {{name: {example}, input: [{example}], {expected}}}\n")
        status = main([command, str(folder), *words, "--json"])
        ran = capsys.readouterr()
        assert (status == 0) is ok, ran.out + ran.err
        return json.loads(ran.out), ran.err

    return run


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("machines", ("--to", "sagemaker")),
        ("asynchronous", ("--to", "sagemaker", "--mode", "asynchronous", "--answers", "s3://answers/all")),
        ("lambda", ("--to", "lambda")),
    ],
)
def test_a_deployment_counts_when_it_answers_the_examples(mode, words, server, run):
    """As moto's server is told to answer: that the model's answer comes through, this does not show.

    Nothing of it is on ECS, whose copies are asked over HTTP: there none runs.
    """
    import boto3

    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="answers", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    answer_with(server, mode, {"predictions": [1]})
    done, said = run("deploy", *words, "--image", IMAGE, "--yes", example="one")
    assert (done["state"], done["image"]) == ("healthy", IMAGE)
    assert "1 examples answered as expected" in said

    answer_with(server, mode, {"predictions": [2]})
    another = IMAGE.replace("1", "2")
    done, _ = run("deploy", *words, "--image", another, "--yes", example="two", ok=False)
    assert done["error"]["type"] == "unhealthy"
    assert "the answer to the example 'two' is another" in done["error"]["message"]
    assert "it went back to revision 1" in done["error"]["hint"]
    assert run("status", *words[:2])[0]["image"] == IMAGE
    assert "Contents" not in s3.list_objects_v2(Bucket="answers")


def test_why_an_asynchronous_endpoint_fails_is_said(server, run):
    import boto3

    where = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3").create_bucket(Bucket="answers", CreateBucketConfiguration=where)
    failed = {"data": "no memory is left", "is_failure": True}
    tell(server, "sagemaker/async-endpoint-results", failed)
    words = ("--to", "sagemaker", "--mode", "asynchronous", "--answers", "s3://answers")
    done, _ = run("deploy", *words, "--image", IMAGE, "--yes", example="one", ok=False)
    assert done["error"]["type"] == "unhealthy"
    assert "the endpoint failed: no memory is left" in done["error"]["message"]


@cache
def connection(url: str, name: str) -> tuple[Platform, Watched]:
    """One for all checks of a target: AWS's clients know nothing of an account, and take a second to make."""
    account = Watched()
    return type(connected(name))(account), account


class OnAws(PlatformConformance):
    """And nothing is called that the target's policy does not allow; see test_aws_permissions.py."""

    @pytest.fixture(autouse=True)
    def _address(self, server: str) -> None:
        self.url = server

    @contextlib.contextmanager
    def platform(self) -> Iterator[Platform]:
        reset(self.url)
        platform, account = connection(self.url, self.target.name)
        account.calls.clear()
        yield platform
        assert not refused(account.calls, json.loads(self.target.permissions().text))


class TestEcs(OnAws):
    target = target_named("ecs")
    options: ClassVar = {"max_copies": 3}


class TestEcsWithGpus(OnAws):
    """With machines of EC2, of which moto starts none that joins a cluster, so that no copy waits for one.

    Nor has it what takes AWS a while, and what AWS refuses meanwhile: a profile that is not known yet, a
    cluster whose capacity is being changed, a capacity provider that copies still run on.
    """

    target = target_named("ecs")
    options: ClassVar = {"max_copies": 3}
    config = """
model_name: flowers
resources: {accelerator: T4}
environment_variables: {LEVEL: high}
secrets: {api-key: null}
"""


class TestSageMaker(OnAws):
    target = target_named("sagemaker")
    options: ClassVar = {"max_copies": 2}


class TestServerless(OnAws):
    target = target_named("sagemaker")
    options: ClassVar = {"mode": "serverless", "max_copies": 20}


class TestAsynchronous(OnAws):
    target = target_named("sagemaker")
    options: ClassVar = {"mode": "asynchronous", "answers": "s3://answers/iris", "max_copies": 2}


class TestLambda(OnAws):
    target = target_named("lambda")
    options: ClassVar = {"public": True, "most_at_once": 5}


def test_sizes_are_those_of_fargate():
    plan = planned("ecs", "resources: {cpu: 500m, memory: 6Gi}")
    definition = body(plan, "ecs:task-definition")["definition"]
    assert (definition["cpu"], definition["memory"]) == ("1024", "6144")
    assert "1 vCPU with 6 GB is the smallest" in plan.notes[0]
    assert plan.price is not None
    assert plan.price.monthly == pytest.approx((0.04048 + 6 * 0.004445 + 0.0225) * 730)
    with pytest.raises(PlanError) as caught:
        planned("ecs", "resources: {cpu: 17, memory: 6Gi}")
    assert "the largest has 16 CPU and 120 GiB" in str(caught.value.hint)


def test_gpus_are_of_machines_that_are_made():
    plan = planned("ecs", "resources: {accelerator: 'A10G:2', cpu: 2}", min_copies=3, disk=200)
    definition = body(plan, "ecs:task-definition")["definition"]
    assert definition["requiresCompatibilities"] == ["EC2"]
    assert definition["containerDefinitions"][0]["resourceRequirements"] == [{"type": "GPU", "value": "2"}]
    assert (definition["cpu"], definition["memory"]) == (f"{24 * 1024}", f"{90 * 1024}")
    assert body(plan, "ecs:service")["capacity_provider"] == "truss-iris"
    template = body(plan, "ec2:launch-template")["definition"]
    assert template["InstanceType"] == "g5.12xlarge"
    assert template["MetadataOptions"]["HttpTokens"] == "required"
    assert (
        template["BlockDeviceMappings"][0]["Ebs"] | {"Encrypted": True, "VolumeSize": 200}
        == (template["BlockDeviceMappings"][0]["Ebs"])
    )
    assert "ECS_CLUSTER=truss-iris\n" in template["UserData"]
    group = body(plan, "autoscaling:group")
    assert (group["least"], group["most"]) == (2, 4), "two copies to a machine, and as many again to change"
    assert plan.notes[0] == (
        "Fargate has no GPUs: a copy has a machine g5.12xlarge of EC2 with up to 1 more, 24 CPU, 90 GiB and "
        "2 A10G, at $5.672 an hour (list price of 2025-11 in us-east-1)"
    )
    assert plan.price is not None
    assert plan.price.monthly == pytest.approx(2 * (5.672 * 730 + 200 * 0.08) + 0.0225 * 730)


@pytest.mark.parametrize(
    ("config", "options", "problem", "hint"),
    [
        ("{accelerator: V100}", {}, "EC2 has nothing with", "--capacity-provider"),
        ("{accelerator: T4}", {"disk": 20}, "no more than its own system", "30 GB"),
        ("{accelerator: 'T4:17'}", {"capacity_provider": "ours"}, "so many GPUs", "up to 16"),
        ("{accelerator: T4}", {"capacity_provider": "truss-iris"}, "that Truss makes", "leave"),
        ("{cpu: 1}", {"capacity_provider": "ours"}, "runs on Fargate", "accelerator"),
    ],
)
def test_machines_that_there_cannot_be_are_refused(config, options, problem, hint):
    with pytest.raises(PlanError, match=problem) as caught:
        planned("ecs", f"resources: {config}", **options)
    assert hint in str(caught.value.hint)


def test_a_cheaper_machine_is_taken_before_a_dearer_one():
    prices = [one.hourly or float("inf") for one in MACHINES]
    assert prices == sorted(prices)
    assert len({one.name for one in MACHINES}) == len(MACHINES)
    any_kind = planned("ecs", "resources: {use_gpu: true}")
    assert body(any_kind, "ec2:launch-template")["definition"]["InstanceType"] == "g4dn.xlarge"
    # A machine of 16 GiB has not all of it for its copies.
    large = planned("ecs", "resources: {accelerator: T4, memory: 16Gi}")
    assert body(large, "ec2:launch-template")["definition"]["InstanceType"] == "g4dn.2xlarge"


def machines() -> list[str]:
    """What of machines there is in the account, running ones by their number."""
    import boto3

    ec2, ecs = boto3.client("ec2"), boto3.client("ecs")
    names = [one["LaunchTemplateName"] for one in ec2.describe_launch_templates()["LaunchTemplates"]]
    groups = boto3.client("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    profiles = boto3.client("iam").list_instance_profiles()["InstanceProfiles"]
    told = ecs.describe_capacity_providers(capacityProviders=["truss-iris", "ours"])["capacityProviders"]
    running = ec2.describe_instances(Filters=[{"Name": "instance-state-name", "Values": ["running"]}])
    return [
        *names,
        *(one["AutoScalingGroupName"] for one in groups),
        *(one["InstanceProfileName"] for one in profiles),
        *(one["name"] for one in told),
        *(one["InstanceType"] for some in running["Reservations"] for one in some["Instances"]),
    ]


def strategy() -> Any:
    """What ECS says of where the service's copies run."""
    import boto3

    told = boto3.client("ecs").describe_services(cluster="truss-iris", services=["iris"])
    return told["services"][0]["capacityProviderStrategy"]


GPU = "resources: {accelerator: H100}"
ALL = ["truss-iris", "truss-iris", "truss-iris-machine", "truss-iris", "p5.48xlarge"]


def test_a_deployment_gets_machines_and_gives_them_back(server):
    """With the model it wants, without destroying it; what AWS says of machines that do not start is told."""
    reset(server)
    platform = connected("ecs")
    apply(planned("ecs", GPU), platform, {})
    assert strategy() == [{"capacityProvider": "truss-iris", "weight": 1}]
    assert machines() == ALL
    status = platform.status("iris")
    assert status is not None
    assert "your current vCPU limit of 0" in status.detail[-1]

    # Another machine is another version of what they start as; those before it stay in place.
    changed = apply(planned("ecs", GPU.replace("H100", "T4")), platform, {})
    assert {one.key for one in changed if one.action is not Action.KEEP} == {
        "ec2:launch-template/truss-iris",
        "ecs:task-definition/iris",
        "ecs:service/iris",
    }
    assert {one.action for one in apply(planned("ecs", GPU.replace("H100", "T4")), platform, {})} == {
        Action.KEEP
    }

    removed = [one.key for one in apply(planned("ecs", ""), platform, {}) if one.action is Action.DELETE]
    assert removed == [
        "ecs:capacity-provider/truss-iris",
        "autoscaling:group/truss-iris",
        "ec2:launch-template/truss-iris",
        "iam:instance-profile/truss-iris-machine",
        "iam:role/truss-iris-machine",
    ]
    assert strategy() == [{"capacityProvider": "FARGATE", "weight": 1}]
    assert machines() == []
    assert {one.action for one in apply(planned("ecs", ""), platform, {})} == {Action.KEEP}

    apply(planned("ecs", GPU), platform, {})
    assert strategy() == [{"capacityProvider": "truss-iris", "weight": 1}]
    assert machines() == ALL


@pytest.mark.parametrize(("name", "last"), [("ecs", "UpdateService"), ("sagemaker", "UpdateEndpoint")])
def test_what_never_ran_is_nothing_to_go_back_to(name, last, server, monkeypatch):
    """A deployment that broke off before anything ran; the next one is of another image."""
    reset(server)
    target = target_named(name)
    images = [IMAGE.replace("1" * 64, digit * 64) for digit in "123"]
    options = read_options(target, {})
    plans = [target.plan(Release("iris", image, parse_config("")), options) for image in images]
    platform = connected(name)
    apply(plans[0], platform, {})
    with refusing(server, Refusal(last, "AccessDeniedException", "not now")) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(PlatformAuthError, match="not now"):
            apply(plans[1], connected(name), {})
    assert next(one.current for one in platform.revisions("iris"))
    apply(plans[2], platform, {})
    told = [(one.image, one.current) for one in platform.revisions("iris")]
    assert told == [(images[0], False), (images[2], True)]
    assert {one.action for one in apply(plans[2], platform, {})} == {Action.KEEP}


def test_going_back_goes_to_fargate_and_to_machines_again(server):
    reset(server)
    platform = connected("ecs")
    apply(planned("ecs", ""), platform, {})
    apply(planned("ecs", GPU), platform, {})
    on_fargate, on_machines = platform.revisions("iris")
    platform.roll_back("iris", on_fargate)
    assert strategy() == [{"capacityProvider": "FARGATE", "weight": 1}]
    apply(planned("ecs", GPU), platform, {})
    apply(planned("ecs", "runtime: {workers: 2}"), platform, {})
    *_, on_machines, _ = platform.revisions("iris")
    with pytest.raises(DeployError, match="ran on machines of EC2, which iris no longer has") as caught:
        platform.roll_back("iris", on_machines)
    assert "--image" in str(caught.value.hint)
    assert strategy() == [{"capacityProvider": "FARGATE", "weight": 1}]


def test_machines_of_the_user_are_used_and_left(server):
    import boto3

    reset(server)
    ecs, platform = boto3.client("ecs"), connected("ecs")
    plan = planned("ecs", GPU, capacity_provider="ours")
    with pytest.raises(DeployError, match="ecs:capacity-provider/ours is not there"):
        apply(plan, platform, {})
    group = {"autoScalingGroupArn": "arn:aws:autoscaling:eu-west-1:123456789012:autoScalingGroup:1:ours"}
    ecs.create_capacity_provider(name="ours", autoScalingGroupProvider=group)
    apply(plan, platform, {})
    assert {one.action for one in apply(plan, platform, {})} == {Action.KEEP}
    assert strategy() == [{"capacityProvider": "ours", "weight": 1}]
    assert machines() == ["ours"]
    destroy("iris", platform)
    assert machines() == ["ours"]


def test_machines_of_others_by_the_same_name_are_left(server):
    import boto3

    reset(server)
    ec2, groups = boto3.client("ec2"), boto3.client("autoscaling")
    ec2.create_launch_template(
        LaunchTemplateName="truss-iris", LaunchTemplateData={"InstanceType": "m5.large"}
    )
    groups.create_auto_scaling_group(
        AutoScalingGroupName="truss-iris",
        LaunchTemplate={"LaunchTemplateName": "truss-iris"},
        MinSize=1,
        MaxSize=1,
        AvailabilityZones=["eu-west-1a"],
    )
    arn = groups.describe_auto_scaling_groups()["AutoScalingGroups"][0]["AutoScalingGroupARN"]
    boto3.client("ecs").create_capacity_provider(
        name="truss-iris", autoScalingGroupProvider={"autoScalingGroupArn": arn}
    )
    theirs, platform = machines(), connected("ecs")
    assert len(theirs) == 4
    with pytest.raises(NameTakenError, match="ec2:launch-template/truss-iris is there already"):
        apply(planned("ecs", GPU), platform, {})
    destroy("iris", platform)
    assert machines() == theirs
    assert platform.owned("iris") == []


def test_machines_of_sagemaker():
    variant = body(planned("sagemaker", "resources: {accelerator: A10G}"), "sagemaker:endpoint-config")
    assert variant["definition"]["ProductionVariants"][0]["InstanceType"] == "ml.g5.xlarge"
    with pytest.raises(PlanError, match="no GPUs") as caught:
        planned("sagemaker", "resources: {accelerator: A10G}", mode="serverless")
    assert "--mode machines" in str(caught.value.hint)
    with pytest.raises(PlanError, match="into a bucket"):
        planned("sagemaker", "", mode="asynchronous")
    plan = planned("sagemaker", "", mode="asynchronous", answers="s3://answers/iris")
    told = body(plan, "sagemaker:endpoint-config")["definition"]["AsyncInferenceConfig"]
    own = "s3://answers/iris/truss-iris"
    assert told == {"OutputConfig": {"S3OutputPath": own, "S3FailurePath": f"{own}/failures"}}
    assert f"answers come to {own}/, and to failures/ there what goes wrong" in plan.notes
    rights = body(plan, "iam:role")["statements"]
    assert rights[1]["Resource"] == ["arn:aws:s3:::answers", "arn:aws:s3:::answers/*"]


@pytest.mark.parametrize(
    ("machine", "resources", "has"),
    [
        ("ml.t2.medium", "{cpu: 4}", "2 CPU and 4 GiB"),
        ("ml.m5.large", "{memory: 16Gi}", "2 CPU and 8 GiB"),
        ("ml.m5.large", "{accelerator: T4}", "2 CPU and 8 GiB"),
        ("ml.g5.xlarge", "{accelerator: 'A10G:4'}", "4 CPU, 16 GiB and 1 A10G GPU"),
        ("ml.g5.12xlarge", "{accelerator: 'L4:4'}", "48 CPU, 192 GiB and 4 A10G GPUs"),
    ],
)
def test_a_machine_that_is_too_small_for_a_copy_is_refused(machine, resources, has):
    with pytest.raises(PlanError, match=f"and {machine} has {has}") as caught:
        planned("sagemaker", f"resources: {resources}", machine=machine)
    assert caught.value.where == "deploy.sagemaker.machine"
    assert "the smallest that is enough" in str(caught.value.hint)


def test_a_machine_of_the_user_is_taken():
    for machine in ("ml.m5.4xlarge", "ml.g5.xlarge"):
        plan = planned("sagemaker", "resources: {cpu: 2}", machine=machine)
        assert body(plan, "sagemaker:endpoint-config")["definition"]["ProductionVariants"][0][
            "InstanceType"
        ] == (machine)
        assert plan.price is not None
    plan = planned("sagemaker", "resources: {accelerator: 'H200:8'}", machine="ml.p5en.48xlarge")
    assert "ml.p5en.48xlarge is not in the list here" in plan.notes[0]
    assert plan.price is None


def test_sizes_of_lambda():
    plan = planned("lambda", "resources: {cpu: 2, memory: 1Gi}")
    assert body(plan, "lambda:function")["memory"] == 3538
    assert "2 CPU come with 3538 MiB" in plan.notes[0]
    for config in ("resources: {memory: 11Gi}", "resources: {cpu: 7}", "resources: {accelerator: T4}"):
        with pytest.raises(PlanError) as caught:
            planned("lambda", config)
        assert "ecs" in str(caught.value.hint)
    with pytest.raises(PlanError, match="900 s"):
        planned("lambda", "", timeout=1000)


@pytest.mark.parametrize("name", ["ecs", "sagemaker", "lambda"])
def test_missing_credentials_are_said(name, monkeypatch, tmp_path):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(PlatformAuthError, match="wants credentials") as caught:
        connected(name).status("iris")
    assert "aws sso login" in str(caught.value.hint)


def test_a_profile_that_is_not_there_is_said():
    with pytest.raises(PlatformAuthError, match="nobody"):
        connected("ecs", profile="nobody").status("iris")


@pytest.mark.parametrize("name", ["ecs", "sagemaker", "lambda"])
def test_a_region_that_does_not_answer_is_said(name, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", free_address())
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PlatformUnreachableError, match="no answer"):
        connected(name).status("iris")


def wait_for_the_end(account: Account, waiter: str) -> None:
    """Of the deployment `iris`, once asked: AWS's client asks for ten minutes and more."""
    once = {"WaiterConfig": {"MaxAttempts": 1}}
    if waiter == "endpoint_deleted":
        account.wait("sagemaker", waiter, "its end", EndpointName="truss-iris", **once)
    else:
        told = account.first("elbv2", "describe_load_balancers", "LoadBalancers")
        arns = [told["LoadBalancerArn"]] if told else []
        account.wait("elbv2", waiter, "its end", LoadBalancerArns=arns, **once)


@pytest.mark.parametrize(
    ("name", "waiter", "says"),
    [
        ("sagemaker", "endpoint_deleted", "EndpointStatus InService"),
        ("ecs", "load_balancers_deleted", "Code active"),
    ],
)
def test_what_takes_too_long_is_said(name, waiter, says, server):
    reset(server)
    apply(planned(name, ""), connected(name), {})
    with pytest.raises(DeployError, match=f"waited for its end in vain; AWS says: {says}") as caught:
        wait_for_the_end(Account(), waiter)
    assert "give the command again: it goes on from there" in str(caught.value.hint)


def test_what_is_refused_while_waiting_is_said(server, monkeypatch):
    reset(server)
    apply(planned("sagemaker", ""), connected("sagemaker"), {})
    denied = Refusal("DescribeEndpoint", "AccessDeniedException", "You may not look.")
    with refusing(server, denied) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        with pytest.raises(PlatformAuthError, match="You may not look"):
            wait_for_the_end(Account(), "endpoint_deleted")
    monkeypatch.setenv("AWS_ENDPOINT_URL", free_address())
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(PlatformUnreachableError, match="no answer"):
        wait_for_the_end(Account(), "endpoint_deleted")


def _told_variables(name: str) -> dict[str, str]:
    """What the copies of a deployment have as variables, by AWS's own words."""
    import boto3

    if name == "lambda":
        described = boto3.client("lambda").get_function(FunctionName="truss-iris")["Configuration"]
        return dict(described["Environment"]["Variables"])
    sagemaker = boto3.client("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName="truss-iris")["EndpointConfigName"]
    variants = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"]
    model = sagemaker.describe_model(ModelName=variants[0]["ModelName"])
    return dict(model["PrimaryContainer"]["Environment"])


@pytest.mark.parametrize(("name", "use"), [("sagemaker", "model"), ("lambda", "function")])
def test_copies_are_told_where_a_secret_is_and_read_it_by_their_role(name, use, server):
    """What a server makes of these variables is its own code; that its role lets it, moto does not show."""
    import boto3

    reset(server)
    config, platform = "secrets: {api-key: null}", connected(name)
    apply(planned(name, config), platform, {"api-key": "t0ken"})
    first = _told_variables(name)
    assert "t0ken" not in json.dumps(first)
    copy = {**first, "AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "mine"}
    read_stored(copy)
    assert copy["TRUSS_SECRET_api_key"] == "t0ken"
    document = boto3.client("iam").get_role_policy(RoleName=f"truss-iris-{use}", PolicyName="truss")
    (right,) = (
        one
        for one in document["PolicyDocument"]["Statement"]
        if one["Action"] == ["secretsmanager:GetSecretValue"]
    )
    assert right["Resource"] == [first["TRUSS_STORED_SECRET_api_key"]]

    assert {one.action for one in apply(planned(name, config), platform, {"api-key": "t0ken"})} == {
        Action.KEEP
    }
    done = apply(planned(name, config), platform, {"api-key": "another"})
    changed = [one.key for one in done if one.action is Action.UPDATE]
    assert changed[0] == "secretsmanager:secret/truss/iris/api-key"
    assert len(changed) == {"sagemaker": 4, "lambda": 2}[name], changed
    assert _told_variables(name) != first  # so that copies start anew
    read_stored(copy)
    assert copy["TRUSS_SECRET_api_key"] == "another"
    apply(planned(name, ""), platform, {})  # without it
    assert not [one for one in left() if "api-key" in one]
    destroy("iris", platform)
    assert left() == []

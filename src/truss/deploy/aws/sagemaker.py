"""Amazon SageMaker: a model behind an endpoint of its own; on machines, without servers, or asynchronous.

https://docs.aws.amazon.com/sagemaker/latest/APIReference/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from truss.deploy.aws import asynchronous, logs, repositories, revisions, roles, scaling, secrets, terraform
from truss.deploy.aws.account import Account, AwsOptions, account_of, marked, tags
from truss.deploy.aws.permissions import Right, policy
from truss.deploy.changes import restricted
from truss.deploy.options import check_copies, refuse_unused
from truss.deploy.plan import File, Output, Plan, Price, Resource, as_json
from truss.deploy.release import Release
from truss.deploy.sizes import GIB, Size, check_body, enough, named
from truss.deploy.target import Feature, Found, Revision, State, Status, option
from truss.errors import PlanError

_AS_OF = "2025-11"

# https://aws.amazon.com/sagemaker/pricing/, us-east-1, hosting: dollars an hour; the cheapest first.
MACHINES = (
    Size("ml.t2.medium", 2, 4 * GIB, hourly=0.056),
    Size("ml.m5.large", 2, 8 * GIB, hourly=0.115),
    Size("ml.m5.xlarge", 4, 16 * GIB, hourly=0.23),
    Size("ml.m5.2xlarge", 8, 32 * GIB, hourly=0.461),
    Size("ml.m5.4xlarge", 16, 64 * GIB, hourly=0.922),
    Size("ml.m5.12xlarge", 48, 192 * GIB, hourly=2.765),
    Size("ml.m5.24xlarge", 96, 384 * GIB, hourly=5.53),
    Size("ml.g4dn.xlarge", 4, 16 * GIB, "T4", 1, 0.736),
    Size("ml.g4dn.12xlarge", 48, 192 * GIB, "T4", 4, 4.89),
    Size("ml.g6.xlarge", 4, 16 * GIB, "L4", 1, 1.127),
    Size("ml.g6.12xlarge", 48, 192 * GIB, "L4", 4, 5.752),
    Size("ml.g5.xlarge", 4, 16 * GIB, "A10G", 1, 1.408),
    Size("ml.g5.12xlarge", 48, 192 * GIB, "A10G", 4, 7.09),
    Size("ml.g5.48xlarge", 192, 768 * GIB, "A10G", 8, 20.36),
    Size("ml.p4d.24xlarge", 96, 1152 * GIB, "A100_40GB", 8),
    Size("ml.p4de.24xlarge", 96, 1152 * GIB, "A100", 8),
    Size("ml.p5.48xlarge", 192, 2048 * GIB, "H100", 8),
)

SERVERLESS = tuple(Size(f"serverless with {gib} GB", 6, gib * GIB) for gib in range(1, 7))
"""https://docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html; cores grow with the memory."""

_SERVICE = "sagemaker"
_LARGEST = {"machines": 25_000_000, "serverless": 4_000_000, "asynchronous": 1_000_000_000}
"""Bytes of a request, by mode: https://docs.aws.amazon.com/general/latest/gr/sagemaker.html"""
_VARIANT = "all"
_PREFIX = "truss-"
_ENDPOINTS, _CONFIGS, _MODELS = (f"{one}/{_PREFIX}*" for one in ("endpoint", "endpoint-config", "model"))
_LOGS = f"/aws/sagemaker/Endpoints/{_PREFIX}"
"""Where SageMaker writes, whatever it is told."""


class SageMakerOptions(AwsOptions, frozen=True, kw_only=True):
    """What a deployment to SageMaker can be told."""

    mode: Annotated[
        Literal["machines", "serverless", "asynchronous"],
        option("Machines that are always there, none between requests, or answers put into a bucket."),
    ] = "machines"
    machine: Annotated[str, option("The machine, e.g. ml.g5.xlarge; by default the smallest that fits.")] = ""
    answers: Annotated[
        str, option("Below what an asynchronous endpoint puts answers, in truss-NAME/: s3://BUCKET/FOLDER.")
    ] = ""
    min_copies: Annotated[int, option("How many machines there are at least.")] = 1
    max_copies: Annotated[int, option("How many machines, or requests at a time of a serverless one.")] = 1
    requests_a_minute: Annotated[
        int, option("Requests a minute at a machine, above which there are more of them.")
    ] = 3000


class SageMakerTarget:
    """See the module."""

    name = "sagemaker"
    summary = "Amazon SageMaker endpoints"
    options = SageMakerOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.AUTOSCALING,
            Feature.SCALE_TO_ZERO,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.STORES,
            Feature.APPLIES,
        }
    )

    def repository(self, options: SageMakerOptions) -> str | None:
        """What the user says; else the account has one."""
        return options.repository

    def plan(self, release: Release, options: SageMakerOptions) -> Plan:
        """The resources."""
        _check(options)
        size, note = _size(release, options)
        check_body(release, _LARGEST[options.mode], "SageMaker", "ecs, which has no such limit")
        resources = tuple(_resources(release, options, size))
        files = (File("resources.json", as_json({one.key: one.body for one in resources})),)
        price = None
        if size.hourly:
            what = f"{options.min_copies} x {size.name} in us-east-1"
            price = Price(options.min_copies * size.hourly * 730, what, _AS_OF)
        notes = tuple(text for text in (note, *_notes(release, options)) if text)
        plan = Plan(self.name, release.name, resources, files, notes, price)
        return terraform.written(plan, release.image, options.region, _SCALED)

    def connect(self, options: SageMakerOptions) -> SageMakerPlatform:
        """The account that boto3 finds credentials for."""
        return SageMakerPlatform(account_of(options))

    def permissions(self) -> File:
        """A policy of IAM for whoever deploys there."""
        giving = roles.giving("sagemaker.amazonaws.com", own=True)
        return policy(_KINDS, (*giving, _ASKING, *asynchronous.RIGHTS, _SCALING))


def _check(options: SageMakerOptions) -> None:
    name = SageMakerTarget.name
    if options.mode == "serverless":
        refuse_unused(
            options,
            name,
            ("machine", "min_copies", "requests_a_minute"),
            "on SageMaker's serverless endpoints, which have no machines of yours",
            "leave it out, or deploy to machines: --mode machines",
        )
    else:
        check_copies(options, name, "min_copies", "max_copies", by=["requests_a_minute"])
    if options.mode != "asynchronous":
        hint = "leave it out, or have answers put there: --mode asynchronous"
        refuse_unused(options, name, ["answers"], "where answers are given at once", hint)


def _size(release: Release, options: SageMakerOptions) -> tuple[Size, str]:
    if options.mode == "serverless":
        if release.accelerator is not None:
            raise PlanError(
                "SageMaker's serverless endpoints have no GPUs",
                where="resources.accelerator",
                hint="deploy to machines: --mode machines",
            )
        return enough(release, SERVERLESS, "SageMaker's serverless endpoints")
    if options.mode == "asynchronous" and not options.answers.startswith("s3://"):
        raise PlanError(
            "an asynchronous endpoint puts its answers into a bucket, and none is named",
            where="deploy.sagemaker.answers",
            hint="name one: --answers s3://BUCKET/FOLDER",
        )
    if options.machine:
        return named(release, options.machine, MACHINES, "deploy.sagemaker.machine")
    return enough(release, MACHINES, "SageMaker")


def _resources(release: Release, options: SageMakerOptions, size: Size) -> Iterator[Resource]:
    name = release.name
    if not options.repository:
        yield repositories.image_repository(_SERVICE, name)
    for one in release.secrets:
        yield secrets.secret(name, one)
    yield logs.log_group(name, _LOGS)
    statements = [*_rights(options), *secrets.may_read(release)]
    yield roles.role(name, "model", "sagemaker.amazonaws.com", [], statements)
    role = Output(f"{roles.Role.kind}/{roles.role_name(name, 'model')}", "arn")
    variables = {**release.environment, **secrets.variables(release)}
    container = {"Image": release.image, "Environment": variables}
    model = {"PrimaryContainer": container, "ExecutionRoleArn": role}
    yield Resource(MODEL.kind, name, {"deployment": name, "definition": model}, "sagemaker:CreateModel")
    variant = {
        "VariantName": _VARIANT,
        "ModelName": Output(f"{MODEL.kind}/{name}", "name"),
        "InitialVariantWeight": 1.0,
        **_capacity(options, size),
    }
    config: dict[str, Any] = {"ProductionVariants": [variant]}
    if options.mode == "asynchronous":
        config["AsyncInferenceConfig"] = {"OutputConfig": asynchronous.places(options.answers, name)}
    yield Resource(
        CONFIG.kind,
        name,
        {"deployment": name, "definition": config},
        "sagemaker:CreateEndpointConfig",
    )
    endpoint = {"deployment": name, "config": Output(f"{CONFIG.kind}/{name}", "name")}
    yield Resource(Endpoint.kind, f"{_PREFIX}{name}", endpoint, "sagemaker:CreateEndpoint")
    if options.mode != "serverless" and options.max_copies > options.min_copies:
        yield scaling.scaling(
            name,
            least=options.min_copies,
            most=options.max_copies,
            requests_a_minute=options.requests_a_minute,
        )


def _rights(options: SageMakerOptions) -> Iterator[Mapping[str, Any]]:
    """What an endpoint does in the account: https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html."""
    pull = ["ecr:GetAuthorizationToken", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    write = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "cloudwatch:PutMetricData"]
    yield {
        "Effect": "Allow",
        "Action": [*pull, "ecr:BatchCheckLayerAvailability", *write],
        "Resource": "*",
    }
    if options.mode == "asynchronous":
        bucket = options.answers.removeprefix("s3://").partition("/")[0]
        yield {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:PutObject", "s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"],
        }


def _capacity(options: SageMakerOptions, size: Size) -> dict[str, Any]:
    if options.mode == "serverless":
        config = {"MemorySizeInMB": size.memory >> 20, "MaxConcurrency": options.max_copies}
        return {"ServerlessConfig": config}
    return {
        "InstanceType": size.name,
        "InitialInstanceCount": options.min_copies,
        "ContainerStartupHealthCheckTimeoutInSeconds": 1800,
    }


def _notes(release: Release, options: SageMakerOptions) -> Iterator[str]:
    yield from repositories.storage_notes(_SERVICE, release.name, options.repository)
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
    largest = f"{_LARGEST[options.mode] // 1_000_000:,} MB"
    yield f"a request may have {largest}" + (
        "" if options.mode == "asynchronous" else ", and an answer may take 60 s"
    )
    if options.mode == "asynchronous":
        put = asynchronous.places(options.answers, release.name)
        yield f"answers come to {put['S3OutputPath']}/, and to failures/ there what goes wrong"
    yield from secrets.notes(release, "SageMaker")


class Endpoint:
    """What is asked for predictions."""

    kind = "sagemaker:endpoint"
    rights = (
        Right("sagemaker", ("ListEndpoints",)),
        Right("sagemaker", ("AddTags", "DeleteEndpoint", "DescribeEndpoint", "ListTags"), (_ENDPOINTS,)),
        Right("sagemaker", ("CreateEndpoint", "UpdateEndpoint"), (_ENDPOINTS, _CONFIGS)),
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        body = resource.body
        account.call(
            "sagemaker",
            "create_endpoint",
            EndpointName=resource.name,
            EndpointConfigName=body["config"],
            Tags=tags(body["deployment"]),
        )
        return {}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Have it run another config; new machines come up before the old ones go."""
        account.call(
            "sagemaker",
            "update_endpoint",
            EndpointName=resource.name,
            EndpointConfigName=resource.body["config"],
        )
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it, and wait until its machines are gone."""
        account.gone("sagemaker", "delete_endpoint", "ValidationException", EndpointName=found.name)
        what = f"the endpoint {found.name} to be gone"
        account.wait("sagemaker", "endpoint_deleted", what, EndpointName=found.name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, f"{_PREFIX}{deployment}")
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = described(account, name)
        if told is None:
            return None
        deployment = _mark(account, told["EndpointArn"])
        body = {"deployment": deployment, "config": told["EndpointConfigName"]}
        return Found(self.kind, name, body, deployment)


def described(account: Account, name: str) -> Any | None:
    """What SageMaker says of an endpoint."""
    found = account.listed("sagemaker", "list_endpoints", "Endpoints", NameContains=name)
    if name not in [one["EndpointName"] for one in found]:
        return None
    return account.call("sagemaker", "describe_endpoint", EndpointName=name)


def _mark(account: Account, arn: str) -> str:
    return marked(account.listed("sagemaker", "list_tags", "Tags", ResourceArn=arn))


class _Model:
    """See `Revisions`: models cannot be changed."""

    kind = "sagemaker:model"
    rights = (
        Right("sagemaker", ("ListModels",)),
        Right(
            "sagemaker", ("AddTags", "CreateModel", "DeleteModel", "DescribeModel", "ListTags"), (_MODELS,)
        ),
    )

    def names(self, account: Account, deployment: str) -> list[str]:
        found = account.listed("sagemaker", "list_models", "Models", NameContains=f"{_PREFIX}{deployment}-")
        return [one["ModelName"] for one in found]

    def read(self, account: Account, name: str, like: Any) -> tuple[Any, str]:
        told = account.call("sagemaker", "describe_model", ModelName=name)
        found = restricted(told, like) if like is not None else told
        # SageMaker fills nothing in here, and what the user had in it before is to be seen.
        # One that somebody made may have several containers instead.
        container = {
            **found.get("PrimaryContainer", {}),
            "Environment": told.get("PrimaryContainer", {}).get("Environment", {}),
        }
        return {**found, "PrimaryContainer": container}, _mark(account, told["ModelArn"])

    def make(self, account: Account, name: str, definition: Any, deployment: str) -> None:
        marks = tags(deployment)
        roles.once_known(account, "sagemaker", "create_model", ModelName=name, **definition, Tags=marks)

    def remove(self, account: Account, name: str) -> None:
        account.gone("sagemaker", "delete_model", "ValidationException", ModelName=name)


class _Config:
    """See `Revisions`: configs of endpoints cannot be changed."""

    kind = "sagemaker:endpoint-config"
    rights = (
        Right("sagemaker", ("ListEndpointConfigs",)),
        Right(
            "sagemaker",
            ("AddTags", "CreateEndpointConfig", "DeleteEndpointConfig", "DescribeEndpointConfig", "ListTags"),
            (_CONFIGS,),
        ),
    )

    def names(self, account: Account, deployment: str) -> list[str]:
        arguments = {"NameContains": f"{_PREFIX}{deployment}-"}
        found = account.listed("sagemaker", "list_endpoint_configs", "EndpointConfigs", **arguments)
        return [one["EndpointConfigName"] for one in found]

    def read(self, account: Account, name: str, like: Any) -> tuple[Any, str]:
        told = account.call("sagemaker", "describe_endpoint_config", EndpointConfigName=name)
        found = restricted(told, like) if like is not None else told
        return found, _mark(account, told["EndpointConfigArn"])

    def make(self, account: Account, name: str, definition: Any, deployment: str) -> None:
        marks = tags(deployment)
        account.call("sagemaker", "create_endpoint_config", EndpointConfigName=name, **definition, Tags=marks)

    def remove(self, account: Account, name: str) -> None:
        account.gone("sagemaker", "delete_endpoint_config", "ValidationException", EndpointConfigName=name)


def _config_that_runs(account: Account, deployment: str) -> str:
    """The config of a deployment's endpoint; empty: it has none, or is just getting another."""
    told = described(account, f"{_PREFIX}{deployment}")
    return str(told["EndpointConfigName"]) if told and told["EndpointStatus"] == "InService" else ""


def _model_that_runs(account: Account, deployment: str) -> str:
    config = _config_that_runs(account, deployment)
    return _model_of(account, config) if config else ""


def _model_of(account: Account, config: str) -> str:
    told = account.call("sagemaker", "describe_endpoint_config", EndpointConfigName=config)
    return str(told["ProductionVariants"][0]["ModelName"])


MODEL = revisions.Revisions(_Model(), _PREFIX, _model_that_runs)
CONFIG = revisions.Revisions(_Config(), _PREFIX, _config_that_runs)

_SCALED = scaling.Scaling(
    "sagemaker",
    "sagemaker:variant:DesiredInstanceCount",
    "SageMakerVariantInvocationsPerInstance",
    lambda name: f"endpoint/{_PREFIX}{name}/variant/{_VARIANT}",
    lambda account, name: bool(Endpoint().owned(account, name)),
)

_KINDS = (
    repositories.ImageRepository(_SERVICE),
    secrets.Secret(),
    logs.LogGroup(_LOGS),
    roles.Role(),
    MODEL,
    CONFIG,
    Endpoint(),
    _SCALED,
)

_ASKING = Right("sagemaker", ("InvokeEndpoint",), (_ENDPOINTS,))
_SCALING = Right("sagemaker", ("UpdateEndpointWeightsAndCapacities",), (_ENDPOINTS,))
"""What autoscaling does to an endpoint: whoever sets that up needs the right to it; see `scaling`."""

_STATES: Mapping[str, State] = {
    "InService": "healthy",
    "Failed": "failed",
    "OutOfService": "failed",
    "UpdateRollbackFailed": "failed",
}


class SageMakerPlatform(repositories.KeepsImages):
    """SageMaker in an account.

    Args:
        account: The account.
    """

    service = _SERVICE

    def __init__(self, account: Account) -> None:
        super().__init__(account, _KINDS)

    def deployments(self) -> Sequence[Status]:
        """Those whose endpoint has our mark."""
        found = self.account.listed("sagemaker", "list_endpoints", "Endpoints", NameContains=_PREFIX)
        ours = (one for one in found if one["EndpointName"].startswith(_PREFIX))
        names = sorted(_mark(self.account, one["EndpointArn"]) for one in ours)
        return [status for status in map(self.status, filter(None, names)) if status is not None]

    def status(self, deployment: str) -> Status | None:
        """What SageMaker says of the endpoint."""
        told = described(self.account, f"{_PREFIX}{deployment}")
        if told is None or _mark(self.account, told["EndpointArn"]) != deployment:
            return None
        variant: Mapping[str, Any] = next(iter(told.get("ProductionVariants", ())), {})
        wanted = variant.get("DesiredInstanceCount", 1)
        state = _STATES.get(told["EndpointStatus"], "starting")
        reason = told.get("FailureReason") or ""
        return Status(
            deployment,
            SageMakerTarget.name,
            state,
            image=self._image(told["EndpointConfigName"]),
            ready=variant.get("CurrentInstanceCount", wanted if state == "healthy" else 0),
            wanted=wanted,
            detail=tuple(filter(None, (reason, "" if state == "healthy" else told["EndpointStatus"]))),
        )

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What the copies have written, of the last day."""
        yield from logs.lines_of(self.account, f"{_LOGS}{deployment}", follow=follow, lines=lines)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The configs of its endpoint."""
        told = described(self.account, f"{_PREFIX}{deployment}")
        current = told["EndpointConfigName"] if told is not None else ""
        return [
            Revision(revisions.number(name), self._image(name), name == current)
            for name in CONFIG.names(self.account, deployment)
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Have the endpoint run the revision, and remove those that came after it once it does.

        A config is in use until then: an endpoint that changes from it, and fails to, goes back to it.

        Raises:
            DeployError: the endpoint does not come to run it.
        """
        name = f"{_PREFIX}{deployment}-{revision.id}"
        endpoint = f"{_PREFIX}{deployment}"
        self.account.call("sagemaker", "update_endpoint", EndpointName=endpoint, EndpointConfigName=name)
        what = f"the endpoint {endpoint} to run {name}"
        self.account.wait("sagemaker", "endpoint_in_service", what, EndpointName=endpoint)
        CONFIG.remove_after(self.account, deployment, name)
        MODEL.remove_after(self.account, deployment, _model_of(self.account, name))

    def ask(self, deployment: str, body: bytes) -> bytes:
        """Through SageMaker's own door, which wants the account's signature; where need be, by a bucket."""
        name = f"{_PREFIX}{deployment}"
        if place := self._answers(name):
            return asynchronous.ask(self.account, name, place, body)
        answer = self.account.call(
            "sagemaker-runtime",
            "invoke_endpoint",
            EndpointName=name,
            ContentType="application/json",
            Body=body,
        )
        return self.account.read(answer["Body"], "sagemaker-runtime:invoke_endpoint")

    def _answers(self, endpoint: str) -> str:
        """Where an asynchronous endpoint puts its answers; empty: it gives them at once."""
        config = self.account.call("sagemaker", "describe_endpoint", EndpointName=endpoint)[
            "EndpointConfigName"
        ]
        told = self.account.call("sagemaker", "describe_endpoint_config", EndpointConfigName=config)
        output = (told.get("AsyncInferenceConfig") or {}).get("OutputConfig", {})
        return str(output.get("S3OutputPath", "")).rstrip("/")

    def _image(self, config: str) -> str:
        told = self.account.call("sagemaker", "describe_model", ModelName=_model_of(self.account, config))
        return str(told["PrimaryContainer"]["Image"])

"""Amazon ECS: copies on Fargate, or on machines with GPUs, behind a load balancer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from truss.deploy import endpoint
from truss.deploy.aws import (
    balancer,
    capacity,
    logs,
    machines,
    network,
    repositories,
    roles,
    scaling,
    secrets,
    tasks,
    terraform,
)
from truss.deploy.aws.account import Account, AwsOptions, account_of, marked
from truss.deploy.aws.permissions import Right, policy
from truss.deploy.options import check_copies, refuse_unused
from truss.deploy.plan import File, Output, Plan, Price, Resource, as_json
from truss.deploy.release import PORT, PREDICT, Release
from truss.deploy.sizes import MIB, Size, enough
from truss.deploy.target import Feature, Revision, State, Status, option
from truss.errors import PlanError

_SERVICE = "ecs"
_EXECUTION = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
_CONTAINER = "model"
_MOST_GPUS = 16
_MOST_DESCRIBED = 100
"""Clusters: https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DescribeClusters.html"""
_LONGEST_STOP = 120
"""Seconds: the most that Fargate gives a container to stop."""

# https://aws.amazon.com/fargate/pricing/, us-east-1, Linux on x86: dollars an hour.
_CPU_HOUR, _GIB_HOUR, _BALANCER_HOUR = 0.04048, 0.004445, 0.0225
_AS_OF = "2025-11"


def _fargate() -> Iterator[Size]:
    # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-cpu-memory-error.html
    allowed: dict[int, Sequence[int]] = {
        256: [512, 1024, 2048],
        512: range(1024, 4096 + 1, 1024),
        1024: range(2048, 8192 + 1, 1024),
        2048: range(4096, 16384 + 1, 1024),
        4096: range(8192, 30720 + 1, 1024),
        8192: range(16384, 61440 + 1, 4096),
        16384: range(32768, 122880 + 1, 8192),
    }
    for units, memories in allowed.items():
        for memory in memories:
            cpu = units / 1024
            price = cpu * _CPU_HOUR + memory / 1024 * _GIB_HOUR
            yield Size(f"{cpu:g} vCPU with {memory / 1024:g} GB", cpu, memory * MIB, hourly=price)


FARGATE = tuple(_fargate())


class EcsOptions(AwsOptions, frozen=True, kw_only=True):
    """What a deployment to ECS can be told."""

    subnets: Annotated[
        tuple[str, ...], option("The subnets it runs in; by default those of the account's own network.")
    ] = ()
    internal: Annotated[bool, option("Whether it is reached from its network only.")] = False
    certificate: Annotated[str, option("The ARN of a certificate, for HTTPS.")] = ""
    min_copies: Annotated[int, option("How many copies run at least.")] = 1
    max_copies: Annotated[int, option("How many copies run at most.")] = 1
    requests_a_minute: Annotated[
        int, option("Requests a minute at a copy, above which there are more copies.")
    ] = 3000
    timeout: Annotated[int, option("Seconds that an answer may take.")] = 300
    reachable_from: Annotated[str, option("The range of addresses that may reach it.")] = "0.0.0.0/0"
    disk: Annotated[
        int, option("Gigabytes of the disk of a machine with GPUs: its system, and the image twice.")
    ] = 100
    capacity_provider: Annotated[
        str, option("A capacity provider of yours, for GPUs; by default one is made with its machines.")
    ] = ""


class EcsTarget:
    """See the module."""

    name = "ecs"
    summary = "Amazon ECS, on Fargate or on machines with GPUs"
    options = EcsOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.AUTOSCALING,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.STORES,
            Feature.APPLIES,
        }
    )

    def repository(self, options: EcsOptions) -> str | None:
        """What the user says; else the account has one."""
        return options.repository

    def plan(self, release: Release, options: EcsOptions) -> Plan:
        """The resources."""
        check_copies(options, self.name, "min_copies", "max_copies", by=["requests_a_minute"])
        copy = _copy(release, options)
        resources = tuple(_resources(release, options, copy))
        existing = [network.network(options.subnets)]
        if options.capacity_provider:
            existing.append(capacity.existing_capacity(options.capacity_provider))
        plan = Plan(
            self.name,
            release.name,
            resources,
            (File("resources.json", as_json({one.key: one.body for one in resources})),),
            tuple(text for text in (copy.note, *_notes(release, options)) if text),
            _price(options, copy),
            tuple(existing),
        )
        return terraform.written(plan, release.image, options.region, _SCALED)

    def connect(self, options: EcsOptions) -> EcsPlatform:
        """The account that boto3 finds credentials for."""
        return EcsPlatform(account_of(options))

    def permissions(self) -> File:
        """A policy of IAM for whoever deploys there."""
        giving = roles.giving("ecs-tasks.amazonaws.com", [_EXECUTION], own=True)
        machines = roles.giving("ec2.amazonaws.com", [capacity.POLICY])
        return policy((network.Network(), *_KINDS), (*giving, *machines, Right("ecs", ("ListClusters",))))


@dataclass(frozen=True)
class _Copy:
    """What a copy has, and what it runs on.

    Attributes:
        size: What it has.
        note: What a person should know of that.
        machines: The machines with GPUs that are made for it; None: it runs on Fargate, or on the user's own.
    """

    size: Size
    note: str
    machines: machines.Machines | None = None


def _copy(release: Release, options: EcsOptions) -> _Copy:
    if release.accelerator is None:
        if options.capacity_provider:
            raise PlanError(
                "a model without GPUs runs on Fargate, which needs no machines",
                where="deploy.ecs.capacity_provider",
                hint="leave --capacity-provider out, or ask for GPUs: `resources: {accelerator: T4}`",
            )
        hint = "leave it out, or ask for GPUs: `resources: {accelerator: T4}`"
        refuse_unused(options, EcsTarget.name, ["disk"], "on Fargate, which has no machines", hint)
        return _Copy(*enough(release, FARGATE, "Fargate"))
    if options.capacity_provider:
        hint = "leave it out: the machines of yours have the disks that you gave them"
        refuse_unused(options, EcsTarget.name, ["disk"], "with --capacity-provider", hint)
        return _on_machines_of_the_user(release, options.capacity_provider)
    found = machines.machines(release, options.disk)
    return _Copy(found.share, f"Fargate has no GPUs: {found.note()}", found)


def _on_machines_of_the_user(release: Release, provider: str) -> _Copy:
    gpus = release.accelerator
    assert gpus is not None
    if gpus.count > _MOST_GPUS:
        raise PlanError(
            "no machine of AWS has so many GPUs",
            where="resources.accelerator",
            hint=f"ask for up to {_MOST_GPUS}",
        )
    if provider == capacity.capacity_name(release.name):
        raise PlanError(
            f"{provider} is the capacity provider that Truss makes for this deployment",
            where="deploy.ecs.capacity_provider",
            hint="leave --capacity-provider out, or name one of yours",
        )
    note = (
        f"{gpus.count} GPU of {gpus.kind or 'any kind'} is asked of the machines of {provider}, which have "
        f"to join the cluster {tasks.cluster_name(release.name)} (ECS_CLUSTER in /etc/ecs/ecs.config)"
    )
    return _Copy(Size("machines of yours", release.cpu, release.memory, gpus.kind, gpus.count), note)


def _price(options: EcsOptions, copy: _Copy) -> Price | None:
    if copy.machines is not None:
        count, hourly = copy.machines.count(options.min_copies), copy.machines.hourly
        what = f"{count} x {copy.size.name} with {options.disk} GB of disk and a load balancer in us-east-1"
    else:
        count, hourly = options.min_copies, copy.size.hourly
        what = f"{count} x {copy.size.name} and a load balancer in us-east-1"
    return Price((count * hourly + _BALANCER_HOUR) * 730, what, _AS_OF) if hourly else None


def _resources(release: Release, options: EcsOptions, copy: _Copy) -> Iterator[Resource]:
    name = release.name
    if not options.repository:
        yield repositories.image_repository(_SERVICE, name)
    for one in release.secrets:
        yield secrets.secret(name, one)
    yield logs.log_group(name)
    yield roles.role(name, "execution", "ecs-tasks.amazonaws.com", [_EXECUTION], secrets.may_read(release))
    yield roles.role(name, "task", "ecs-tasks.amazonaws.com", [])
    if copy.machines is not None:
        yield capacity.machine_role(name)
    yield network.security_group(name, "balancer", 443 if options.certificate else 80, options.reachable_from)
    of_balancer = Output(f"{network.SecurityGroup.kind}/{network.group_name(name, 'balancer')}", "id")
    yield network.security_group(name, "copies", PORT, of_balancer)
    yield from balancer.balanced(
        name,
        internal=options.internal,
        certificate=options.certificate,
        timeout=options.timeout,
        drain=min(round(release.grace), _LONGEST_STOP),
        targets="ip",
    )
    providers = ["FARGATE", *filter(None, [options.capacity_provider])]
    yield Resource(
        tasks.Cluster.kind,
        tasks.cluster_name(name),
        {"deployment": name, "capacity": providers},
        "ecs:CreateCluster",
    )
    if copy.machines is not None:
        yield from capacity.capacity(name, copy.machines, options.min_copies, _most(options))
    definition = {"deployment": name, "definition": _definition(release, copy.size)}
    yield Resource(tasks.TaskDefinition.kind, name, definition, "ecs:RegisterTaskDefinition")
    yield Resource(tasks.Service.kind, name, _service(release, options), "ecs:CreateService")
    if options.max_copies > options.min_copies:
        yield scaling.scaling(
            name,
            least=options.min_copies,
            most=options.max_copies,
            requests_a_minute=options.requests_a_minute,
            label=balancer.metric_label(name),
        )


def _most(options: EcsOptions) -> int:
    return max(options.min_copies, options.max_copies)


def _definition(release: Release, size: Size) -> dict[str, Any]:
    gpus = release.accelerator
    container: dict[str, Any] = {
        "name": _CONTAINER,
        "image": release.image,
        "essential": True,
        "portMappings": [{"containerPort": PORT, "protocol": "tcp"}],
        "environment": [{"name": key, "value": value} for key, value in sorted(release.environment.items())],
        "secrets": [
            {"name": variable, "valueFrom": secrets.arn(release.name, name)}
            for variable, name in release.secret_variables.items()
        ],
        "stopTimeout": min(release.stop_seconds, _LONGEST_STOP),
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": f"/truss/{release.name}",
                "awslogs-region": network.of_network("region"),
                "awslogs-stream-prefix": _CONTAINER,
            },
        },
    }
    if gpus is not None:
        container["resourceRequirements"] = [{"type": "GPU", "value": str(gpus.count)}]
    return {
        "family": release.name,
        "requiresCompatibilities": ["EC2" if gpus is not None else "FARGATE"],
        "networkMode": "awsvpc",
        "cpu": str(round(size.cpu * 1024)),
        "memory": str(size.memory // MIB),
        "executionRoleArn": Output(f"{roles.Role.kind}/{roles.role_name(release.name, 'execution')}", "arn"),
        "taskRoleArn": Output(f"{roles.Role.kind}/{roles.role_name(release.name, 'task')}", "arn"),
        "runtimePlatform": {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"},
        "containerDefinitions": [container],
    }


def _service(release: Release, options: EcsOptions) -> dict[str, Any]:
    name = release.name
    runs_on = {"launch": "FARGATE"}
    if release.accelerator is not None:
        runs_on = {"capacity_provider": options.capacity_provider or capacity.capacity_name(name)}
    return {
        "deployment": name,
        "definition": Output(f"{tasks.TaskDefinition.kind}/{name}", "arn"),
        # Where there is autoscaling, how many there are is not ours to say.
        "copies": options.min_copies if options.max_copies <= options.min_copies else None,
        **runs_on,
        "subnets": network.of_network("subnets"),
        "security_groups": [
            Output(f"{network.SecurityGroup.kind}/{network.group_name(name, 'copies')}", "id")
        ],
        "targets": Output(f"{balancer.TargetGroup.kind}/{balancer.balancer_name(name)}", "arn"),
        "container": _CONTAINER,
        "port": PORT,
    }


def _notes(release: Release, options: EcsOptions) -> Iterator[str]:
    yield from repositories.storage_notes(_SERVICE, release.name, options.repository)
    if not options.certificate and not options.internal:
        yield "it speaks plain HTTP; --certificate ARN makes that HTTPS, --internal keeps it in its network"
    if release.accelerator is not None:
        yield "a copy on a machine has no public address: it reaches the internet through a NAT gateway only"
    if release.accelerator is not None and not options.capacity_provider:
        yield "a change starts machines for the new copies beside those of the old ones, which stop after it"
    if release.stop_seconds > _LONGEST_STOP:
        yield f"a copy that stops has {_LONGEST_STOP} s, not {release.grace:g} s"


_SCALED = scaling.Scaling(
    "ecs",
    "ecs:service:DesiredCount",
    "ALBRequestCountPerTarget",
    lambda name: f"service/{tasks.cluster_name(name)}/{name}",
    lambda account, name: bool(tasks.Service().owned(account, name)),
)

_KINDS = (
    repositories.ImageRepository(_SERVICE),
    secrets.Secret(),
    logs.LogGroup(),
    roles.Role(),
    network.SecurityGroup(),
    balancer.LoadBalancer(),
    balancer.TargetGroup(),
    balancer.Listener(),
    tasks.Cluster(),
    *capacity.KINDS,
    tasks.TaskDefinition(),
    tasks.Service(),
    _SCALED,
)


class EcsPlatform(repositories.KeepsImages):
    """ECS in an account.

    Args:
        account: The account.
    """

    service = _SERVICE

    def __init__(self, account: Account) -> None:
        super().__init__(account, _KINDS, (network.Network(),))

    def deployments(self) -> Sequence[Status]:
        """Those whose cluster has our mark."""
        listed = self.account.listed("ecs", "list_clusters", "clusterArns")
        arns = [arn for arn in listed if arn.rpartition("/")[2].startswith(tasks.cluster_name(""))]
        told = [
            one
            for first in range(0, len(arns), _MOST_DESCRIBED)
            for one in self.account.call(
                "ecs",
                "describe_clusters",
                clusters=arns[first : first + _MOST_DESCRIBED],
                include=["TAGS"],
            )["clusters"]
        ]
        names = sorted(filter(None, (marked(one.get("tags")) for one in told)))
        return [status for status in map(self.status, names) if status is not None]

    def status(self, deployment: str) -> Status | None:
        """What the service says of its copies."""
        told = tasks.described(self.account, deployment)
        if told is None or marked(told.get("tags")) != deployment:
            return None
        state, detail = _state(told)
        if state == "starting" and tasks.runs_on(told) == capacity.capacity_name(deployment):
            detail = tuple(filter(None, (*detail, capacity.trouble(self.account, deployment))))
        return Status(
            deployment,
            EcsTarget.name,
            state,
            self._url(deployment),
            self._image(told["taskDefinition"]),
            told["runningCount"],
            told["desiredCount"],
            detail,
        )

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What the copies have written, of the last day."""
        yield from logs.lines_of(self.account, f"/truss/{deployment}", follow=follow, lines=lines)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The revisions of its task definition."""
        told = tasks.described(self.account, deployment)
        current = told["taskDefinition"] if told is not None else ""
        return [
            Revision(arn.rpartition(":")[2], self._image(arn), arn == current)
            for arn in tasks.definitions(self.account, deployment)
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Have the service run the revision, and retire those that came after it."""
        arns = tasks.definitions(self.account, deployment)
        number = next(index for index, arn in enumerate(arns) if arn.endswith(f":{revision.id}"))
        tasks.run_earlier(self.account, deployment, arns[number])
        for arn in arns[number + 1 :]:
            self.account.call("ecs", "deregister_task_definition", taskDefinition=arn)

    def ask(self, deployment: str, body: bytes) -> bytes:
        """Over HTTP, through the balancer."""
        return endpoint.ask(f"{self._url(deployment)}{PREDICT}", body)

    def _url(self, deployment: str) -> str:
        found = balancer.LoadBalancer().owned(self.account, deployment)
        listening = balancer.Listener().owned(self.account, deployment)
        scheme = "https" if listening and listening[0].body["certificate"] else "http"
        return f"{scheme}://{found[0].outputs['address']}" if found else ""

    def _image(self, definition: str) -> str:
        told = self.account.call("ecs", "describe_task_definition", taskDefinition=definition)
        image: str = told["taskDefinition"]["containerDefinitions"][0]["image"]
        return image


def _state(told: Mapping[str, Any]) -> tuple[State, tuple[str, ...]]:
    """How a service does, by its deployments' rollout states."""
    newest: Mapping[str, Any] = next((one for one in told["deployments"] if one["status"] == "PRIMARY"), {})
    events = tuple(one["message"] for one in told.get("events", ())[:1])
    if newest.get("rolloutState") == "FAILED":
        return "failed", (newest.get("rolloutStateReason", ""), *events)
    if not told["desiredCount"]:
        return "stopped", ()
    settled = len(told["deployments"]) == 1 and told["runningCount"] >= told["desiredCount"]
    return ("healthy", ()) if settled else ("starting", events)

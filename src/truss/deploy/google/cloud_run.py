"""Cloud Run: copies that come and go with the requests, down to none.

https://cloud.google.com/run/docs/reference/rest/v2/projects.locations.services
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from truss.deploy import endpoint, http2
from truss.deploy.changes import restricted
from truss.deploy.google import identity, log_lines, secrets, terraform
from truss.deploy.google.account import Account, last, marked, marks
from truss.deploy.google.permissions import PUSHING, role
from truss.deploy.kinds import Kinds
from truss.deploy.options import check_copies
from truss.deploy.plan import File, Output, Plan, Price, Resource, as_json
from truss.deploy.release import LIVE, PORT, PREDICT, READY, Release
from truss.deploy.sizes import GIB, MIB, Size, check_body, enough, gibibytes
from truss.deploy.target import Feature, Found, Options, Revision, State, Status, option
from truss.errors import NotDeployedError, PlanError

_API, _SERVICES = "run", "projects.locations.services"
_LONGEST = 3600

# https://cloud.google.com/run/docs/configuring/services/cpu and .../memory-limits
SIZES = (
    Size("1 CPU", 1, 4 * GIB),
    Size("2 CPU", 2, 8 * GIB),
    Size("4 CPU", 4, 16 * GIB),
    Size("6 CPU", 6, 24 * GIB),
    Size("8 CPU", 8, 32 * GIB),
    # https://cloud.google.com/run/docs/configuring/services/gpu
    Size("4 CPU with an L4", 4, 16 * GIB, "L4", 1),
    Size("8 CPU with an L4", 8, 32 * GIB, "L4", 1),
)
# The least memory that so many CPU take, the most first, by the same two pages.
_LEAST_MEMORY = ((6, 4 * GIB), (4, 2 * GIB), (0, 512 * MIB))
_LEAST_MEMORY_WITH_GPU = 16 * GIB

# https://cloud.google.com/run/docs/configuring/healthchecks: the most seconds until a copy has to be ready.
_LOADING, _LOADING_WITH_GPU = 600, 1800
_BETWEEN_PROBES = 10

# https://cloud.google.com/run/pricing, us-central1: dollars a second of a copy that waits; of a GPU.
_CPU_SECOND, _GIB_SECOND, _L4_SECOND = 0.0000025, 0.0000025, 0.0001867
_AS_OF = "2025-11"


class CloudRunOptions(Options, frozen=True, kw_only=True):
    """What a deployment to Cloud Run can be told."""

    repository: Annotated[
        str,
        option(
            "Where its image is pushed: Artifact Registry, e.g. europe-docker.pkg.dev/PROJECT/models/iris."
        ),
    ] = ""
    project: Annotated[str, option("The project; by default the one of the credentials.")] = ""
    region: Annotated[str, option("The region.")] = "us-central1"
    public: Annotated[bool, option("Whether anybody may ask it, or only who has the role of an invoker.")] = (
        False
    )
    internal: Annotated[bool, option("Whether it is reached from its project's networks only.")] = False
    min_copies: Annotated[int, option("How many copies there are at least; 0: none without requests.")] = 0
    max_copies: Annotated[int, option("How many copies there are at most.")] = 10
    concurrency: Annotated[int, option("Requests at a time at a copy.")] = 80
    timeout: Annotated[int, option("Seconds that an answer may take.")] = 300
    http2: http2.Http2 = False


class CloudRunTarget:
    """See the module."""

    name = "cloud-run"
    summary = "Google Cloud Run, down to no copies"
    options = CloudRunOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.AUTOSCALING,
            Feature.SCALE_TO_ZERO,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.GRPC,
            Feature.APPLIES,
        }
    )

    def repository(self, options: CloudRunOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: CloudRunOptions) -> Plan:
        """The resources."""
        check_copies(options, self.name, "min_copies", "max_copies")
        http2.check(release, options.http2, self.name)
        size, note = enough(release, SIZES, "Cloud Run")
        check_body(release, 32 * MIB, "Cloud Run", "kubernetes, which has no such limit")
        if not 1 <= options.timeout <= _LONGEST:
            raise PlanError(
                f"an answer of Cloud Run may take {_LONGEST} s, not {options.timeout} s",
                where="deploy.cloud-run.timeout",
                hint="deploy to kubernetes, which has no such limit",
            )
        memory = max(release.memory, _least_memory(size))
        template = _template(release, options, size, memory)
        resources = (
            identity.service_account(release.name),
            *(secrets.secret(release.name, one, identity.email_of(release.name)) for one in release.secrets),
            Resource(
                Service.kind,
                release.name,
                {
                    "deployment": release.name,
                    "ingress": _ingress(options),
                    "template": template,
                    "traffic": _LATEST,
                },
                "run.projects.locations.services.create",
            ),
            Resource(
                Invokers.kind,
                release.name,
                {"deployment": release.name, "public": options.public},
                "run.projects.locations.services.setIamPolicy",
            ),
        )
        files = (File("resources.json", as_json({one.key: one.body for one in resources})),)
        notes = tuple(text for text in (note, *_notes(release, options, size, memory)) if text)
        price = _price(options, size, memory)
        plan = Plan(self.name, release.name, resources, files, notes, price, asked=not options.http2)
        return terraform.written(plan, release.image, options.project, options.region)

    def connect(self, options: CloudRunOptions) -> CloudRunPlatform:
        """The project of the credentials that Google's client finds."""
        return CloudRunPlatform(Account(options.project, options.region))

    def permissions(self) -> File:
        """A role for whoever deploys there."""
        return role("Cloud Run", _KINDS, (*_READING, *log_lines.RIGHTS, *PUSHING))


def _least_memory(size: Size) -> int:
    if size.gpu:
        return _LEAST_MEMORY_WITH_GPU
    return next(memory for cpu, memory in _LEAST_MEMORY if size.cpu >= cpu)


def _loading(size: Size) -> int:
    """Seconds that a copy may take until it is ready."""
    return _LOADING_WITH_GPU if size.gpu else _LOADING


def _price(options: CloudRunOptions, size: Size, memory: int) -> Price | None:
    copies = options.min_copies
    if not copies:
        return Price(0.0, "no copies; requests cost by the second that they take", _AS_OF)
    second = size.cpu * _CPU_SECOND + memory / GIB * _GIB_SECOND + size.gpus * _L4_SECOND
    return Price(copies * second * 730 * 3600, f"{copies} x {size.name} that wait for requests", _AS_OF)


def _ingress(options: CloudRunOptions) -> str:
    return "INGRESS_TRAFFIC_INTERNAL_ONLY" if options.internal else "INGRESS_TRAFFIC_ALL"


_LATEST: list[dict[str, Any]] = [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}]


def _template(release: Release, options: CloudRunOptions, size: Size, memory: int) -> dict[str, Any]:
    container = {
        "image": release.image,
        "ports": [{"name": http2.port_name(options.http2), "containerPort": PORT}],
        "env": [
            *({"name": name, "value": value} for name, value in sorted(release.environment.items())),
            *(_secret_variable(release.name, *one) for one in release.secret_variables.items()),
        ],
        "resources": {
            "limits": {
                "cpu": f"{size.cpu:g}",
                "memory": f"{-(-memory // MIB)}Mi",
                **({"nvidia.com/gpu": "1"} if size.gpu else {}),
            },
            # GPUs are only there for copies that keep their cores between requests.
            "cpuIdle": not size.gpu,
            "startupCpuBoost": True,
        },
        # A copy is ready once its model is loaded, so this probe waits for that, as long as it may.
        "startupProbe": {
            "httpGet": {"path": READY, "port": PORT},
            "periodSeconds": _BETWEEN_PROBES,
            "timeoutSeconds": 5,
            "failureThreshold": _loading(size) // _BETWEEN_PROBES,
        },
        "livenessProbe": {"httpGet": {"path": LIVE, "port": PORT}, "periodSeconds": 30, "timeoutSeconds": 5},
    }
    most = max(options.min_copies, options.max_copies)
    gpu = (
        {"nodeSelector": {"accelerator": "nvidia-l4"}, "gpuZonalRedundancyDisabled": True} if size.gpu else {}
    )
    return {
        "labels": marks(release.name),
        "serviceAccount": identity.email_of(release.name),
        "scaling": {"minInstanceCount": options.min_copies, "maxInstanceCount": most},
        "maxInstanceRequestConcurrency": options.concurrency,
        "timeout": f"{options.timeout}s",
        "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
        "containers": [container],
        **gpu,
    }


def _secret_variable(deployment: str, variable: str, name: str) -> dict[str, Any]:
    full = secrets.secret_name(deployment, name)
    reference = {"secret": full, "version": Output(f"{secrets.Secret.kind}/{full}", "version")}
    return {"name": variable, "valueSource": {"secretKeyRef": reference}}


def _notes(release: Release, options: CloudRunOptions, size: Size, memory: int) -> Iterator[str]:
    yield f"a copy has {_loading(size) // 60} minutes to load the model, and 10 s to stop"
    yield "a request and an answer may have 32 MiB over HTTP/1"
    # https://cloud.google.com/run/docs/triggering/grpc
    yield from http2.notes(release, options.http2, "Cloud Run passes on gRPC without streams and metadata")
    if memory > release.memory:
        yield f"it gets {gibibytes(memory)} of memory, Cloud Run's least for {size.name}"
    if not options.public:
        yield "only who has roles/run.invoker may ask it; --public lets everybody"
    if release.accelerator is not None:
        yield "GPUs want a quota of the region for L4 without zonal redundancy"


class Service:
    """A service, which has an address and revisions."""

    kind = "run:service"
    rights = (
        "run.operations.get",
        "run.services.create",
        "run.services.delete",
        "run.services.get",
        "run.services.update",
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        told = account.found(_API, _SERVICES, name=full_name(account, resource.name))
        return None if told is None else self._found(told, resource.body)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it; returns once a copy of it was ready, or could not be."""
        told = account.done(
            _API,
            _SERVICES,
            "create",
            parent=account.place,
            serviceId=resource.name,
            body=_api_body(resource.body),
        )
        return {"uri": told.get("uri", "")}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Make another revision of it, which gets all requests once a copy is ready.

        It says which one had them before: what was left by going back, or never had any, stays in the list.
        """
        name = full_name(account, resource.name)
        now = account.call(_API, _SERVICES, "get", name=name)
        before = _serving(now)
        same = found.body["template"] == resource.body["template"]
        if same and before == last(now.get("latestReadyRevision", "")):
            before = _before(now["template"])  # no other revision is made
        template = {**resource.body["template"], **({"annotations": {_BEFORE: before}} if before else {})}
        body = _api_body({**resource.body, "template": template})
        told = account.done(_API, _SERVICES, "patch", name=name, body=body)
        return {"uri": told.get("uri", "")}

    def delete(self, account: Account, found: Found) -> None:
        """Remove it with its revisions."""
        account.gone(_API, _SERVICES, long=True, name=full_name(account, found.name))

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        told = account.found(_API, _SERVICES, name=full_name(account, deployment))
        return [self._found(told, None)] if told is not None and marked(told) == deployment else []

    def _found(self, told: Mapping[str, Any], like: Mapping[str, Any] | None) -> Found:
        deployment = marked(told)
        body = {
            "deployment": deployment,
            "ingress": told.get("ingress", ""),
            "template": told["template"] if like is None else _shown(told["template"], like["template"]),
            "traffic": told.get("traffic", _LATEST),
        }
        return Found(self.kind, last(told["name"]), body, deployment, {"uri": told.get("uri", "")})


def _shown(template: Any, like: Mapping[str, Any]) -> Any:
    """A template without what Google filled in, and with the noughts that its messages leave out.

    The environment is whole, since its names are the user's.
    """
    told = template["containers"][0]
    resources = {"cpuIdle": False, **told.get("resources", {})}
    container = {**told, "resources": resources, "env": told.get("env", [])}
    scaling = {"minInstanceCount": 0, **template.get("scaling", {})}
    found = restricted({**template, "scaling": scaling, "containers": [container]}, like)
    return {**found, "containers": [{**found["containers"][0], "env": container["env"]}]}


class Invokers:
    """Who may ask a service: https://cloud.google.com/run/docs/authenticating/public."""

    kind = "run:invokers"
    rights = ("run.services.get", "run.services.getIamPolicy", "run.services.setIamPolicy")

    def find(self, account: Account, resource: Resource) -> Found | None:
        """Whether everybody may; nothing before the service is there."""
        return self._of(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Say who may."""
        return self._set(account, resource)

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as every kind
        """Say who may."""
        return self._set(account, resource)

    def delete(self, account: Account, found: Found) -> None:
        """Nothing: it goes with the service."""

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """That of the deployment's service."""
        found = self._of(account, deployment)
        return [found] if found is not None and found.deployment == deployment else []

    def _set(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        name = full_name(account, resource.name)
        policy = account.call(_API, _SERVICES, "getIamPolicy", resource=name)
        others = [one for one in policy.get("bindings", ()) if "allUsers" not in one["members"]]
        # An empty binding would be dropped; this one tells that the question was settled.
        members = ["allUsers"] if resource.body["public"] else [_nobody(account, resource.name)]
        bindings = [*others, {"role": "roles/run.invoker", "members": members}]
        body = {"policy": {"bindings": bindings, "etag": policy.get("etag", "")}}
        account.call(_API, _SERVICES, "setIamPolicy", resource=name, body=body)
        return {}

    def _of(self, account: Account, name: str) -> Found | None:
        service = account.found(_API, _SERVICES, name=full_name(account, name))
        if service is None:
            return None
        policy = account.call(_API, _SERVICES, "getIamPolicy", resource=full_name(account, name))
        members = [
            member
            for one in policy.get("bindings", ())
            if one["role"] == "roles/run.invoker"
            for member in one["members"]
        ]
        if not members:
            return None
        deployment = marked(service)
        return Found(self.kind, name, {"deployment": deployment, "public": "allUsers" in members}, deployment)


def _nobody(account: Account, deployment: str) -> str:
    """The deployment's own account: it may ask itself, which gives nobody anything."""
    name = identity.account_name(deployment)
    return f"serviceAccount:{name}@{account.project_name}.iam.gserviceaccount.com"


def full_name(account: Account, deployment: str) -> str:
    """The full name of a deployment's service."""
    return f"{account.place}/services/{deployment}"


_BEFORE = "truss.ai/before"
"""The annotation of a revision that names the one which had the requests when it was made."""


def _before(revision: Mapping[str, Any]) -> str:
    return str(revision.get("annotations", {}).get(_BEFORE, ""))


def _api_body(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "labels": marks(body["deployment"]),
        "ingress": body["ingress"],
        "template": body["template"],
        "traffic": body["traffic"],
    }


_KINDS = (identity.ServiceAccount(), secrets.Secret(), Service(), Invokers())
_READING = ("run.revisions.get", "run.revisions.list", "run.routes.invoke", "run.services.list")


class CloudRunPlatform(Kinds[Account]):
    """Cloud Run in a project.

    Args:
        account: The project and region.
    """

    def __init__(self, account: Account) -> None:
        super().__init__(account, _KINDS)

    def deployments(self) -> Sequence[Status]:
        """Services with our mark."""
        found = self.account.listed(_API, _SERVICES, "services", parent=self.account.place)
        return [self._status(one) for one in found if marked(one)]

    def status(self, deployment: str) -> Status | None:
        """What Google says of the service."""
        told = self._ours(deployment)
        return None if told is None else self._status(told)

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What its copies have written."""
        wanted = (
            f'resource.type="cloud_run_revision" AND resource.labels.service_name="{deployment}" '
            f'AND resource.labels.location="{self.account.region}"'
        )
        yield from log_lines.lines_of(self.account, wanted, follow=follow, lines=lines)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The service's revisions."""
        service = self._ours(deployment)
        if service is None:
            return []
        current = _serving(service)
        listed = self.account.listed(
            _API, f"{_SERVICES}.revisions", "revisions", parent=full_name(self.account, deployment)
        )
        found = sorted(listed, key=lambda one: one["createTime"])
        return [
            Revision(
                last(one["name"]),
                one["containers"][0]["image"],
                last(one["name"]) == current,
                _before(one),
            )
            for one in found
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Send all requests to a revision."""
        target = {"type": _TO_REVISION, "revision": revision.id, "percent": 100}
        name = full_name(self.account, deployment)
        body = {"traffic": [target]}
        self.account.done(_API, _SERVICES, "patch", name=name, updateMask="traffic", body=body)

    def ask(self, deployment: str, body: bytes) -> bytes:
        """With a token that says who asks."""
        service = self._ours(deployment)
        if service is None:
            raise NotDeployedError(
                f"nothing is deployed to Cloud Run under the name '{deployment}'",
                hint="see what is: truss status --to cloud-run --all",
            )
        where = str(service.get("uri", ""))
        return endpoint.ask(f"{where}{PREDICT}", body, self.account.identity(where))

    def _ours(self, deployment: str) -> Any | None:
        told = self.account.found(_API, _SERVICES, name=full_name(self.account, deployment))
        return told if told is not None and marked(told) == deployment else None

    def _status(self, told: Mapping[str, Any]) -> Status:
        name = last(told["name"])
        serving = _serving(told)
        revision = self.account.found(
            _API, f"{_SERVICES}.revisions", name=f"{told['name']}/revisions/{serving}"
        )
        template = revision if revision is not None else told["template"]
        condition = told.get("terminalCondition", {})
        state = _state(told, condition)
        return Status(
            name,
            CloudRunTarget.name,
            state,
            told.get("uri", ""),
            template["containers"][0]["image"],
            ready=template.get("scaling", {}).get("minInstanceCount", 0) if state == "healthy" else 0,
            wanted=template.get("scaling", {}).get("minInstanceCount", 0),
            detail=tuple(filter(None, (condition.get("message", ""),))) if state != "healthy" else (),
        )


_TO_REVISION = "TRAFFIC_TARGET_ALLOCATION_TYPE_REVISION"


def _serving(service: Mapping[str, Any]) -> str:
    """The revision that gets the requests; where somebody split them, the most of them."""
    latest = last(service.get("latestReadyRevision", ""))
    shares: Counter[str] = Counter()
    for one in service.get("traffic") or _LATEST:
        revision = last(one["revision"]) if one.get("type") == _TO_REVISION else latest
        shares[revision] += one.get("percent", 0)
    return max(sorted(shares), key=lambda one: shares[one])


def _state(told: Mapping[str, Any], condition: Mapping[str, Any]) -> State:
    if told.get("reconciling"):
        return "starting"
    return _STATES.get(condition.get("state", ""), "starting")


_STATES: Mapping[str, State] = {"CONDITION_SUCCEEDED": "healthy", "CONDITION_FAILED": "failed"}

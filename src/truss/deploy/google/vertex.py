"""Vertex AI: a model of the project's registry, deployed to an endpoint.

https://cloud.google.com/vertex-ai/docs/reference/rest
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from truss.deploy.changes import restricted
from truss.deploy.google import identity, log_lines, secrets
from truss.deploy.google.account import Account, marked, marks
from truss.deploy.google.deployed import (
    API,
    ENDPOINTS,
    MODELS,
    PREFIX,
    Deployed,
    as_deployed,
    endpoint_name,
    model_name,
    most,
    newest,
    percent,
    spread,
    tries,
)
from truss.deploy.google.permissions import PUSHING, role
from truss.deploy.kinds import Kinds
from truss.deploy.options import check_copies
from truss.deploy.plan import File, Output, Plan, Price, Resource, as_json
from truss.deploy.release import PORT, Release
from truss.deploy.sizes import GIB, Size, check_body, enough
from truss.deploy.target import Feature, Found, Options, Revision, State, Status, option
from truss.errors import DeployError, NotDeployedError, PlanError

_PREDICT, _HEALTH = "/predict", "/readyz"
_AS_OF = "2025-11"

# https://cloud.google.com/vertex-ai/pricing#prediction-prices, us-central1: dollars an hour
SIZES = (
    Size("n1-standard-2", 2, int(7.5 * GIB), hourly=0.1095),
    Size("n1-standard-4", 4, 15 * GIB, hourly=0.2190),
    Size("n1-standard-8", 8, 30 * GIB, hourly=0.4379),
    Size("n1-standard-16", 16, 60 * GIB, hourly=0.8758),
    Size("n1-standard-32", 32, 120 * GIB, hourly=1.7517),
    Size("n1-highmem-32", 32, 208 * GIB),
    Size("n1-standard-4 with a T4", 4, 15 * GIB, "T4", 1, 0.6215),
    Size("n1-standard-16 with 4 T4", 16, 60 * GIB, "T4", 4),
    Size("g2-standard-4", 4, 16 * GIB, "L4", 1, 0.8129),
    Size("g2-standard-12", 12, 48 * GIB, "L4", 1),
    Size("g2-standard-24", 24, 96 * GIB, "L4", 2),
    Size("g2-standard-48", 48, 192 * GIB, "L4", 4),
    Size("g2-standard-96", 96, 384 * GIB, "L4", 8),
    Size("a2-highgpu-1g", 12, 85 * GIB, "A100_40GB", 1),
    Size("a2-highgpu-2g", 24, 170 * GIB, "A100_40GB", 2),
    Size("a2-highgpu-4g", 48, 340 * GIB, "A100_40GB", 4),
    Size("a2-highgpu-8g", 96, 680 * GIB, "A100_40GB", 8),
    Size("a2-ultragpu-1g", 12, 170 * GIB, "A100", 1),
    Size("a2-ultragpu-2g", 24, 340 * GIB, "A100", 2),
    Size("a2-ultragpu-4g", 48, 680 * GIB, "A100", 4),
    Size("a2-ultragpu-8g", 96, 1360 * GIB, "A100", 8),
    Size("a3-highgpu-8g", 208, 1872 * GIB, "H100", 8),
)
_ACCELERATORS = {
    "T4": "NVIDIA_TESLA_T4",
    "L4": "NVIDIA_L4",
    "A100_40GB": "NVIDIA_TESLA_A100",
    "A100": "NVIDIA_A100_80GB",
    "H100": "NVIDIA_H100_80GB",
}


class VertexOptions(Options, frozen=True, kw_only=True):
    """What a deployment to Vertex AI can be told."""

    repository: Annotated[
        str,
        option(
            "Where its image is pushed: Artifact Registry, e.g. europe-docker.pkg.dev/PROJECT/models/iris."
        ),
    ] = ""
    project: Annotated[str, option("The project; by default the one of the credentials.")] = ""
    region: Annotated[str, option("The region.")] = "us-central1"
    min_copies: Annotated[int, option("How many copies there are at least.")] = 1
    max_copies: Annotated[int, option("How many copies there are at most.")] = 1
    dedicated: Annotated[
        bool, option("Whether it has an address of its own, for requests over 1.5 MB and answers over 60 s.")
    ] = True
    traffic: Annotated[
        int,
        option("How many of a hundred requests a new version gets; those before it keep the rest."),
    ] = 100


class VertexTarget:
    """See the module."""

    name = "vertex"
    summary = "Google Vertex AI endpoints"
    options = VertexOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.AUTOSCALING,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.APPLIES,
        }
    )

    def repository(self, options: VertexOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: VertexOptions) -> Plan:
        """The resources."""
        check_copies(options, self.name, "min_copies", "max_copies")
        size, note = enough(release, SIZES, "Vertex AI")
        largest = 10_000_000 if options.dedicated else 1_500_000
        check_body(release, largest, "Vertex AI", "kubernetes, which has no such limit")
        if not 1 <= options.traffic <= 100:
            raise PlanError(
                f"a version gets 1 to 100 of a hundred requests, not {options.traffic}",
                where="deploy.vertex.traffic",
                hint="write --traffic 10 for a tenth of them",
            )
        resources = tuple(_resources(release, options, size))
        files = (File("resources.json", as_json({one.key: one.body for one in resources})),)
        price = None
        if size.hourly:
            what = f"{options.min_copies} x {size.name} in us-central1"
            price = Price(options.min_copies * size.hourly * 730, what, _AS_OF)
        notes = tuple(text for text in (note, *_notes(release, options)) if text)
        return Plan(self.name, release.name, resources, files, notes, price)

    def connect(self, options: VertexOptions) -> VertexPlatform:
        """The project of the credentials that Google's client finds."""
        return VertexPlatform(Account(options.project, options.region))

    def permissions(self) -> File:
        """A role for whoever deploys there."""
        return role("Vertex AI", _KINDS, (*_READING, *log_lines.RIGHTS, *PUSHING))


def _resources(release: Release, options: VertexOptions, size: Size) -> Iterator[Resource]:
    name = release.name
    yield identity.service_account(name)
    for one in release.secrets:
        yield secrets.secret(name, one, identity.email_of(name))
    variables = [{"name": key, "value": value} for key, value in sorted(release.environment.items())]
    stored = [{"name": key, "value": _place(name, one)} for key, one in release.stored_variables.items()]
    # https://cloud.google.com/vertex-ai/docs/predictions/custom-container-requirements
    container = {
        "imageUri": release.image,
        "env": [*variables, *stored],
        "ports": [{"containerPort": PORT}],
        "predictRoute": _PREDICT,
        "healthRoute": _HEALTH,
        "deploymentTimeout": "1800s",
    }
    yield Resource(
        Model.kind,
        f"{PREFIX}{name}",
        {"deployment": name, "container": container},
        "aiplatform.projects.locations.models.upload",
    )
    yield Resource(
        Endpoint.kind,
        f"{PREFIX}{name}",
        {"deployment": name, "dedicated": options.dedicated},
        "aiplatform.projects.locations.endpoints.create",
    )
    body = {
        "deployment": name,
        "model": Output(f"{Model.kind}/{PREFIX}{name}", "version"),
        "account": identity.email_of(name),
        "machine": _machine(size),
        "least": options.min_copies,
        "most": max(options.min_copies, options.max_copies),
        "percent": options.traffic,
        "unasked": 0,
    }
    yield Resource(
        Deployed.kind, f"{PREFIX}{name}", body, "aiplatform.projects.locations.endpoints.deployModel"
    )


def _place(deployment: str, name: str) -> Output:
    """Where a secret's value is kept, which the server reads when it starts: see `runtime.stored_secrets`."""
    return Output(f"{secrets.Secret.kind}/{secrets.secret_name(deployment, name)}", "place")


def _machine(size: Size) -> dict[str, Any]:
    machine: dict[str, Any] = {"machineType": size.name.partition(" ")[0]}
    if size.gpu:
        machine |= {"acceleratorType": _ACCELERATORS[size.gpu], "acceleratorCount": size.gpus}
    return machine


def _notes(release: Release, options: VertexOptions) -> Iterator[str]:
    if not options.dedicated:
        yield "a request may have 1.5 MB and an answer may take 60 s; --dedicated lifts that to 10 MB and 1 h"
    where = "at an address of its own, which `truss status` shows, " if options.dedicated else ""
    yield f'it is asked {where}with :rawPredict, or with :predict in the form of {{"instances": [...]}}'
    if options.traffic < 100:
        yield (
            f"a new version gets {options.traffic} % of the requests, and the one before it the rest, each "
            "on machines of its own: --traffic 100 gives it all, `truss rollback` none"
        )
        yield (
            "Vertex AI has no address for one of two versions: each example is asked until the new one has "
            "answered, which gets its share meanwhile; it loses that with a wrong answer"
        )
    if release.secrets:
        names = ", ".join(release.secrets)
        yield (
            f"Vertex AI has no secrets of its own: Secret Manager keeps {names}, a variable says where, and "
            "the server reads the value when it starts, with the rights of its account"
        )


class Model:
    """A model of the registry; each change makes a version, and those before it stay to go back to."""

    kind = "aiplatform:model"
    rights = ("aiplatform.models.delete", "aiplatform.models.get", "aiplatform.models.upload")

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The newest version."""
        return self._named(account, resource.name, resource.body["container"])

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Upload the first version."""
        return self._upload(account, resource, {"modelId": resource.name}, "")

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as every kind
        """Upload another version, which says what had the requests, or most of them, before it."""
        told = account.found(API, ENDPOINTS, name=endpoint_name(account, resource.name)) or {}
        before = most(told, resource.name)
        said = f"{_AFTER}{before}" if before else ""
        return self._upload(account, resource, {"parentModel": model_name(account, resource.name)}, said)

    def delete(self, account: Account, found: Found) -> None:
        """Remove it with all versions."""
        account.gone(API, MODELS, long=True, name=model_name(account, found.name))

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, f"{PREFIX}{deployment}", None)
        return [found] if found is not None and found.deployment == deployment else []

    def _upload(
        self, account: Account, resource: Resource, where: Mapping[str, str], said: str
    ) -> Mapping[str, Any]:
        deployment = resource.body["deployment"]
        model = {
            "displayName": resource.name,
            "labels": marks(deployment),
            "versionAliases": ["default"],
            "versionDescription": said,
            "containerSpec": resource.body["container"],
        }
        told = account.done(API, MODELS, "upload", parent=account.place, body={**where, "model": model})
        return {"version": str(told["modelVersionId"])}

    def _named(self, account: Account, name: str, like: Any) -> Found | None:
        told = account.found(API, MODELS, name=model_name(account, name))
        if told is None:
            return None
        found = told["containerSpec"] if like is None else restricted(told["containerSpec"], like)
        deployment = marked(told)
        body = {"deployment": deployment, "container": {**found, "env": told["containerSpec"].get("env", [])}}
        outputs = {"version": str(told["versionId"])}
        return Found(self.kind, name, body, deployment, outputs, frozenset({"version"}))


_AFTER = "after version "
"""What a version's description says before the number of the one that had the requests until then."""


class Endpoint:
    """What is asked for predictions."""

    kind = "aiplatform:endpoint"
    # What goes on for long is looked at by the right to look at what it is about.
    # https://cloud.google.com/vertex-ai/docs/general/iam-permissions
    rights = (
        "aiplatform.endpoints.create",
        "aiplatform.endpoints.delete",
        "aiplatform.endpoints.get",
        "aiplatform.endpoints.update",
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        return self._named(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        body = {
            "displayName": resource.name,
            "labels": marks(resource.body["deployment"]),
            "dedicatedEndpointEnabled": resource.body["dedicated"],
        }
        account.done(API, ENDPOINTS, "create", parent=account.place, endpointId=resource.name, body=body)
        return {}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it an address of its own, or take that away."""
        account.call(
            API,
            ENDPOINTS,
            "patch",
            name=endpoint_name(account, resource.name),
            updateMask="dedicatedEndpointEnabled",
            body={"dedicatedEndpointEnabled": resource.body["dedicated"]},
        )
        return found.outputs

    def delete(self, account: Account, found: Found) -> None:
        """Remove it."""
        account.gone(API, ENDPOINTS, long=True, name=endpoint_name(account, found.name))

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        found = self._named(account, f"{PREFIX}{deployment}")
        return [found] if found is not None and found.deployment == deployment else []

    def _named(self, account: Account, name: str) -> Found | None:
        told = account.found(API, ENDPOINTS, name=endpoint_name(account, name))
        if told is None:
            return None
        deployment = marked(told)
        dedicated = bool(told.get("dedicatedEndpointEnabled"))
        return Found(self.kind, name, {"deployment": deployment, "dedicated": dedicated}, deployment)


def _host(endpoint: Mapping[str, Any]) -> str:
    """An endpoint's own address, where alone it is asked then; empty: it has none.

    The reference writes it with a scheme, what is told has mostly none:
    https://cloud.google.com/vertex-ai/docs/predictions/using-dedicated-endpoints
    """
    told = str(endpoint.get("dedicatedEndpointDns", ""))
    return told if not told or "://" in told else f"https://{told}"


_KINDS = (identity.ServiceAccount(), secrets.Secret(), Model(), Endpoint(), Deployed())
_READING = ("aiplatform.endpoints.list", "aiplatform.endpoints.predict", "aiplatform.models.list")


class VertexPlatform(Kinds[Account]):
    """Vertex AI in a project.

    Args:
        account: The project and region.
    """

    def __init__(self, account: Account) -> None:
        super().__init__(account, _KINDS)

    def deployments(self) -> Sequence[Status]:
        """Endpoints with our mark."""
        found = self.account.listed(API, ENDPOINTS, "endpoints", parent=self.account.place)
        return [self._status(one) for one in found if marked(one)]

    def status(self, deployment: str) -> Status | None:
        """What Google says of the endpoint."""
        told = self._ours(deployment)
        return None if told is None else self._status(told)

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What the copies have written."""
        wanted = (
            'resource.type="aiplatform.googleapis.com/Endpoint" AND '
            f'resource.labels.endpoint_id="{PREFIX}{deployment}"'
        )
        yield from log_lines.lines_of(self.account, wanted, follow=follow, lines=lines)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The versions of its model."""
        endpoint = self._ours(deployment)
        if endpoint is None:
            return []
        current = newest(endpoint) or {}
        listed = self.account.listed(
            API,
            MODELS,
            "models",
            "listVersions",
            name=model_name(self.account, f"{PREFIX}{deployment}"),
        )
        versions = sorted((self._version(deployment, one["versionId"]) for one in listed), key=_number)
        return [
            Revision(
                one["versionId"],
                one["containerSpec"]["imageUri"],
                one["versionId"] == current.get("modelVersionId"),
                one.get("versionDescription", "").removeprefix(_AFTER),
            )
            for one in versions
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Deploy the version unless it is, give it all requests, and remove those that came after it.

        Raises:
            DeployError: nothing gets requests, so that there is nothing to go back from.
        """
        name = f"{PREFIX}{deployment}"
        found = Deployed().find(self.account, Resource(Deployed.kind, name, {}))
        if found is None:
            raise DeployError(
                f"nothing that is deployed to the endpoint '{name}' gets requests, to go back from",
                where=f"{Deployed.kind}/{name}",
                hint="deploy the earlier Truss again",
            )
        # What kept a part of the requests is as it was.
        then = as_deployed(self._ours(deployment) or {}, name, revision.id)
        spread(self.account, name, {**(then or found.body), "model": revision.id, "percent": 100})
        for later in self.revisions(deployment):
            if int(later.id) > int(revision.id):
                full = f"{model_name(self.account, name)}@{later.id}"
                self.account.gone(API, MODELS, method="deleteVersion", long=True, name=full)

    def ask(self, deployment: str, body: bytes) -> bytes:
        """As `:rawPredict`, which hands the body on as it is, at the endpoint's own address if it has one.

        Where several versions share the requests, the answer is the newest one's.
        """
        told = self._ours(deployment)
        if told is None:
            raise NotDeployedError(f"nothing is deployed to Vertex AI under the name '{deployment}'")
        asked = newest(told)
        if asked is None or percent(told, asked) == 100:
            return self.account.raw(self._url(told), body)[0]
        return self._ask_one(told, asked, body)

    def _ask_one(self, told: Mapping[str, Any], asked: Mapping[str, Any], body: bytes) -> bytes:
        """The answer of one of several that share the requests: they are asked until it is its turn.

        https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints/rawPredict
        """
        share = percent(told, asked)
        for _ in range(tries(share)):
            answer, headers = self.account.raw(self._url(told), body)
            served = headers.get("X-Vertex-AI-Deployed-Model-Id", "")
            if served == asked["id"]:
                return answer
            if not served:
                raise DeployError(
                    "Vertex AI does not say which of the versions answered",
                    hint="look at the new one yourself: --no-wait leaves this out; or give it --traffic 100",
                )
        raise DeployError(
            f"none of {tries(share)} requests went to version {asked['modelVersionId']}, with {share} %",
            hint="see how it does: `truss status`",
        )

    def _ours(self, deployment: str) -> Any | None:
        where = endpoint_name(self.account, f"{PREFIX}{deployment}")
        told = self.account.found(API, ENDPOINTS, name=where)
        return told if told is not None and marked(told) == deployment else None

    def _version(self, deployment: str, version: str) -> Any:
        full = f"{model_name(self.account, f'{PREFIX}{deployment}')}@{version}"
        return self.account.call(API, MODELS, "get", name=full)

    def _status(self, told: Mapping[str, Any]) -> Status:
        deployment = marked(told)
        current = newest(told)
        if current is None:
            why = ("nothing that is deployed to the endpoint gets requests",)
            return Status(
                deployment, VertexTarget.name, "stopped", detail=why if told.get("deployedModels") else ()
            )
        status = current.get("status", {})
        wanted = current["dedicatedResources"]["minReplicaCount"]
        ready = status.get("availableReplicaCount", wanted)
        # Also one that somebody else has deployed there.
        version = f"{current['model'].partition('@')[0]}@{current['modelVersionId']}"
        image = self.account.call(API, MODELS, "get", name=version)["containerSpec"]["imageUri"]
        state: State = "healthy" if ready >= wanted else "starting"
        share = percent(told, current)
        split = f"it gets {share} % of the requests; --traffic 100 gives it all" if share < 100 else ""
        detail = tuple(filter(None, (status.get("message", ""), split)))
        return Status(deployment, VertexTarget.name, state, self._url(told), image, ready, wanted, detail)

    def _url(self, told: Mapping[str, Any]) -> str:
        """Where an endpoint is asked."""
        return f"{_host(told) or self.account.address(API)}/v1/{told['name']}:rawPredict"


def _number(version: Mapping[str, Any]) -> int:
    return int(version["versionId"])

"""Azure Machine Learning: an environment of the workspace, deployed to a managed online endpoint.

https://learn.microsoft.com/rest/api/azureml/
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from truss.deploy import endpoint
from truss.deploy.azure.account import MARK, Account, marked, tags
from truss.deploy.azure.permissions import PUSHING, role
from truss.deploy.azure.registry import Pull, Registry, pull, registry, registry_of
from truss.deploy.azure.things import Thing, template
from truss.deploy.changes import restricted
from truss.deploy.kinds import Kinds
from truss.deploy.plan import File, Output, Plan, Price, Resource, SecretValue
from truss.deploy.release import LIVE, PORT, READY, Release
from truss.deploy.sizes import GIB, Size, enough
from truss.deploy.target import Feature, Found, Options, Revision, State, Status, option
from truss.errors import DeployError, NotDeployedError, PlanError

_API = "2024-04-01"
_TYPE = "Microsoft.MachineLearningServices/workspaces"
_SCORE = "/score"
_LONGEST_NAME = 32
_LONGEST = 180
_COLOURS = ("blue", "green")
_PAUSE = 2.0

# https://azure.microsoft.com/pricing/details/machine-learning/, East US: dollars an hour
SIZES = (
    Size("Standard_F2s_v2", 2, 4 * GIB, hourly=0.0846),
    Size("Standard_E2s_v3", 2, 16 * GIB, hourly=0.126),
    Size("Standard_F4s_v2", 4, 8 * GIB, hourly=0.169),
    Size("Standard_E4s_v3", 4, 32 * GIB, hourly=0.252),
    Size("Standard_F8s_v2", 8, 16 * GIB, hourly=0.338),
    Size("Standard_E8s_v3", 8, 64 * GIB, hourly=0.504),
    Size("Standard_F16s_v2", 16, 32 * GIB, hourly=0.677),
    Size("Standard_E16s_v3", 16, 128 * GIB, hourly=1.008),
    Size("Standard_F32s_v2", 32, 64 * GIB, hourly=1.353),
    Size("Standard_E32s_v3", 32, 256 * GIB, hourly=2.016),
    Size("Standard_E64s_v3", 64, 432 * GIB, hourly=4.032),
    Size("Standard_NC4as_T4_v3", 4, 28 * GIB, "T4", 1, 0.526),
    Size("Standard_NC8as_T4_v3", 8, 56 * GIB, "T4", 1, 0.752),
    Size("Standard_NC16as_T4_v3", 16, 110 * GIB, "T4", 1, 1.204),
    Size("Standard_NC64as_T4_v3", 64, 440 * GIB, "T4", 4, 4.352),
    Size("Standard_NC24ads_A100_v4", 24, 220 * GIB, "A100", 1, 3.673),
    Size("Standard_NC48ads_A100_v4", 48, 440 * GIB, "A100", 2, 7.346),
    Size("Standard_NC96ads_A100_v4", 96, 880 * GIB, "A100", 4, 14.692),
    Size("Standard_NC40ads_H100_v5", 40, 320 * GIB, "H100", 1, 6.98),
    Size("Standard_NC80adis_H100_v5", 80, 640 * GIB, "H100", 2, 13.96),
)
_AS_OF = "2025-11"


class MachineLearningOptions(Options, frozen=True, kw_only=True):
    """What a deployment to Azure Machine Learning can be told."""

    repository: Annotated[str, option("Where its image is pushed, e.g. TEAM.azurecr.io/iris.")] = ""
    subscription: Annotated[str, option("The subscription; by default that of AZURE_SUBSCRIPTION_ID.")] = ""
    group: Annotated[
        str, option("The workspace's resource group; by default that of AZURE_DEFAULTS_GROUP.")
    ] = ""
    workspace: Annotated[
        str, option("The workspace, which has to exist; by default that of AZURE_DEFAULTS_WORKSPACE.")
    ] = ""
    copies: Annotated[int, option("How many copies there are.")] = 1
    concurrency: Annotated[int, option("Requests at a time at a copy; more wait, then are refused.")] = 10
    timeout: Annotated[int, option("Seconds that an answer may take.")] = 60
    internal: Annotated[bool, option("Whether it is reached from the workspace's network only.")] = False


class MachineLearningTarget:
    """See the module."""

    name = "azureml"
    summary = "Azure Machine Learning online endpoints"
    options = MachineLearningOptions
    features = frozenset(
        {Feature.GPU, Feature.ROLLBACK, Feature.LOGS, Feature.SECRETS, Feature.STREAMING, Feature.APPLIES}
    )

    def repository(self, options: MachineLearningOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: MachineLearningOptions) -> Plan:
        """The resources."""
        _check(options)
        size, note = enough(release, SIZES, "Azure Machine Learning")
        existing = [WORKSPACE]
        host = registry_of(release.image)
        if host:
            existing.append(registry(host))
        price = Price(
            options.copies * size.hourly * 730, f"{options.copies} x {size.name} in East US", _AS_OF
        )
        plan = Plan(
            self.name,
            release.name,
            tuple(_resources(release, options, size)),
            (),
            tuple(text for text in (note, *_notes(release)) if text),
            price,
            tuple(existing),
        )
        files = (template(plan, "template.json", _KINDS, _LOOKUPS, _PARAMETERS), _traffic(plan))
        return Plan(
            plan.target, plan.deployment, plan.resources, files, plan.notes, plan.price, plan.existing
        )

    def connect(self, options: MachineLearningOptions) -> MachineLearningPlatform:
        """The workspace, with the credentials that Azure's client finds."""
        return MachineLearningPlatform(Account(options.subscription, options.group, options.workspace))

    def permissions(self) -> File:
        """A role for whoever deploys there."""
        return role("Azure Machine Learning", (*_KINDS, *_LOOKUPS), (*_FURTHER, *PUSHING))


def _check(options: MachineLearningOptions) -> None:
    if not 1 <= options.timeout <= _LONGEST:
        raise PlanError(
            f"an answer of Azure Machine Learning may take {_LONGEST} s, not {options.timeout} s",
            where="deploy.azureml.timeout",
            hint="deploy to container-apps (240 s), or to kubernetes, which has no such limit",
        )
    if options.copies < 1:
        raise PlanError(
            "Azure Machine Learning keeps a machine at least",
            where="deploy.azureml.copies",
            hint="container-apps goes down to none without requests",
        )


def _traffic(plan: Plan) -> Any:
    """The second template: requests can be sent to a deployment only when it is there."""
    endpoints = tuple(one for one in plan.resources if one.kind == Endpoint.kind)
    body = {**endpoints[0].body, "traffic": {_COLOURS[0]: 100}}
    sent = Resource(Endpoint.kind, endpoints[0].name, body)
    return template(
        Plan(plan.target, plan.deployment, (sent,)), "traffic.json", _KINDS, _LOOKUPS, _PARAMETERS
    )


def _resources(release: Release, options: MachineLearningOptions, size: Size) -> Iterator[Resource]:
    name, own = release.name, name_of(release.name)
    version = Resource(
        Environment.kind,
        own,
        {
            "deployment": name,
            "image": release.image,
            # https://learn.microsoft.com/azure/machine-learning/how-to-deploy-custom-container
            "routes": {"liveness": LIVE, "readiness": READY, "scoring": _SCORE},
            "variables": release.environment,
        },
        "az ml environment create",
    )
    yield version
    secrets = Resource(
        Connection.kind,
        own,
        {
            "deployment": name,
            "keys": {key: SecretValue(one) for key, one in release.secret_variables.items()},
        },
        "az ml connection create",
    )
    if release.secrets:
        yield secrets
    where = Resource(
        Endpoint.kind,
        own,
        {"deployment": name, "location": LOCATION, "public": not options.internal},
        "az ml online-endpoint create",
    )
    yield where
    host = registry_of(release.image)
    if host:
        yield pull(name, host, Output(where.key, "principalId"))
    body = {
        "deployment": name,
        "location": LOCATION,
        "environment": Output(version.key, "id"),
        "machine": size.name,
        "copies": options.copies,
        "concurrency": options.concurrency,
        "timeout": _duration(options.timeout),
        "variables": release.environment,
        "secrets": {
            key: f"azureml://connections/{own}/credentials/{key}" for key in release.secret_variables
        },
        "revision": Output(secrets.key, "revision") if release.secrets else "",
        "beside": [],
    }
    yield Resource(Deployed.kind, own, body, "az ml online-deployment create --all-traffic")


def _notes(release: Release) -> Iterator[str]:
    yield "an answer may have 1.5 MB; an update needs the machines twice while it goes on"
    yield "it is asked with POST /score, with a key of the endpoint: az ml online-endpoint get-credentials"
    if release.secrets:
        yield "secrets reach the copies by secret injection, which Azure calls a preview"
    if not registry_of(release.image):
        yield "the image has to be public: only from Azure's registries it is pulled with an identity"


def name_of(deployment: str) -> str:
    """The name of a deployment's resources, of 32 characters at most; a long one ends in a digest."""
    name = f"truss-{deployment}"
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - 7].rstrip('-')}-{hashlib.sha256(deployment.encode()).hexdigest()[:6]}"


def _duration(seconds: int) -> str:
    """As ISO 8601 has it, and Azure spells it."""
    minutes, rest = divmod(seconds, 60)
    return f"PT{f'{minutes}M' if minutes else ''}{f'{rest}S' if rest or not minutes else ''}"


class Workspace:
    """The workspace, which has to be there."""

    kind = "azureml:workspace"
    rights = (f"{_TYPE}/read",)

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one that is named, and its region."""
        told = account.found(account.learning, _API)
        outputs = {} if told is None else {"location": told["location"]}
        return None if told is None else Found(self.kind, resource.name, resource.body, outputs=outputs)

    def expression(self, name: str, output: str) -> str:  # noqa: ARG002  # it has no other
        """A template is deployed to the group of the workspace."""
        return f"resourceGroup().{output}"


WORKSPACE = Resource(Workspace.kind, "present", {}, "az ml workspace show")
LOCATION = Output(WORKSPACE.key, "location")


class _OfWorkspace(Thing):
    """A kind of resource below the workspace, whose type's last word is also in its path."""

    def name_of(self, deployment: str) -> str:
        """As all of a deployment's."""
        return name_of(deployment)

    def path(self, account: Account, name: str) -> str:
        """Its full name."""
        return f"{account.learning}/{self.type.rpartition('/')[2]}/{name}"

    def expression(self, name: str, output: str) -> str:
        """With the workspace, which is a parameter."""
        place = f"resourceId('{self.type}', parameters('workspace'), '{name}')"
        return place if output == "id" else f"reference({place}, '{self.api}').{output}"

    def entry(self, resource: Resource) -> dict[str, Any]:
        """With the workspace in front of its name."""
        name = f"[concat(parameters('workspace'), '/{resource.name}')]"
        return {"name": name, **self.request(resource.body)}


class Environment(_OfWorkspace):
    """An image with its routes; each change makes a version, and those before it stay to go back to."""

    kind = "azureml:environment"
    type = f"{_TYPE}/environments"
    api = _API
    actions = ("*",)  # Azure names no action for the removal of one with all its versions

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """A version; it also keeps the variables that the model had with it."""
        routes = {f"{name}Route": {"path": path, "port": PORT} for name, path in body["routes"].items()}
        return {
            "properties": {
                "image": body["image"],
                "osType": "Linux",
                "inferenceConfig": routes,
                "tags": tags(body["deployment"]),
                "properties": {"variables": json.dumps(body["variables"], sort_keys=True)},
            }
        }

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The newest version."""
        return self._newest(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make another version, which says what had the requests before it."""
        number = max(map(_number, versions(account, resource.name)), default=0) + 1
        request, present = self.request(resource.body), Deployed().find(account, resource)
        if present is not None:
            before = str(present.body["environment"]).rpartition("/")[2]
            request["properties"]["properties"][_BEFORE] = before
        return {"id": make_version(account, resource.name, number, request)["id"]}

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if its newest version has the mark."""
        found = self._newest(account, name_of(deployment))
        return [found] if found is not None and found.deployment == deployment else []

    def _newest(self, account: Account, name: str) -> Found | None:
        every = sorted(versions(account, name), key=_number)
        if not every:
            return None
        told = every[-1]
        properties, deployment = told["properties"], marked(told["properties"])
        routes = {
            key.removesuffix("Route"): one["path"]
            for key, one in (properties.get("inferenceConfig") or {}).items()
            if one
        }
        body = {
            "deployment": deployment,
            "image": properties.get("image", ""),
            "routes": routes,
            "variables": _variables(told),
        }
        return Found(self.kind, name, body, deployment, {"id": told["id"]}, frozenset({"id"}))

    def expression(self, name: str, output: str) -> str:  # noqa: ARG002  # it has no other
        """The version that the template makes."""
        return f"resourceId('{self.type}/versions', parameters('workspace'), '{name}', parameters('version'))"

    def entry(self, resource: Resource) -> dict[str, Any]:
        """The version whose number is a parameter."""
        name = f"[concat(parameters('workspace'), '/{resource.name}/', parameters('version'))]"
        return {"name": name, **self.request(resource.body), "type": f"{self.type}/versions"}


_BEFORE = "before"
"""The property of a version that names the one which had the requests when it was made."""


def versions(account: Account, name: str) -> Sequence[Any]:
    """All versions of an environment; none where there is no such environment."""
    path = Environment().path(account, name)
    if account.found(path, _API) is None:
        return []
    return list(account.listed(f"{path}/versions", _API))


def make_version(account: Account, name: str, number: int, request: Mapping[str, Any]) -> Any:
    """Make a version of an environment."""
    return account.call("PUT", f"{Environment().path(account, name)}/versions/{number}", _API, request)


def _number(version: Mapping[str, Any]) -> int:
    return int(version["name"]) if str(version["name"]).isdigit() else 0


def _variables(version: Mapping[str, Any]) -> dict[str, str]:
    kept = (version["properties"].get("properties") or {}).get("variables", "{}")
    found: dict[str, str] = json.loads(kept)
    return found


class Connection(_OfWorkspace):
    """The values of a model's secrets, which Azure keeps in the workspace's key vault.

    https://learn.microsoft.com/azure/machine-learning/concept-secret-injection
    """

    kind = "azureml:secrets"
    type = f"{_TYPE}/connections"
    api = _API
    actions = ("read", "write", "delete", "listsecrets/action")

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Custom keys; it takes no tags, so the mark is with what it tells of itself."""
        return {
            "properties": {
                "category": "CustomKeys",
                "authType": "CustomKeys",
                "target": "_",
                "credentials": {"keys": dict(body["keys"])},
                "metadata": {**tags(body["deployment"]), "revision": body.get("revision", "1")},
            }
        }

    def read(self, account: Account, told: Mapping[str, Any], like: Mapping[str, Any] | None) -> Found:  # noqa: ARG002  # as every kind
        """Its keys with their values."""
        path = f"{self.path(account, told['name'])}/listsecrets"
        shown = account.call("POST", path, self.api)["properties"].get("credentials") or {}
        metadata = told["properties"].get("metadata") or {}
        deployment = str(metadata.get(MARK, ""))
        body = {"deployment": deployment, "keys": shown.get("keys") or {}}
        outputs = {"revision": str(metadata.get("revision", ""))}
        return Found(self.kind, told["name"], body, deployment, outputs, frozenset({"revision"}))

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it."""
        path = self.path(account, resource.name)
        told = account.call("PUT", path, self.api, self.request(resource.body))
        return {"revision": told["properties"]["metadata"]["revision"]}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Give it other values; its number tells the deployment that copies have to start anew."""
        revision = str(int(found.outputs["revision"] or 0) + 1)
        body = {**resource.body, "revision": revision}
        return self.create(account, Resource(resource.kind, resource.name, body))

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        told = account.found(self.path(account, name_of(deployment)), self.api)
        if told is None or (told["properties"].get("metadata") or {}).get(MARK) != deployment:
            return []
        return [self.read(account, told, None)]

    def expression(self, name: str, output: str) -> str:
        """A template makes its first state."""
        return "string(1)" if output == "revision" else super().expression(name, output)


class Endpoint(_OfWorkspace):
    """What is asked for predictions, with a key."""

    kind = "azureml:endpoint"
    type = f"{_TYPE}/onlineEndpoints"
    api = _API
    actions = ("read", "write", "delete", "listKeys/action")

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """All of it; without `traffic` no deployment is asked."""
        properties = {
            "authMode": "Key",
            "publicNetworkAccess": "Enabled" if body["public"] else "Disabled",
            # Its identity may then read the secrets of the workspace's connections.
            "properties": {"enforce_access_to_default_secret_stores": "enabled"},
        }
        if "traffic" in body:
            properties["traffic"] = body["traffic"]
        return {
            "location": body["location"],
            "tags": tags(body["deployment"]),
            "identity": {"type": "SystemAssigned"},
            "properties": properties,
        }

    def read(self, account: Account, told: Mapping[str, Any], like: Mapping[str, Any] | None) -> Found:  # noqa: ARG002  # as every kind
        """What was asked for, and who it is."""
        deployment = marked(told)
        body = {
            "deployment": deployment,
            "location": told["location"],
            "public": told["properties"].get("publicNetworkAccess", "Enabled") == "Enabled",
        }
        outputs = {"id": told["id"], "principalId": (told.get("identity") or {}).get("principalId", "")}
        return Found(self.kind, told["name"], body, deployment, outputs)

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as every kind
        """Change it, and leave it who is asked."""
        present = account.call("GET", self.path(account, resource.name), self.api)
        body = {**resource.body, "traffic": present["properties"].get("traffic") or {}}
        return self.create(account, Resource(resource.kind, resource.name, body))

    def expression(self, name: str, output: str) -> str:
        """Who it is, is not among its properties."""
        place = super().expression(name, "id")
        return place if output == "id" else f"reference({place}, '{self.api}', 'Full').identity.{output}"


def _principal(account: Account, deployment: str) -> str:
    owned = Endpoint().owned(account, deployment)
    return str(owned[0].outputs["principalId"]) if owned else ""


class Deployed(_OfWorkspace):
    """A version of the environment on machines behind the endpoint.

    Blue and green take turns: the new one is made beside the one that is asked, gets all requests when it
    is ready, and the other goes.
    """

    kind = "azureml:deployment"
    type = f"{_TYPE}/onlineEndpoints/deployments"
    api = _API
    actions = ("read", "write", "delete", "getLogs/action")

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """All of it."""
        probe = {"period": "PT10S", "timeout": "PT5S", "successThreshold": 1, "initialDelay": "PT10S"}
        secrets = {key: f"${{{{{place}}}}}" for key, place in body["secrets"].items()}
        return {
            "location": body["location"],
            "tags": {**tags(body["deployment"]), "revision": body["revision"]},
            "sku": {"name": "Default", "tier": "Standard", "capacity": body["copies"]},
            "properties": {
                "endpointComputeType": "Managed",
                "environmentId": body["environment"],
                "instanceType": body["machine"],
                "environmentVariables": {**body["variables"], **secrets},
                "requestSettings": {
                    "maxConcurrentRequestsPerInstance": body["concurrency"],
                    "requestTimeout": body["timeout"],
                },
                # Loading may take half an hour.
                "livenessProbe": {**probe, "failureThreshold": 30},
                "readinessProbe": {**probe, "failureThreshold": 180},
                "scaleSettings": {"scaleType": "Default"},
            },
        }

    def path(self, account: Account, name: str) -> str:
        """Where those of an endpoint are."""
        return f"{Endpoint().path(account, name)}/deployments"

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one that gets all requests."""
        return self._at(account, resource.name)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Deploy it, with all requests; then take away what was there."""
        deploy(account, resource.name, self.request(resource.body))
        return {}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """The same; nothing but the taking away, where that broke off."""
        if {**found.body, "beside": []} == resource.body:
            for colour in found.body["beside"]:
                _remove(account, resource.name, colour)
            return {}
        return self.create(account, resource)

    def delete(self, account: Account, found: Found) -> None:
        """Take away whatever is deployed; first nothing is asked any more."""
        _send(account, found.name, {})
        for one in deployed(account, found.name):
            _remove(account, found.name, one["name"])

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """What is at the deployment's endpoint, asked or not."""
        name = name_of(deployment)
        if not Endpoint().owned(account, deployment) or not deployed(account, name):
            return []
        return [Found(self.kind, name, {}, deployment)]

    def entry(self, resource: Resource) -> dict[str, Any]:
        """The first one of an endpoint."""
        name = f"[concat(parameters('workspace'), '/{resource.name}/{_COLOURS[0]}')]"
        return {"name": name, **self.request(resource.body)}

    def _at(self, account: Account, name: str) -> Found | None:
        current = asked(account, name)
        every = deployed(account, name)
        told = next((one for one in every if one["name"] == current), None)
        if told is None:
            return None
        properties, deployment = told["properties"], marked(told)
        variables, secrets = _parted(properties.get("environmentVariables") or {})
        settings = properties.get("requestSettings") or {}
        body = {
            "deployment": deployment,
            "location": told["location"],
            "environment": properties["environmentId"],
            "machine": properties["instanceType"],
            "copies": (told.get("sku") or {}).get("capacity"),
            "concurrency": settings.get("maxConcurrentRequestsPerInstance"),
            "timeout": settings.get("requestTimeout"),
            "variables": variables,
            "secrets": secrets,
            "revision": (told.get("tags") or {}).get("revision", ""),
            "beside": [one["name"] for one in every if one["name"] != current],
        }
        return Found(self.kind, name, body, deployment)


def _parted(variables: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The variables that are text, and the places of those that are secrets."""
    own, secrets = {}, {}
    for key, value in variables.items():
        if value.startswith("${{azureml://connections/"):
            secrets[key] = value.removeprefix("${{").removesuffix("}}")
        else:
            own[key] = value
    return own, secrets


def deployed(account: Account, name: str) -> Sequence[Any]:
    """All deployments of an endpoint, asked or not."""
    if account.found(Endpoint().path(account, name), _API) is None:
        return []
    return list(account.listed(Deployed().path(account, name), _API))


def asked(account: Account, name: str) -> str:
    """The colour that gets all requests of an endpoint; empty: none does."""
    told = account.found(Endpoint().path(account, name), _API) or {"properties": {}}
    traffic = told["properties"].get("traffic") or {}
    return next((colour for colour, share in traffic.items() if share == 100), "")


def deploy(account: Account, name: str, request: Mapping[str, Any]) -> None:
    """Deploy beside what is asked; when it is ready send it all requests, and take away what was there."""
    colour = next(one for one in _COLOURS if one != asked(account, name))
    account.done("PUT", f"{Deployed().path(account, name)}/{colour}", _API, request)
    _send(account, name, {colour: 100})
    for one in deployed(account, name):
        if one["name"] != colour:
            _remove(account, name, one["name"])


def _remove(account: Account, name: str, colour: str) -> None:
    account.gone(f"{Deployed().path(account, name)}/{colour}", _API)


def _send(account: Account, name: str, traffic: Mapping[str, int]) -> None:
    """Say who gets the requests of an endpoint; it is told whole."""
    path = Endpoint().path(account, name)
    found = Endpoint().find(account, Resource(Endpoint.kind, name, {}))
    if found is not None:
        request = Endpoint().request({**found.body, "traffic": dict(traffic)})
        account.done("PUT", path, _API, request)


_KINDS = (Environment(), Connection(), Endpoint(), Pull(_principal), Deployed())
_LOOKUPS = (Workspace(), Registry())
_FURTHER = (
    # Where Azure tells of what takes long.
    "Microsoft.MachineLearningServices/locations/*/read",
    # An endpoint's identity may read secrets only if whoever makes it may:
    # https://learn.microsoft.com/azure/machine-learning/concept-secret-injection
    f"{_TYPE}/metadata/secrets/read",
)
_PARAMETERS = {"workspace": {"type": "string"}, "version": {"type": "string", "defaultValue": "1"}}


class MachineLearningPlatform(Kinds[Account]):
    """Azure Machine Learning in a workspace.

    Args:
        account: The subscription, resource group and workspace.
    """

    def __init__(self, account: Account) -> None:
        super().__init__(account, _KINDS, _LOOKUPS)

    def deployments(self) -> Sequence[Status]:
        """Endpoints with our mark."""
        found = self.account.listed(f"{self.account.learning}/onlineEndpoints", _API)
        return [self._status(one) for one in found if marked(one)]

    def status(self, deployment: str) -> Status | None:
        """What Azure says of the endpoint, and of what it asks."""
        told = self._ours(deployment)
        return None if told is None else self._status(told)

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What the copies have written: what is kept of it."""
        before: list[str] = []
        while True:
            now = self._written(deployment, lines)
            yield from _fresh(before, now)
            if not follow:
                return
            before = now or before
            time.sleep(_PAUSE)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The versions of its environment."""
        if self._ours(deployment) is None:
            return []
        name = name_of(deployment)
        found = Deployed().find(self.account, Resource(Deployed.kind, name, {}))
        current = "" if found is None else str(found.body["environment"])
        every = sorted(versions(self.account, name), key=_number)
        return [
            Revision(
                one["name"],
                one["properties"].get("image", ""),
                one["id"] == current,
                (one["properties"].get("properties") or {}).get(_BEFORE, ""),
            )
            for one in every
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Make a version as the earlier one was, and deploy it with the variables that the model had then.

        Raises:
            DeployError: nothing gets requests, so that there is nothing to go back from.
        """
        name = name_of(deployment)
        every = versions(self.account, name)
        told = next(one for one in every if one["name"] == revision.id)
        found = Deployed().find(self.account, Resource(Deployed.kind, name, {}))
        if found is None:
            raise DeployError(
                f"no deployment of the endpoint '{name}' gets requests, to go back from",
                where=f"{Deployed.kind}/{name}",
                hint="deploy the earlier Truss again",
            )
        kept = ("image", "osType", "inferenceConfig", "tags", "properties")
        again = {"properties": restricted(told["properties"], dict.fromkeys(kept))}
        made = make_version(self.account, name, max(map(_number, every)) + 1, again)
        body = {**found.body, "environment": made["id"], "variables": _variables(told)}
        deploy(self.account, name, Deployed().request(body))

    def ask(self, deployment: str, body: bytes) -> bytes:
        """With the endpoint's key."""
        told = self._ours(deployment)
        if told is None:
            raise NotDeployedError(
                f"nothing is deployed to Azure Machine Learning under the name '{deployment}'",
                hint="see what is: truss status --to azureml --all",
            )
        keys = self.account.call("POST", f"{self._path(deployment)}/listKeys", _API)
        headers = {"authorization": f"Bearer {keys['primaryKey']}"}
        return endpoint.ask(told["properties"]["scoringUri"], body, headers)

    def _path(self, deployment: str) -> str:
        return Endpoint().path(self.account, name_of(deployment))

    def _ours(self, deployment: str) -> Any | None:
        told = self.account.found(self._path(deployment), _API)
        return told if told is not None and marked(told) == deployment else None

    def _written(self, deployment: str, lines: int) -> list[str]:
        name = name_of(deployment)
        every = [one["name"] for one in deployed(self.account, name)]
        # What is not asked yet, or never was, is what one wants to see.
        colour = next((one for one in every if one != asked(self.account, name)), "".join(every[:1]))
        if not colour:
            return []
        path = f"{Deployed().path(self.account, name)}/{colour}/getLogs"
        wanted = {"containerType": "InferenceServer", "tail": lines}
        told = self.account.call("POST", path, _API, wanted)
        return str(told.get("content") or "").splitlines()[-lines:]

    def _status(self, told: Mapping[str, Any]) -> Status:
        deployment, name = marked(told), told["name"]
        current = asked(self.account, name)
        every = deployed(self.account, name)
        one = next((one for one in every if one["name"] == current), None) or next(iter(every), None)
        url = told["properties"].get("scoringUri") or ""
        if one is None:
            return Status(deployment, MachineLearningTarget.name, "stopped", url)
        said = str(one["properties"].get("provisioningState", ""))
        state: State = _STATES.get(said, "starting")
        if state == "healthy" and one["name"] != current:
            state = "starting"
        version = self.account.found(one["properties"]["environmentId"], _API) or {"properties": {}}
        copies = (one.get("sku") or {}).get("capacity") or 0
        return Status(
            deployment,
            MachineLearningTarget.name,
            state,
            url,
            version["properties"].get("image", ""),
            ready=copies if state == "healthy" else 0,
            wanted=copies,
            detail=() if state == "healthy" else (f"the deployment {one['name']}: {said}",),
        )


_STATES: Mapping[str, State] = {"Succeeded": "healthy", "Failed": "failed", "Canceled": "failed"}


def _fresh(before: Sequence[str], now: Sequence[str]) -> Sequence[str]:
    """The lines that came since: those behind the longest end of the former that the latter begin with."""
    for length in range(min(len(before), len(now)), 0, -1):
        if before[-length:] == now[:length]:
            return now[length:]
    return now

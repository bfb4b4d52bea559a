"""Azure Container Apps: copies that come and go with the requests, down to none.

https://learn.microsoft.com/rest/api/containerapps/
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from truss.deploy import endpoint
from truss.deploy.azure import app_logs
from truss.deploy.azure.account import Account, marked, tags
from truss.deploy.azure.identity import GROUP, LOCATION, Group, Identity, identity, principal_of
from truss.deploy.azure.permissions import PUSHING, role
from truss.deploy.azure.registry import Pull, Registry, pull, registry, registry_of
from truss.deploy.azure.things import Thing, template
from truss.deploy.changes import restricted
from truss.deploy.kinds import Kinds
from truss.deploy.plan import File, Output, Plan, Price, Resource, SecretValue
from truss.deploy.release import LIVE, PORT, PREDICT, READY, Release
from truss.deploy.sizes import GIB, Size, enough, gibibytes
from truss.deploy.target import Feature, Found, Options, Revision, State, Status, option
from truss.errors import NotDeployedError, PlanError

_API = "2025-01-01"
_TYPE = "Microsoft.App"

# https://learn.microsoft.com/azure/container-apps/containers#allocations: quarters of a core, 2 GiB each core
_STEPS = tuple(Size(f"{quarters / 4:g} CPU", quarters / 4, quarters * GIB // 2) for quarters in range(1, 17))
# https://learn.microsoft.com/azure/container-apps/workload-profiles-overview
_T4, _A100 = "Consumption-GPU-NC8as-T4", "Consumption-GPU-NC24-A100"
SIZES = (*_STEPS, Size(_T4, 8, 56 * GIB, "T4", 1), Size(_A100, 24, 220 * GIB, "A100", 1))
_PLAIN = "Consumption"

_MOST_COPIES = 1000
_LONGEST_GRACE = 600
_DRAIN = 2
"""Seconds between the end of what the server finishes and the kill."""

# https://azure.microsoft.com/pricing/details/container-apps/, East US: dollars a second of a copy that waits.
_CPU_SECOND, _GIB_SECOND = 0.000003, 0.000003
_AS_OF = "2025-11"


class ContainerAppsOptions(Options, frozen=True, kw_only=True):
    """What a deployment to Container Apps can be told."""

    repository: Annotated[str, option("Where its image is pushed, e.g. TEAM.azurecr.io/iris.")] = ""
    subscription: Annotated[str, option("The subscription; by default that of AZURE_SUBSCRIPTION_ID.")] = ""
    group: Annotated[
        str, option("The resource group, which has to exist; by default that of AZURE_DEFAULTS_GROUP.")
    ] = ""
    region: Annotated[str, option("The region, e.g. westeurope; by default that of the resource group.")] = ""
    environment: Annotated[
        str,
        option("An environment of the resource group that it goes to; by default one of its own is made."),
    ] = ""
    profile: Annotated[
        str, option("A workload profile of that environment, for sizes that consumption does not have.")
    ] = ""
    identity: Annotated[
        str,
        option(
            "A user-assigned identity of the resource group that may pull the image; by default one is made."
        ),
    ] = ""
    internal: Annotated[bool, option("Whether it is reached from its environment only.")] = False
    min_copies: Annotated[int, option("How many copies there are at least; 0: none without requests.")] = 0
    max_copies: Annotated[int, option("How many copies there are at most.")] = 10
    concurrency: Annotated[int, option("Requests at a time at a copy, before another is added.")] = 10


class ContainerAppsTarget:
    """See the module."""

    name = "container-apps"
    summary = "Azure Container Apps, down to no copies"
    options = ContainerAppsOptions
    features = frozenset(
        {
            Feature.GPU,
            Feature.AUTOSCALING,
            Feature.SCALE_TO_ZERO,
            Feature.ROLLBACK,
            Feature.LOGS,
            Feature.SECRETS,
            Feature.STREAMING,
            Feature.APPLIES,
        }
    )

    def repository(self, options: ContainerAppsOptions) -> str | None:
        """What the user says."""
        return options.repository

    def plan(self, release: Release, options: ContainerAppsOptions) -> Plan:
        """The resources."""
        _check(release, options)
        size, note = _size(release, options)
        resources = tuple(_resources(release, options, size))
        notes = tuple(text for text in (note, *_notes(release, options)) if text)
        existing = tuple(_existing(release, options))
        price = _price(options, size)
        plan = Plan(self.name, release.name, resources, (), notes, price, existing)
        return Plan(
            self.name,
            release.name,
            resources,
            (template(plan, "template.json", _KINDS, _LOOKUPS),),
            notes,
            price,
            existing,
        )

    def connect(self, options: ContainerAppsOptions) -> ContainerAppsPlatform:
        """The resource group, with the credentials that Azure's client finds."""
        return ContainerAppsPlatform(Account(options.subscription, options.group))

    def permissions(self) -> File:
        """A role for whoever deploys there."""
        return role("Container Apps", (*_KINDS, *_LOOKUPS), (*_WAITING, *app_logs.RIGHTS, *PUSHING))


def _check(release: Release, options: ContainerAppsOptions) -> None:
    if not (0 <= options.min_copies <= options.max_copies <= _MOST_COPIES and options.max_copies):
        raise PlanError(
            f"Container Apps has 1 to {_MOST_COPIES} copies, not {options.min_copies}-{options.max_copies}",
            where="deploy.container-apps.max_copies",
            hint="say a --max-copies that is not below --min-copies; kubernetes has no such limit",
        )
    if options.profile and not options.environment:
        raise PlanError(
            "a workload profile is one of an environment that is there already",
            where="deploy.container-apps.profile",
            hint="say which: --environment NAME, or leave --profile out",
        )
    if release.grace + _DRAIN > _LONGEST_GRACE:
        raise PlanError(
            f"Container Apps leaves a copy {_LONGEST_GRACE} s to stop, not {release.grace + _DRAIN:g} s",
            where="runtime.timeouts.grace",
            hint="set a shorter grace, or deploy to kubernetes, which has no such limit",
        )


def _size(release: Release, options: ContainerAppsOptions) -> tuple[Size, str]:
    if options.profile:
        size = Size(options.profile, release.cpu, release.memory)
        asked = f"{release.cpu:g} CPU and {gibibytes(release.memory)}"
        what = " and its GPUs" if release.accelerator is not None else ""
        return size, f"the profile {options.profile} has to have {asked} a copy{what}"
    try:
        return enough(release, SIZES, "Container Apps")
    except PlanError as error:
        error.hint = f"{error.hint}; azureml has larger machines, --profile names one of yours"
        raise


def _price(options: ContainerAppsOptions, size: Size) -> Price | None:
    if not options.min_copies:
        return Price(0.0, "no copies; requests cost by the second that they take", _AS_OF)
    if size.gpu or options.profile:
        return None
    second = size.cpu * _CPU_SECOND + size.memory / GIB * _GIB_SECOND
    what = f"{options.min_copies} x {size.name} that wait for requests in East US"
    return Price(options.min_copies * second * 730 * 3600, what, _AS_OF)


def _existing(release: Release, options: ContainerAppsOptions) -> Iterator[Resource]:
    if not options.region:
        yield GROUP
    if options.environment:
        yield Resource(NamedEnvironment.kind, options.environment, {}, "az containerapp env show")
    if options.identity:
        yield Resource(NamedIdentity.kind, options.identity, {}, "az identity show")
    elif registry_of(release.image):
        yield registry(registry_of(release.image))


def _resources(release: Release, options: ContainerAppsOptions, size: Size) -> Iterator[Resource]:
    name, location = release.name, options.region or LOCATION
    host = registry_of(release.image)
    if host and not options.identity:
        own = identity(name, location)
        yield own
        yield pull(name, host, Output(own.key, "principalId"))
    if not options.environment:
        profiles = [{"name": _PLAIN, "workloadProfileType": _PLAIN}]
        if size.gpu:
            profiles.append({"name": size.name, "workloadProfileType": size.name})
        body = {"deployment": name, "location": location, "profiles": profiles}
        yield Resource(Environment.kind, f"truss-{name}", body, "az containerapp env create")
    yield Resource(App.kind, _app_name(name), _app(release, options, size), "az containerapp create")


def _app(release: Release, options: ContainerAppsOptions, size: Size) -> dict[str, Any]:
    host, own = registry_of(release.image), f"truss-{release.name}"
    puller: Output | None = None
    if options.identity:
        puller = Output(f"{NamedIdentity.kind}/{options.identity}", "id")
    elif host:
        puller = Output(f"{Identity.kind}/{own}", "id")
    place = (NamedEnvironment.kind, options.environment) if options.environment else (Environment.kind, own)
    return {
        "deployment": release.name,
        "location": options.region or LOCATION,
        "identity": puller or "",
        "environment": Output("/".join(place), "id"),
        "profile": options.profile or (size.name if size.gpu else _PLAIN),
        "ingress": {"external": not options.internal, "targetPort": PORT, "transport": "Auto"},
        "registries": [{"server": host, "identity": puller}] if host and puller else [],
        "secrets": {key: SecretValue(name) for key, name in _secret_names(release).items()},
        "template": _template(release, options, size),
    }


def _template(release: Release, options: ContainerAppsOptions, size: Size) -> dict[str, Any]:
    keys = {name: key for key, name in _secret_names(release).items()}
    container = {
        "name": "model",
        "image": release.image,
        "env": [
            *({"name": name, "value": value} for name, value in sorted(release.environment.items())),
            *(
                {"name": name, "secretRef": keys[one]}
                for name, one in sorted(release.secret_variables.items())
            ),
        ],
        "resources": {"cpu": size.cpu, "memory": f"{round(size.memory / GIB, 2):g}Gi"},
        # https://learn.microsoft.com/azure/container-apps/health-probes, which has one for the start
        "probes": [_probe("Liveness", LIVE, 30), _probe("Readiness", READY, 5)],
    }
    rule = {"name": "requests", "http": {"metadata": {"concurrentRequests": str(options.concurrency)}}}
    return {
        "terminationGracePeriodSeconds": round(release.grace) + _DRAIN,
        "containers": [container],
        "scale": {"minReplicas": options.min_copies, "maxReplicas": options.max_copies, "rules": [rule]},
    }


def _probe(kind: str, path: str, period: int) -> dict[str, Any]:
    return {
        "type": kind,
        "httpGet": {"path": path, "port": PORT},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": 3,
    }


def _secret_names(release: Release) -> dict[str, str]:
    """What the app's secrets are called, of lower-case letters, digits and dashes -> the model's secrets.

    Raises:
        PlanError: two would be called the same.
    """
    found: dict[str, str] = {}
    for name in release.secrets:
        key = "truss-" + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        if key in found:
            raise PlanError(
                f"the secrets '{found[key]}' and '{name}' would both be '{key}' on Container Apps",
                where="secrets",
                hint="rename one of them in config.yaml, so that they differ in letters or digits",
            )
        found[key] = name
    return found


def _app_name(deployment: str) -> str:
    """The name of an app, of 32 characters at most."""
    return deployment if len(deployment) <= _LONGEST_NAME else deployment[:_LONGEST_NAME].rstrip("-")


_LONGEST_NAME = 32


def _notes(release: Release, options: ContainerAppsOptions) -> Iterator[str]:
    yield "an answer may take 240 s"
    if not options.internal and release.config.runtime.authentication.api_keys_secret is None:
        yield "anybody may ask it: runtime.authentication.api_keys_secret asks for keys, --internal hides it"
    if not registry_of(release.image) and not options.identity:
        yield "the image has to be public: only from Azure's registries it is pulled with an identity"
    if release.accelerator is not None:
        yield "GPUs want a quota of the region for serverless GPUs"


class NamedEnvironment:
    """An environment that the user names."""

    kind = "containerapps:shared-environment"
    type = f"{_TYPE}/managedEnvironments"
    api = _API
    actions = ("read", "join/action")

    @property
    def rights(self) -> tuple[str, ...]:
        """The actions, as roles name them."""
        return tuple(f"{self.type}/{action}" for action in self.actions)

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name, whoever made it."""
        told = account.found(f"{account.place}/providers/{self.type}/{resource.name}", self.api)
        outputs = {} if told is None else {"id": told["id"]}
        return None if told is None else Found(self.kind, resource.name, resource.body, outputs=outputs)

    def expression(self, name: str, output: str) -> str:  # noqa: ARG002  # it has no other
        """Its full name."""
        return f"resourceId('{self.type}', '{name}')"


class NamedIdentity(NamedEnvironment):
    """An identity that the user names."""

    kind = "shared-identity"
    type = Identity.type
    api = Identity.api
    actions = ("read", "assign/action")


class Environment(Thing):
    """What apps are in: a network, and kinds of machines. Its logs are streamed, and kept nowhere."""

    kind = "containerapps:environment"
    type = f"{_TYPE}/managedEnvironments"
    api = _API
    actions = ("read", "write", "delete", "join/action")

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Its workload profiles."""
        return {
            "location": body["location"],
            "tags": tags(body["deployment"]),
            "properties": {"workloadProfiles": body["profiles"]},
        }

    def read(self, account: Account, told: Mapping[str, Any], like: Mapping[str, Any] | None) -> Found:  # noqa: ARG002  # as every kind
        """Its workload profiles."""
        deployment = marked(told)
        wanted = ("name", "workloadProfileType")
        profiles = [
            {key: one[key] for key in wanted} for one in told["properties"].get("workloadProfiles") or ()
        ]
        body = {"deployment": deployment, "location": _spelled(told["location"]), "profiles": profiles}
        return Found(self.kind, told["name"], body, deployment, {"id": told["id"]})


class App(Thing):
    """A container app, of which each change of the template makes a revision."""

    kind = "containerapps:app"
    type = f"{_TYPE}/containerApps"
    api = _API
    actions = ("read", "write", "delete", "listSecrets/action", "revisions/read", "revisions/restart/action")

    def name_of(self, deployment: str) -> str:
        """It is called as the deployment: its address begins so."""
        return _app_name(deployment)

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """All of it, with the values of its secrets."""
        who = {"type": "UserAssigned", "userAssignedIdentities": {body["identity"]: {}}}
        return {
            "location": body["location"],
            "tags": tags(body["deployment"]),
            "identity": who if body["identity"] else {"type": "None"},
            "properties": {
                "environmentId": body["environment"],
                "workloadProfileName": body["profile"],
                "configuration": {
                    # The revision before goes once one of the new one's copies is ready.
                    "activeRevisionsMode": "Single",
                    "ingress": body["ingress"],
                    "registries": body["registries"],
                    "secrets": [{"name": name, "value": value} for name, value in body["secrets"].items()],
                },
                "template": body["template"],
            },
        }

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Make it anew; a revision that only its secrets have changed for is restarted, to read them."""
        outputs = super().update(account, resource, found)
        same = found.body["template"] == resource.body["template"]
        if same and found.body["secrets"] != resource.body["secrets"]:
            path = self.path(account, resource.name)
            revision = account.call("GET", path, self.api)["properties"]["latestRevisionName"]
            account.call("POST", f"{path}/revisions/{revision}/restart", self.api)
        return outputs

    def read(self, account: Account, told: Mapping[str, Any], like: Mapping[str, Any] | None) -> Found:
        """All of it, with the values of its secrets."""
        properties, deployment = told["properties"], marked(told)
        configuration = properties["configuration"]
        who = list((told.get("identity") or {}).get("userAssignedIdentities") or ())
        secrets = {}
        if configuration.get("secrets"):
            path = f"{self.path(account, told['name'])}/listSecrets"
            shown = account.call("POST", path, self.api)["value"]
            secrets = {one["name"]: one.get("value", "") for one in shown}
        body = {
            "deployment": deployment,
            "location": _spelled(told["location"]),
            "identity": who[0] if who else "",
            "environment": properties["environmentId"],
            "profile": properties.get("workloadProfileName") or _PLAIN,
            "ingress": configuration.get("ingress") or {},
            "registries": configuration.get("registries") or [],
            "secrets": secrets,
            "template": properties["template"],
        }
        if like is not None:
            body = {**restricted(body, like), "secrets": secrets, "template": _shown(body, like)}
        return Found(self.kind, told["name"], body, deployment, {"id": told["id"]})


def _shown(body: Mapping[str, Any], like: Mapping[str, Any]) -> Any:
    """A template without what Azure filled in; the environment whole, since its names are the user's."""
    found = restricted(body["template"], like["template"])
    container = {**found["containers"][0], "env": body["template"]["containers"][0].get("env") or []}
    return {**found, "containers": [container]}


def _spelled(location: str) -> str:
    """A region as options and groups name it; apps tell `West Europe`."""
    return location.replace(" ", "").lower()


_KINDS = (Identity(), Pull(principal_of), Environment(), App())
_LOOKUPS = (Group(), Registry(), NamedEnvironment(), NamedIdentity())
_WAITING = (f"{_TYPE}/locations/*/read",)
"""Where Azure tells of what takes long."""


class ContainerAppsPlatform(Kinds[Account]):
    """Container Apps in a resource group.

    Args:
        account: The subscription and resource group.
    """

    def __init__(self, account: Account) -> None:
        super().__init__(account, _KINDS, _LOOKUPS)

    def deployments(self) -> Sequence[Status]:
        """Apps with our mark."""
        found = self.account.listed(f"{self.account.place}/providers/{App.type}", App.api)
        return [self._status(one) for one in found if marked(one)]

    def status(self, deployment: str) -> Status | None:
        """What Azure says of the app and of its newest revision."""
        told = self._ours(deployment)
        return None if told is None else self._status(told)

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What one of its copies has written."""
        told = self._ours(deployment)
        if told is not None:
            revision, path = told["properties"]["latestRevisionName"], self._path(deployment)
            yield from app_logs.lines_of(self.account, path, App.api, revision, follow=follow, lines=lines)

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The app's revisions."""
        told = self._ours(deployment)
        if told is None:
            return []
        current = told["properties"]["latestRevisionName"]
        listed = self.account.listed(f"{self._path(deployment)}/revisions", App.api)
        found = sorted(listed, key=lambda one: one["properties"]["createdTime"])
        return [Revision(one["name"], _image(one), one["name"] == current) for one in found]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Make a revision of the earlier one's template."""
        path = self._path(deployment)
        told = self.account.call("GET", f"{path}/revisions/{revision.id}", App.api)
        # The name of a revision cannot be had twice.
        template = {
            key: one for key, one in told["properties"]["template"].items() if key != "revisionSuffix"
        }
        self.account.done("PATCH", path, App.api, {"properties": {"template": template}})

    def ask(self, deployment: str, body: bytes) -> bytes:
        """As anybody may."""
        told = self._ours(deployment)
        if told is None:
            raise NotDeployedError(
                f"nothing is deployed to Container Apps under the name '{deployment}'",
                hint="see what is: truss status --to container-apps --all",
            )
        return endpoint.ask(f"{_url(told)}{PREDICT}", body)

    def _path(self, deployment: str) -> str:
        return App().path(self.account, _app_name(deployment))

    def _ours(self, deployment: str) -> Any | None:
        told = self.account.found(self._path(deployment), App.api)
        return told if told is not None and marked(told) == deployment else None

    def _status(self, told: Mapping[str, Any]) -> Status:
        deployment, properties = marked(told), told["properties"]
        newest = properties.get("latestRevisionName", "")
        path = f"{self._path(deployment)}/revisions/{newest}"
        revision = (self.account.found(path, App.api) or {}).get("properties", {}) if newest else {}
        state = _state(properties, revision)
        said = (revision.get("provisioningError"), revision.get("runningState"), revision.get("healthState"))
        return Status(
            deployment,
            ContainerAppsTarget.name,
            state,
            _url(told),
            _image({"properties": revision or properties}),
            ready=revision.get("replicas", 0) if state == "healthy" else 0,
            wanted=properties["template"].get("scale", {}).get("minReplicas") or 0,
            detail=() if state == "healthy" else tuple(filter(None, said)),
        )


def _image(revision: Mapping[str, Any]) -> str:
    return str(revision["properties"]["template"]["containers"][0]["image"])


def _url(told: Mapping[str, Any]) -> str:
    host = told.get("properties", {}).get("configuration", {}).get("ingress", {}).get("fqdn", "")
    return f"https://{host}" if host else ""


_BROKEN = ("Failed", "Canceled")


def _state(app: Mapping[str, Any], revision: Mapping[str, Any]) -> State:
    """https://learn.microsoft.com/azure/container-apps/revisions#lifecycle."""
    if app.get("runningStatus") == "Stopped":
        return "stopped"
    if app.get("provisioningState") in _BROKEN:
        return "failed"
    if revision.get("provisioningState") == "Failed" or revision.get("runningState") == "Failed":
        return "failed"
    ready = app.get("latestReadyRevisionName") == app.get("latestRevisionName")
    return "healthy" if ready and app.get("provisioningState") == "Succeeded" else "starting"

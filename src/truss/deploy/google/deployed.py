"""What is deployed to an endpoint of Vertex AI, and how the requests are shared out.

https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations.endpoints
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

from truss.deploy.google.account import Account, last, marked
from truss.deploy.plan import Resource
from truss.deploy.target import Found
from truss.errors import DeployError

API = "aiplatform"
MODELS, ENDPOINTS = "projects.locations.models", "projects.locations.endpoints"
PREFIX = "truss-"
"""What the names of models and endpoints begin with; a deployment's have the same name."""

_UNLUCKY = 1e-6
"""How likely it may be that none of the requests that are tried goes where a share of them should."""


class Deployed:
    """A version of the model on machines behind the endpoint; what was there before goes when it is ready.

    Or it stays and keeps the rest of the requests, where the version is to get a share of them. Requests that
    somebody split by hand are a change as any other, as is what gets none.
    """

    kind = "aiplatform:deployed-model"
    rights = (
        "aiplatform.endpoints.deploy",
        "aiplatform.endpoints.get",
        "aiplatform.endpoints.undeploy",
        "aiplatform.endpoints.update",
    )

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one that is asked for, if it gets requests; else the newest that does."""
        name = resource.name
        told = account.found(API, ENDPOINTS, name=endpoint_name(account, name))
        if told is None:
            return None
        wanted = _like(told, name, resource.body)
        one = wanted if wanted is not None and percent(told, wanted) else newest(told)
        if one is None:
            return None
        _staying(told, wanted, resource.body.get("percent", 100))  # said before anything is made
        asked = [other for other in _deployed(told) if percent(told, other)]
        share = percent(told, one)
        # A share of what nobody else gets anything of is all of it.
        body = {
            **_body(told, one),
            "percent": resource.body.get("percent", share) if one is wanted and share == 100 else share,
            "unasked": len(_deployed(told)) - len(asked),
        }
        return Found(self.kind, name, body, marked(told))

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Deploy it, with all requests; then take away what was there."""
        spread(account, resource.name, resource.body)
        return {}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as every kind
        """Deploy it beside the present one, with its share of the requests; then take away what gets none."""
        return self.create(account, resource)

    def delete(self, account: Account, found: Found) -> None:
        """Take away whatever is deployed; its requests go to what is taken away after it."""
        told = account.found(API, ENDPOINTS, name=endpoint_name(account, found.name)) or {}
        every = [one["id"] for one in _deployed(told)]
        for one, heir in zip_longest(every, every[1:]):
            _undeploy(account, found.name, one, {heir: 100} if heir else None)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """What is at the deployment's endpoint."""
        name = f"{PREFIX}{deployment}"
        told = account.found(API, ENDPOINTS, name=endpoint_name(account, name))
        if told is None or marked(told) != deployment or not told.get("deployedModels"):
            return []
        return [Found(self.kind, name, {}, deployment)]


def spread(account: Account, name: str, body: Mapping[str, Any]) -> None:
    """Give a version of a model its share of an endpoint's requests, deployed unless it is; take others away.

    What got them before keeps the rest of them, if there is a rest.

    Args:
        account: The project and region.
        name: The endpoint's name, and the model's.
        body: As of a plan's resource.

    Raises:
        DeployError: two others share the requests already.
    """
    where = endpoint_name(account, name)
    told = account.found(API, ENDPOINTS, name=where) or {}
    wanted = _like(told, name, body)
    rest = dict.fromkeys(_staying(told, wanted, body["percent"]), 100 - body["percent"])
    share = 100 - sum(rest.values())
    if wanted is None:
        deployed = {
            "model": f"{model_name(account, name)}@{body['model']}",
            "displayName": f"{name}-{body['model']}",
            "serviceAccount": body["account"],
            "dedicatedResources": {
                "machineSpec": body["machine"],
                "minReplicaCount": body["least"],
                "maxReplicaCount": body["most"],
            },
        }
        # "0" is the one that is deployed.
        asked = {"deployedModel": deployed, "trafficSplit": {"0": share, **rest}}
        account.done(API, ENDPOINTS, "deployModel", endpoint=where, body=asked)
    elif told["trafficSplit"] != (split := {wanted["id"]: share, **rest}):
        change = {"updateMask": "trafficSplit", "body": {"trafficSplit": split}}
        account.call(API, ENDPOINTS, "patch", name=where, **change)
    for one in _deployed(told):
        if one is not wanted and one["id"] not in rest:
            _undeploy(account, name, one["id"])


def _staying(endpoint: Mapping[str, Any], wanted: Mapping[str, Any] | None, share: int) -> list[str]:
    """What keeps the rest of the requests, by its identifier; empty: there is no rest, or nothing to keep it.

    Raises:
        DeployError: two share the requests already, and which of them is to keep the rest is not known.
    """
    others = [one for one in _deployed(endpoint) if one is not wanted and percent(endpoint, one)]
    if share == 100:
        return []
    if len(others) > 1:
        versions = " and ".join(sorted(one["modelVersionId"] for one in others))
        raise DeployError(
            f"versions {versions} share the requests already; a third one cannot get a part of them",
            hint="first give one of the two all of them: deploy it with --traffic 100, or `truss rollback`",
        )
    return [one["id"] for one in others]


def _undeploy(account: Account, name: str, identifier: str, split: Mapping[str, int] | None = None) -> None:
    """Take away something that gets no requests, or none by the new split, unless it is the last."""
    where = endpoint_name(account, name)
    body = {"deployedModelId": identifier, **({"trafficSplit": split} if split else {})}
    account.done(API, ENDPOINTS, "undeployModel", endpoint=where, body=body)


def _deployed(endpoint: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = endpoint.get("deployedModels", ())
    return found


def _body(endpoint: Mapping[str, Any], one: Mapping[str, Any]) -> dict[str, Any]:
    """What is deployed, as a plan's resource has it, without its share."""
    resources = one["dedicatedResources"]
    return {
        "deployment": marked(endpoint),
        "model": one["modelVersionId"],
        "account": one.get("serviceAccount", ""),
        "machine": resources["machineSpec"],
        "least": resources["minReplicaCount"],
        "most": resources.get("maxReplicaCount", resources["minReplicaCount"]),
    }


def _like(endpoint: Mapping[str, Any], name: str, body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is deployed just as a plan wants it, even if it gets nothing; of several what gets most."""
    found = [
        one
        for one in _deployed(endpoint)
        if _is_of(one, name) and {**body, **_body(endpoint, one)} == dict(body)
    ]
    return max(found, key=lambda one: percent(endpoint, one), default=None)


def as_deployed(endpoint: Mapping[str, Any], name: str, version: str) -> dict[str, Any] | None:
    """A version of the model of this name as it is deployed, as `spread` takes it; None: it is not."""
    for one in _deployed(endpoint):
        if _is_of(one, name) and one["modelVersionId"] == version:
            return _body(endpoint, one)
    return None


def newest(endpoint: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The newest that gets requests of an endpoint, of its own model if one does; None: nothing does."""

    def age(one: Mapping[str, Any]) -> tuple[bool, int, str]:
        ours = _is_of(one, last(endpoint["name"]))
        return ours, int(one["modelVersionId"]), one.get("createTime", "")

    return max((one for one in _deployed(endpoint) if percent(endpoint, one)), key=age, default=None)


def most(endpoint: Mapping[str, Any], name: str) -> str:
    """The version of the model of this name that gets the most requests, or the oldest such; empty: none."""
    shares = {
        one["modelVersionId"]: percent(endpoint, one)
        for one in _deployed(endpoint)
        if _is_of(one, name) and percent(endpoint, one)
    }
    return max(sorted(shares, key=int), key=lambda one: shares[one], default="")


def _is_of(one: Mapping[str, Any], name: str) -> bool:
    """Whether something deployed is of the model of this name; Google may name its project by a number."""
    return last(one["model"].partition("@")[0]) == name


def percent(endpoint: Mapping[str, Any], deployed: Mapping[str, Any]) -> int:
    """How many of a hundred requests something gets that is deployed to an endpoint."""
    return int(endpoint.get("trafficSplit", {}).get(deployed["id"], 0))


def tries(share: int) -> int:
    """How many requests it takes that one goes, as good as surely, to what gets so many of a hundred."""
    return math.ceil(math.log(_UNLUCKY) / math.log(1 - share / 100))


def model_name(account: Account, name: str) -> str:
    """The full name of a model."""
    return f"{account.place}/models/{name}"


def endpoint_name(account: Account, name: str) -> str:
    """The full name of an endpoint."""
    return f"{account.place}/endpoints/{name}"

"""The roles of `truss targets azureml --permissions`, held against what a deployment's whole life calls.

The calls go to the stand-in of test_azure.py. That each needs the action of its path is how Azure's Resource
Manager has it (https://learn.microsoft.com/azure/role-based-access-control/resource-provider-operations);
that it needs no other, this does not show.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase

import pytest
from azure_server import GROUP, AzureApis, RefusedError, azure

from truss.config import parse_config
from truss.deploy import Release, apply, destroy, read_options, target_named
from truss.errors import PlatformAuthError

NAMES = ("container-apps", "azureml")
VERBS = {"GET": "read", "PUT": "write", "PATCH": "write", "DELETE": "delete"}

ALWAYS = {
    "Microsoft.ContainerRegistry/registries/pull/read": "the registry's client looks what is there already",
    "Microsoft.ContainerRegistry/registries/push/write": "the registry's client pushes",
}
NOT_CALLED = {
    "container-apps": {
        **ALWAYS,
        "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action": "an app is made that has it",
        "Microsoft.App/managedEnvironments/join/action": "an app is made in it",
        "Microsoft.App/locations/*/read": "the stand-in tells elsewhere of what takes long",
    },
    "azureml": {
        **ALWAYS,
        "Microsoft.MachineLearningServices/locations/*/read": "the same",
        "Microsoft.MachineLearningServices/workspaces/metadata/secrets/read": "Azure asks for it by itself",
    },
}


@pytest.fixture(scope="module", autouse=True)
def apis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AzureApis]:
    with azure(tmp_path_factory.mktemp("azure")) as server:
        yield server


def action(call: str) -> str:
    """What Azure has to allow for a call: `PUT /.../providers/A.B/things/one` takes `A.B/things/write`."""
    method, path = call.split(" ", 1)
    if "/providers/" not in path:
        return "Microsoft.Resources/subscriptions/resourceGroups/read"
    provider, *words = path.rpartition("/providers/")[2].split("/")
    if method == "POST":
        *words, verb = words
        return "/".join([provider, *words[::2], verb, "action"])
    return "/".join([provider, *words[::2], VERBS[method]])


def allowed(wanted: str, role: list[str]) -> set[str]:
    """The actions of a role that allow a call."""
    return {one for one in role if fnmatchcase(wanted.lower(), one.lower())}


def life(name: str, apis: AzureApis) -> None:
    """All that is done to a deployment, from the first plan to its end."""
    target, secrets = target_named(name), {"api_key": "t0ken"}
    platform = target.connect(read_options(target, {}))
    for digit, value in (("1", "t0ken"), ("2", "t0ken"), ("2", "another")):
        image = f"team.azurecr.io/iris@sha256:{digit * 64}"
        release = Release("iris", image, parse_config("secrets: {api_key: null}"))
        apply(target.plan(release, read_options(target, {})), platform, {**secrets, "api_key": value})
    platform.deployments()
    platform.status("iris")
    platform.roll_back("iris", platform.revisions("iris")[0])
    platform.ask("iris", b'{"inputs": ["iris"]}')
    apis.lines = ["first"]
    assert list(platform.logs("iris")) == ["first"]
    destroy("iris", platform)


@pytest.mark.parametrize("name", NAMES)
def test_a_role_allows_what_is_called_and_nothing_more(name: str, apis: AzureApis) -> None:
    apis.reset()
    life(name, apis)
    role = json.loads(target_named(name).permissions().text)
    beside = r"/score$|:predict$"  # asked at the model's own address
    calls = {action(call) for call, _ in apis.asked if not re.search(beside, call)}
    assert {one for one in calls if not allowed(one, role["Actions"])} == set()
    used = set().union(*(allowed(one, role["Actions"]) for one in calls))
    assert set(role["Actions"]) - used == set(NOT_CALLED[name])


def test_what_is_not_allowed_is_said(apis: AzureApis) -> None:
    """The stand-in has no rights of its own: this shows only what a user reads who lacks one."""
    apis.reset()
    apis.refuse["GET", f"{GROUP}$"] = RefusedError(403, "AuthorizationFailed", "no read on the group")
    target = target_named("container-apps")
    release = Release("iris", f"team.azurecr.io/iris@sha256:{'1' * 64}", parse_config(""))
    with pytest.raises(PlatformAuthError, match="no read on the group") as caught:
        apply(target.plan(release, read_options(target, {})), target.connect(read_options(target, {})), {})
    assert "--permissions" in str(caught.value.hint)

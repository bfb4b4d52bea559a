"""What is common to the resources of Azure's Resource Manager, as calls and in templates.

https://learn.microsoft.com/azure/azure-resource-manager/templates/
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from truss.config import secret_variable
from truss.deploy.azure.account import Account, marked
from truss.deploy.plan import File, Output, Plan, Resource, SecretValue, secrets_in
from truss.deploy.target import Found

_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"


class Thing:
    """A kind of resource that carries tags, and is made and changed by the same call.

    Attributes:
        kind: As of a `Resource`.
        type: What Azure calls it.
        api: The version of its API.
        awaited: Whether what follows it in a plan needs it, without using an output of it.
        actions: What Azure has to allow for all that is done with it, without the type.
    """

    kind: str
    type: str
    api: str
    awaited = False
    actions: tuple[str, ...] = ("read", "write", "delete")

    @property
    def rights(self) -> tuple[str, ...]:
        """The actions, as roles name them."""
        return tuple(f"{self.type}/{action}" for action in self.actions)

    def request(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """What is sent to make it what a plan's body says."""
        raise NotImplementedError

    def read(self, account: Account, told: Mapping[str, Any], like: Mapping[str, Any] | None) -> Found:
        """What Azure tells of it, in the form of a plan's body; of that one's parts where it is given."""
        raise NotImplementedError

    def name_of(self, deployment: str) -> str:
        """The name of a deployment's own."""
        return f"truss-{deployment}"

    def path(self, account: Account, name: str) -> str:
        """Its full name."""
        return f"{account.place}/providers/{self.type}/{name}"

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The one of this name."""
        told = account.found(self.path(account, resource.name), self.api)
        return None if told is None else self.read(account, told, resource.body)

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make it; returns once Azure says that it is there."""
        path = self.path(account, resource.name)
        told = account.done("PUT", path, self.api, self.request(resource.body))
        return self.read(account, told, None).outputs

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as every kind
        """Make it anew under its name."""
        return self.create(account, resource)

    def delete(self, account: Account, found: Found) -> None:
        """Remove it, and wait until it is gone."""
        account.gone(self.path(account, found.name), self.api)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """The one of the deployment's name, if it has its mark."""
        told = account.found(self.path(account, self.name_of(deployment)), self.api)
        if told is None or marked(told) != deployment:
            return []
        return [self.read(account, told, None)]

    def expression(self, name: str, output: str) -> str:
        """How a template says an output of it."""
        place = f"resourceId('{self.type}', '{name}')"
        return place if output == "id" else f"reference({place}, '{self.api}').{output}"

    def entry(self, resource: Resource) -> dict[str, Any]:
        """What a template says of it, beside its type and version."""
        return {"name": resource.name, **self.request(resource.body)}


class Named(Protocol):
    """A kind that is looked up only, in templates."""

    @property
    def kind(self) -> str:
        """As of a `Resource`."""

    def expression(self, name: str, output: str) -> str:
        """How a template says an output of it."""


def template(
    plan: Plan,
    path: str,
    things: Sequence[Thing],
    lookups: Sequence[Named],
    further: Mapping[str, Any] = MappingProxyType({}),
) -> File:
    """A plan for `az deployment group create --template-file`; secrets are its parameters.

    Args:
        plan: The plan.
        path: What the file is called.
        things: The kinds of its resources.
        lookups: The kinds of what has to be there already.
        further: Parameters beside those for secrets.
    """
    kinds = {one.kind: one for one in things}
    said: Mapping[str, Named] = {one.kind: one for one in (*things, *lookups)}
    entries: list[dict[str, Any]] = []
    awaited: list[str] = []
    for resource in plan.resources:
        thing = kinds[resource.kind]
        body = _expressed(resource.body, lambda one: _said(one, said))
        needed = [one for one in _needed(resource.body) if one.partition("/")[0] in kinds]
        after = [*(_said(Output(one, "id"), said) for one in needed), *awaited]
        entry = thing.entry(Resource(resource.kind, resource.name, body))
        entries.append({"type": thing.type, "apiVersion": thing.api, **entry, "dependsOn": after})
        awaited += [entry["name"]] if thing.awaited else []
    names = sorted({name for one in plan.resources for name in secrets_in(one.body)})
    parameters = {**further, **{secret_variable(name): {"type": "securestring"} for name in names}}
    text = {"$schema": _SCHEMA, "contentVersion": "1.0.0.0", "parameters": parameters, "resources": entries}
    return File(path, json.dumps(text, indent=2, ensure_ascii=False) + "\n")


def _said(output: Output, kinds: Mapping[str, Named]) -> str:
    kind, _, name = output.resource.partition("/")
    return f"[{kinds[kind].expression(name, output.name)}]"


def _needed(value: Any) -> list[str]:
    """The keys of the resources whose outputs a body has, each once."""
    found: dict[str, None] = {}

    def note(one: Output) -> str:
        found[one.resource] = None
        return ""

    _expressed(value, note)
    return list(found)


def _expressed(value: Any, say: Callable[[Output], str]) -> Any:
    if isinstance(value, Output):
        return say(value)
    if isinstance(value, SecretValue):
        return f"[parameters('{secret_variable(value.name)}')]"
    if isinstance(value, str) and value.startswith("["):
        return f"[{value}"  # else it would be an expression
    if isinstance(value, Mapping):
        return {key: _expressed(part, say) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_expressed(part, say) for part in value]
    return value

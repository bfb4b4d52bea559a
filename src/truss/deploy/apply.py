"""Make a platform what a plan says, one resource after the other; each step reads what is there first.

So a deployment that broke off is gone on with by applying the same plan again, and one that is there already
is left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from truss.deploy.changes import Action, Change, change, superfluous
from truss.deploy.plan import Known, Plan, Resource, resolved
from truss.deploy.target import Found, Platform
from truss.errors import DeployError, NotDeployedError, TrussError

Say = Callable[[str], None]

Secrets = Mapping[str, "str | None"]


def compare(plan: Plan, platform: Platform, secrets: Secrets) -> tuple[Change, ...]:
    """What applying a plan would do now, without doing anything.

    Raises:
        NameTakenError: a resource is there that is not the deployment's.
        DeployError: the platform refuses to show what is there, or a secret has no value.
    """
    return _walk(plan, platform, secrets, _look)


def apply(plan: Plan, platform: Platform, secrets: Secrets, say: Say = lambda _: None) -> tuple[Change, ...]:
    """Make a platform what a plan says; gives what was done.

    Args:
        plan: The plan.
        platform: The connection.
        secrets: The values of the model's secrets.
        say: Told of each step.

    Raises:
        NameTakenError: a resource is there that is not the deployment's; those made before it stay.
        DeployError: the platform refuses a step; another try goes on from there.
    """

    def act(one: Change, wanted: Resource, found: Found | None) -> Mapping[str, Any]:
        if found is None:
            say(f"Making {one.key}")
            return platform.create(wanted)
        if one.action is Action.KEEP:
            return found.outputs
        say(f"Changing {one.key}")
        return platform.update(wanted, found)

    def remove(found: Found) -> None:
        say(f"Removing {found.key}")
        platform.delete(found)

    return _walk(plan, platform, secrets, act, remove)


def destroy(deployment: str, platform: Platform, say: Say = lambda _: None) -> tuple[str, ...]:
    """Remove everything that was made for a deployment, and nothing else; gives the keys.

    Raises:
        NotDeployedError: nothing was.
        DeployError: the platform refuses; another try removes what is left.
    """
    removed = []
    for found in platform.owned(deployment):
        say(f"Removing {found.key}")
        platform.delete(found)
        removed.append(found.key)
    if not removed:
        raise NotDeployedError(
            f"nothing is deployed under the name '{deployment}'", hint="see what is: truss status --to TARGET"
        )
    return tuple(removed)


def _looked_up(resource: Resource, platform: Platform) -> Mapping[str, Any]:
    found = platform.find(resource)
    if found is None:
        raise DeployError(
            f"{resource.key} is not there, and is not made by Truss",
            where=resource.key,
            hint=f"make it, or name another: see `truss targets`; it is looked up with {resource.call}",
        )
    return found.outputs


Act = Callable[[Change, Resource, "Found | None"], Mapping[str, Any]]


def _look(one: Change, _wanted: Resource, found: Found | None) -> Mapping[str, Any]:
    """What is known of a resource before anything is done."""
    if found is None:
        return {}
    lost = found.renewed if one.action is Action.UPDATE else ()
    return {name: value for name, value in found.outputs.items() if name not in lost}


def _walk(
    plan: Plan,
    platform: Platform,
    secrets: Secrets,
    act: Act,
    remove: Callable[[Found], None] = lambda _: None,
) -> tuple[Change, ...]:
    """Go through the resources in order, each with what those before it gave, and then what is left over."""
    outputs = {one.key: _looked_up(one, platform) for one in plan.existing}
    changes = []
    for resource in plan.resources:
        wanted = resolved(resource, Known(outputs, secrets))
        try:
            found = platform.find(wanted)
            changes.append(change(wanted, found, plan.deployment))
            outputs[resource.key] = act(changes[-1], wanted, found)
        except TrussError as error:
            error.where = error.where or resource.key
            raise
    for found in superfluous(plan, platform.owned(plan.deployment)):
        changes.append(Change(Action.DELETE, found.key))
        remove(found)
    return tuple(changes)

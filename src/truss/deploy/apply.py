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

    def remove(found: Found) -> None:
        say(f"Removing {found.key}")
        platform.delete(found)

    return _walk(plan, platform, secrets, _acting(platform, say), remove)


def make(plan: Plan, key: str, platform: Platform, say: Say = lambda _: None) -> None:
    """Make one resource of a plan ahead of the others: it needs nothing of theirs, and no secret.

    Args:
        plan: The plan.
        key: The resource's key.
        platform: The connection.
        say: Told of it.

    Raises:
        NameTakenError: it is there and is not the deployment's.
        DeployError: the platform refuses.
    """
    resource = next(one for one in plan.resources if one.key == key)
    _step(resource, plan.deployment, Known(), platform, _acting(platform, say))


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
            f"nothing is deployed under the name '{deployment}'",
            hint="see what is: truss status --to TARGET --all",
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


def _acting(platform: Platform, say: Say) -> Act:
    """What makes a resource what it has to be."""

    def act(one: Change, wanted: Resource, found: Found | None) -> Mapping[str, Any]:
        if found is None:
            say(f"Making {one.key}")
            return platform.create(wanted)
        if one.action is Action.KEEP:
            return found.outputs
        say(f"Changing {one.key}")
        return platform.update(wanted, found)

    return act


def _step(
    resource: Resource, deployment: str, known: Known, platform: Platform, act: Act
) -> tuple[Change, Mapping[str, Any]]:
    """One resource: looked for, and acted on; gives what was to be done, and its outputs."""
    wanted = resolved(resource, known)
    try:
        found = platform.find(wanted)
        done = change(wanted, found, deployment)
        return done, act(done, wanted, found)
    except TrussError as error:
        error.where = error.where or resource.key
        raise


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
        known = Known(outputs, secrets)
        done, outputs[resource.key] = _step(resource, plan.deployment, known, platform, act)
        changes.append(done)
    for found in superfluous(plan, platform.owned(plan.deployment)):
        changes.append(Change(Action.DELETE, found.key))
        remove(found)
    return tuple(changes)

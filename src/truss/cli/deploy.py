"""`truss deploy`: a Truss to a platform."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from truss.cli.arguments import json_output
from truss.cli.deployments import SETTINGS, chosen, deployment_arguments, show, timeout_option
from truss.cli.output import json_result, note, result

if TYPE_CHECKING:
    from truss.deploy import Change, Plan
    from truss.deployments import Deployment


@click.command("deploy", context_settings=SETTINGS)
@deployment_arguments
@click.option(
    "--image", metavar="REF", help="An image that is pushed already; by default it is built and pushed."
)
@click.option(
    "--locked", is_flag=True, help="Refuse unless truss.lock fits; by default it is used if it does."
)
@click.option("--plan", "only_plan", is_flag=True, help="Show what would be done, and do nothing.")
@click.option(
    "--out",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Write the plan's files there, and do nothing.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask before something is changed.")
@click.option("--wait/--no-wait", default=True, help="Whether to wait until it answers, and to check that.")
@timeout_option
@json_output
def command(
    words: tuple[str, ...],
    to: str | None,
    name: str | None,
    image: str | None,
    locked: bool,
    only_plan: bool,
    out: Path | None,
    yes: bool,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Deploy a Truss to a platform.

    Shows what will change, asks, makes it so, waits until the deployment answers, and asks it the Truss's
    examples. When it does not answer as expected, what ran before runs again. Options of the target follow
    like any other, e.g. --region eu-west-1; those that a Truss always wants are in its config under `deploy`.
    """
    if locked and image is not None:
        raise click.UsageError("--locked is about an image that is built, and --image names one that is")
    deployment = chosen(words, to, name)
    if locked:
        deployment.check_lock()
    if out is not None:
        return _write(deployment.plan(image), out, as_json=as_json)
    if only_plan:
        return _show(deployment, image, as_json=as_json)
    deployment.plan(image)  # before an image is built that the target cannot run
    built = None if image else deployment.built(note, locked=locked)
    plan = deployment.plan(built.name if built else image)
    changes = deployment.changes(plan)
    _tell(plan, changes)
    if not yes and any(one.action.value != "=" for one in changes):
        click.confirm("Make these changes?", abort=True, err=True)
    if built is not None:
        deployment.push(built, note)
    show(deployment.apply(plan, wait=wait, timeout=timeout, say=note), as_json=as_json)
    return 0


def _write(plan: Plan, folder: Path, *, as_json: bool) -> int:
    """Write the files of a plan, beside those that are there already."""
    paths = []
    for file in plan.files:
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.new")
        beside.write_text(file.text, encoding="utf-8")
        if file.secret:
            beside.chmod(0o600)
        beside.replace(path)
        paths.append(str(path))
    for line in plan.notes:
        note(line)
    if as_json:
        json_result({"files": paths, "notes": list(plan.notes)})
    else:
        for text in paths:
            result(text)
    return 0


def _show(deployment: Deployment, image: str | None, *, as_json: bool) -> int:
    """Print a plan: against what runs now, where that can be seen."""
    from truss.deploy import Action
    from truss.deploy.changes import change
    from truss.errors import NameTakenError, TrussError

    plan = deployment.plan(image)
    for name in deployment.unset_secrets():
        note(f"The secret '{name}' has no value here, and is taken for another")
    try:
        changes = deployment.changes(plan, unset_too=True)
    except NameTakenError:
        raise
    except TrussError as error:
        note(f"Compared with nothing, since what runs now cannot be seen: {error.message}")
        changes = tuple(change(resource, None, plan.deployment) for resource in plan.resources)
    if as_json:
        json_result(_as_json(plan, changes))
        return 0
    from truss.deploy import change_lines

    for line in change_lines(changes):
        result(line)
    for file in plan.files:
        result(f"  {file.path} is written with --out ({len(file.text.encode())} bytes)")
    for line in plan.notes:
        result(f"* {line}")
    if plan.price is not None:
        result(f"* {plan.price}")
    if all(one.action is Action.KEEP for one in changes):
        result("Nothing changes.")
    return 0


def _tell(plan: Plan, changes: tuple[Change, ...]) -> None:
    from truss.deploy import change_lines

    for line in (*change_lines(changes), *(f"* {text}" for text in plan.notes)):
        note(line)
    if plan.price is not None:
        note(f"* {plan.price}")


def _as_json(plan: Plan, changes: tuple[Change, ...]) -> dict[str, Any]:
    from truss.deploy.plan import readable

    return {
        "target": plan.target,
        "deployment": plan.deployment,
        "changes": [{**asdict(one), "action": one.action.name.lower()} for one in changes],
        "resources": [
            {"kind": one.kind, "name": one.name, "call": one.call, "body": readable(one.body)}
            for one in plan.resources
        ],
        "files": [{"path": file.path, "text": file.text} for file in plan.files],
        "notes": list(plan.notes),
        "price": None if plan.price is None else asdict(plan.price),
    }

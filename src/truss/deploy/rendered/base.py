"""What rendered targets share: their plan is a file or two, and the command that takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from truss.deploy.plan import File, Plan, Resource
from truss.deploy.release import Release
from truss.errors import DeployError


def rendered_plan(
    target: str,
    release: Release,
    files: Sequence[File],
    command: str,
    notes: Sequence[str],
    **facts: Any,
) -> Plan:
    """A plan that consists of files.

    Args:
        target: The target's name.
        release: What is deployed.
        files: What is written.
        command: What applies them, in their folder.
        notes: What a person should know.
        facts: Further fields of the plan.
    """
    resources = tuple(Resource("file", file.path, {"text": file.text}, command) for file in files)
    told = f"apply it with its own tool: --out FOLDER, and there `{command}`"
    return Plan(
        target, release.name, resources, tuple(files), (told, *(note for note in notes if note)), **facts
    )


def refuse_connection(target: str, command: str) -> NoReturn:
    """Say how a rendered plan is applied.

    Raises:
        DeployError: always.
    """
    raise DeployError(
        f"what is planned for {target} is applied by its own tool",
        where=f"--to {target}",
        hint=f"write the files with --out FOLDER, then run there: {command}",
    )

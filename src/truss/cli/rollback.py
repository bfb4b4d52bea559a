"""`truss rollback`: make the deployment of a Truss again what it was."""

from __future__ import annotations

import click

from truss.cli.arguments import json_output
from truss.cli.deployments import SETTINGS, chosen, deployment_arguments, show, timeout_option
from truss.cli.output import json_result, note, result


@click.command("rollback", context_settings=SETTINGS)
@deployment_arguments
@click.option("--revision", metavar="ID", help="To which; default: what ran before the present one.")
@click.option("--list", "only_list", is_flag=True, help="List what can be gone back to, and do nothing.")
@click.option("--wait/--no-wait", default=True, help="Whether to wait until it answers.")
@timeout_option
@json_output
def command(
    words: tuple[str, ...],
    to: str | None,
    name: str | None,
    revision: str | None,
    only_list: bool,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> int:
    """Make the deployment of a Truss again what it was."""
    deployment = chosen(words, to, name)
    if not only_list:
        show(deployment.roll_back(revision, wait=wait, timeout=timeout, say=note), as_json=as_json)
        return 0
    revisions = deployment.revisions()
    if as_json:
        json_result([{"id": one.id, "image": one.image, "current": one.current} for one in revisions])
    else:
        for one in revisions:
            result(f"{'*' if one.current else ' '} {one.id}  {one.image}")
    return 0

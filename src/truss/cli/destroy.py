"""`truss destroy`: remove the deployment of a Truss."""

from __future__ import annotations

import click

from truss.cli.arguments import json_output
from truss.cli.deployments import SETTINGS, chosen, deployment_arguments
from truss.cli.output import json_result, note, result


@click.command("destroy", context_settings=SETTINGS)
@deployment_arguments
@click.option("--yes", "-y", is_flag=True, help="Do not ask first.")
@json_output
def command(words: tuple[str, ...], to: str | None, name: str | None, yes: bool, as_json: bool) -> int:
    """Remove the deployment of a Truss.

    Everything that was made for it goes, and nothing else; images in registries stay.
    """
    deployment = chosen(words, to, name)
    if not yes:
        for found in deployment.platform.owned(deployment.name):
            note(f"- {found.key}")
        click.confirm(f"Remove the deployment '{deployment.name}'?", abort=True, err=True)
    removed = deployment.destroy(note)
    if as_json:
        json_result({"removed": list(removed)})
    else:
        for key in removed:
            result(key)
    return 0

"""`truss status`: how the deployment of a Truss does."""

from __future__ import annotations

import click

from truss.cli.arguments import json_output
from truss.cli.deployments import SETTINGS, chosen, deployment_arguments, show


@click.command("status", context_settings=SETTINGS)
@deployment_arguments
@json_output
def command(words: tuple[str, ...], to: str | None, name: str | None, as_json: bool) -> int:
    """Tell how the deployment of a Truss does.

    Ends with 1 when it does not answer.
    """
    status = chosen(words, to, name).status()
    show(status, as_json=as_json)
    return 0 if status.state == "healthy" else 1

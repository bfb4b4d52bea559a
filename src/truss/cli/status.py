"""`truss status`: how the deployment of a Truss does."""

from __future__ import annotations

from dataclasses import asdict

import click

from truss.cli.arguments import json_output
from truss.cli.deployments import SETTINGS, chosen, deployment_arguments, show
from truss.cli.output import json_result


@click.command("status", context_settings=SETTINGS)
@deployment_arguments
@click.option("--all", "every", is_flag=True, help="All deployments on the target, of whatever Truss.")
@json_output
def command(words: tuple[str, ...], to: str | None, name: str | None, every: bool, as_json: bool) -> int:
    """Tell how the deployment of a Truss does.

    Ends with 1 when it does not answer.
    """
    if every:
        found = chosen(words, to, name).all_on_target()
        if as_json:
            json_result([asdict(one) for one in found])
        else:
            for one in found:
                show(one, as_json=False)
        return 0
    status = chosen(words, to, name).status()
    show(status, as_json=as_json)
    return 0 if status.state == "healthy" else 1

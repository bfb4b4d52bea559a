"""`truss kill-all`: stop every container that Truss started."""

from __future__ import annotations

import click

from truss.cli.arguments import json_output
from truss.cli.stopping import stop_all


@click.command("kill-all")
@click.option("--engine", metavar="PROGRAM", help="docker, podman, or a path; by default what is there.")
@json_output
def command(engine: str | None, as_json: bool) -> int:
    """Stop every container that Truss started.

    They answer what they have accepted, and are removed.
    """
    return stop_all(None, engine, as_json=as_json)

"""`truss kill`: stop the containers of a Truss."""

from __future__ import annotations

from pathlib import Path

import click

from truss.cli.arguments import directory, json_output
from truss.cli.stopping import stop_all


@click.command("kill")
@directory
@click.option("--engine", metavar="PROGRAM", help="docker, podman, or a path; by default what is there.")
@json_output
def command(directory: Path, engine: str | None, as_json: bool) -> int:
    """Stop the containers of a Truss.

    They answer what they have accepted, and are removed.
    """
    return stop_all(directory.resolve(), engine, as_json=as_json)

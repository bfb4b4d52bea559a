"""`truss init`."""

from __future__ import annotations

from pathlib import Path

import click

from truss.cli.arguments import FOLDER, accepted, json_output
from truss.cli.output import json_result, note, result


@click.command("init")
@click.argument("directory", metavar="DIR", type=FOLDER)
@click.option("--name", help="The model's name; the folder's by default.")
@accepted("-s", "--skip-confirm")
@json_output
def command(directory: Path, name: str | None, as_json: bool) -> None:
    """Write a new Truss with an empty model class to fill in.

    Prints the new folder's path. A folder that is not empty is refused.
    """
    from truss.packaging import init_truss

    created = init_truss(directory, name=name)
    if as_json:
        json_result({"directory": str(created)})
        return
    result(str(created))
    note(f"fill in {created / 'model' / 'model.py'}, then: truss serve {directory}")

"""`truss images`: the images of Trusses that the engine holds."""

from __future__ import annotations

import click

from truss.cli.arguments import json_output
from truss.cli.output import json_result, result


@click.command("images")
@click.option("--engine", metavar="PROGRAM", help="docker, podman, or a path; by default what is there.")
@json_output
def command(engine: str | None, as_json: bool) -> int:
    """List the images of Trusses that the engine holds."""
    from truss import containers
    from truss.build.engine import find_engine

    images = containers.all_images(find_engine(engine))
    if as_json:
        json_result({"images": images})
        return 0
    for image in images:
        result(f"{', '.join(image['names']) or image['id']}  {image['bytes'] / 1e6:.0f} MB")
    return 0

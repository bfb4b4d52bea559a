"""`truss run-image`: the Truss in a container of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from truss.cli.arguments import directory, json_output
from truss.cli.output import json_result, note, result

if TYPE_CHECKING:
    from truss.build.engine import Container


@click.command("run-image")
@directory
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The port on this machine's loopback; 0 picks a free one.",
)
@click.option("--attach", is_flag=True, help="Show what it writes until interrupted, then stop it.")
@click.option("--watch", is_flag=True, help="As --attach, and take up edits of the model's code.")
@click.option("--gpus", is_flag=True, help="Give it the GPUs; by default when the config asks for one.")
@click.option(
    "--locked", is_flag=True, help="Refuse unless truss.lock fits; by default it is used if it does."
)
@click.option("--engine", metavar="PROGRAM", help="docker, podman, or a path; by default what is there.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=1),
    default=600.0,
    show_default=True,
    help="Seconds it may take.",
)
@json_output
def command(
    directory: Path,
    port: int,
    attach: bool,
    watch: bool,
    gpus: bool,
    locked: bool,
    engine: str | None,
    timeout: float,
    as_json: bool,
) -> int:
    """Run a Truss in a container of this machine.

    Waits until it answers. The image is built without the engine, and loaded into it when it changed.
    """
    from truss import containers
    from truss.build.engine import find_engine

    chosen = find_engine(engine)
    container = containers.run(
        directory, port=port, gpus=gpus, engine=chosen, timeout=timeout, watch=watch, locked=locked, say=note
    )
    if not (attach or watch):
        _tell(container, as_json=as_json)
        return 0
    with containers.attached(container, note, engine=chosen):
        _tell(container, as_json=as_json)
        containers.show_logs(container, note, engine=chosen)
    return 0


def _tell(container: Container, *, as_json: bool) -> None:
    from truss import containers

    url = containers.url_of(container)
    if as_json:
        json_result({"url": url, "container": container.id, "image": container.image})
    else:
        result(url)
        note(f"try: curl -X POST {url}/v1/models/model:predict -d '{{\"inputs\": [...]}}'")

"""`truss serve`. Imports next to nothing: the time to the first answer is the model's, not ours."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from truss.cli.arguments import directory
from truss.cli.output import note

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8080


@click.command("serve")
@directory
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=DEFAULT_PORT,
    show_default=True,
    help="The TCP port; 0 picks a free one.",
)
@click.option(
    "--host", default=DEFAULT_HOST, show_default=True, help="The address to listen on; 0.0.0.0 for all."
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    help="Copies of the model; by default runtime.workers of config.yaml, else one per GPU, else 1.",
)
def command(directory: Path, port: int, host: str, workers: int | None) -> int:
    """Serve a Truss over HTTP.

    Runs until interrupted; answers what it has accepted before it ends.
    """
    from truss.runtime.serve import serve

    return serve(directory, host=host, port=port, workers=workers, on_listening=_greet)


def _greet(url: str) -> None:
    request = shlex.quote('{"inputs": [...]}')
    note(f"serving on {url}")
    note(f"try: curl {url}/v1/models/model:predict -d {request}")

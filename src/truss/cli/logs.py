"""`truss logs`: what the container or deployment of a Truss has written."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import click

from truss.cli.arguments import json_output
from truss.cli.deployments import SETTINGS, chosen, deployment_arguments, only_folder
from truss.cli.output import json_result, result


@click.command("logs", context_settings=SETTINGS)
@deployment_arguments
@click.option("--follow", is_flag=True, help="Go on until interrupted.")
@click.option("--lines", default=100, show_default=True, help="Of a deployment: how many of the last lines.")
@click.option("--engine", metavar="PROGRAM", help="docker, podman, or a path; by default what is there.")
@json_output
def command(
    words: tuple[str, ...],
    to: str | None,
    name: str | None,
    follow: bool,
    lines: int,
    engine: str | None,
    as_json: bool,
) -> int:
    """Show what the container or deployment of a Truss has written.

    A deployment with --to; else the container that was started last. With --json each line is an object with
    the text as `line`.
    """
    if to is not None:
        found = chosen(words, to, name).logs(follow=follow, lines=lines)
        written = found if follow else islice(found, lines)
    else:
        written = _of_container(words, engine, follow)
    for line in written:
        text = line.rstrip("\n")
        if as_json:
            json_result({"line": text})
        else:
            result(text)
    return 0


def _of_container(words: tuple[str, ...], engine: str | None, follow: bool) -> Iterator[str]:
    from truss import containers
    from truss.build.engine import find_engine

    chosen_engine = find_engine(engine)
    yield from chosen_engine.logs(containers.newest(only_folder(words), chosen_engine), follow=follow)

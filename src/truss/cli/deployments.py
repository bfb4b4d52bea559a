"""What the commands about deployments share: their arguments, and how a status is shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from truss.cli.output import json_result, result

if TYPE_CHECKING:
    from truss.deploy import Status
    from truss.deployments import Deployment

_Function = TypeVar("_Function", bound=Callable[..., Any])

SETTINGS = {"ignore_unknown_options": True, "allow_interspersed_args": True}
"""For commands that take options of targets, which click does not know."""


def deployment_arguments(function: _Function) -> _Function:
    """The Truss, `--to`, `--name`, and any option of the target; passed as `words`, `to`, `name`."""
    for decorate in (
        click.option("--name", metavar="NAME", help="The deployment's name; default: after the model's."),
        click.option(
            "--to", metavar="TARGET", help="Where: see `truss targets`; default: the config's only target."
        ),
        click.argument("words", metavar="[DIR] [TARGET OPTIONS]...", nargs=-1, type=click.UNPROCESSED),
    ):
        function = decorate(function)
    return function


timeout_option = click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=900.0,
    show_default=True,
    help="Seconds it may take until it answers.",
)
"""How long to wait until a deployment answers."""


def chosen(words: tuple[str, ...], to: str | None, name: str | None) -> Deployment:
    """The deployment that the arguments name.

    Raises:
        DeployError: they name none.
    """
    from truss.deployments import deployment_of

    options = words[1:] if _starts_with_folder(words) else words
    return deployment_of(folder(words), to, name=name, words=options)


def folder(words: tuple[str, ...]) -> Path:
    """The Truss: the first word, unless that is an option; else the current folder."""
    return Path(words[0]) if _starts_with_folder(words) else Path()


def only_folder(words: tuple[str, ...]) -> Path:
    """The Truss, where no target is named whose options might follow.

    Raises:
        UsageError: something follows.
    """
    rest = words[1:] if _starts_with_folder(words) else words
    if rest:
        raise click.UsageError(f"{rest[0]} is no option here; options of a target go with --to TARGET")
    return folder(words)


def _starts_with_folder(words: tuple[str, ...]) -> bool:
    return bool(words) and not words[0].startswith("-")


def show(status: Status, *, as_json: bool) -> None:
    """Print how a deployment does."""
    if as_json:
        json_result(asdict(status))
        return
    copies = f"  {status.ready}/{status.wanted}" if status.wanted else ""
    result(f"{status.deployment}  {status.state}{copies}  {status.url or '-'}  {status.image}")
    for line in status.detail:
        result(f"  {line}")

"""The arguments that commands share, so that they are spelled and explained alike everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

_Function = TypeVar("_Function", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path, file_okay=False)
"""Existence is not checked here: the rooms below say what is missing, and better."""


def directory(function: _Function) -> _Function:
    """The Truss: the first argument, the current directory by default; passed as `directory`."""
    return click.argument("directory", metavar="[DIR]", type=FOLDER, default=Path())(function)


def json_output(function: _Function) -> _Function:
    """`--json`: the result, or the error, as one JSON document on stdout; passed as `as_json`."""
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON document on stdout, also for errors."
    )(function)


def server_url(function: _Function) -> _Function:
    """`--url`: ask a running server; passed as `url`."""
    return click.option(
        "--url", metavar="URL", help="Ask the server running there, e.g. http://127.0.0.1:8080."
    )(function)


def accepted(*names: str) -> Callable[[_Function], _Function]:
    """Flags of earlier versions that are taken and change nothing."""
    return click.option(*names, is_flag=True, expose_value=False, hidden=True)

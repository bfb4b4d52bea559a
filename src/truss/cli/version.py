"""`truss version`."""

from __future__ import annotations

import click

from truss.cli.arguments import json_output
from truss.cli.output import json_result, result
from truss.version import __version__


@click.command("version")
@json_output
def command(as_json: bool) -> None:
    """Print the version.

    With --json, also those of Python and the platform: what a bug report needs.
    """
    if not as_json:
        result(__version__)
        return
    import platform

    json_result(
        {"truss": __version__, "python": platform.python_version(), "platform": platform.platform()},
    )

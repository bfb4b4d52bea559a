"""Write docs/reference/cli.md from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from generated import publish

from truss.cli.group import COMMANDS, truss

INTRODUCTION = """\
# Command line

<!-- Written by scripts/reference_cli.py; `make docs` renews it. -->

Wherever a command takes a Truss, `DIR` is its folder (the one with `config.yaml`); the current one by
default. Results go to stdout, everything else to stderr. `truss COMMAND --help` prints what this page says.

| exit code | meaning |
|---|---|
| 0 | it worked |
| 1 | it ran and failed: a prediction raised, an answer differs, no server starts, a check finds problems |
| 2 | the call or its input is wrong: unknown option, a folder that is no Truss, a broken config or request |
| 70 | a defect in Truss; `TRUSS_DEBUG=1` prints the traceback to report |
| 130 | interrupted |

With `--json` a command prints one JSON document on stdout; when it fails, that is
`{"error": {"type": ..., "message": ..., "where"?: ..., "hint"?: ...}}`; the types are in [errors](errors.md).
"""


def page() -> str:
    """The page's text."""
    context = click.Context(truss, info_name="truss")
    return "\n".join([INTRODUCTION, *(_section(name, context) for name in COMMANDS)])


def _section(name: str, parent: click.Context) -> str:
    command = truss.get_command(parent, name)
    assert command is not None
    context = click.Context(command, info_name=name, parent=parent)
    usage = " ".join(["truss", name, *command.collect_usage_pieces(context)])
    return "\n".join([f"## {name}\n", f"    {usage}\n", *_description(command), *_options(command, context)])


def _description(command: click.Command) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if paragraph.startswith("\b"):
            yield "".join(f"    {line}\n" for line in paragraph.splitlines()[1:])
        else:
            yield paragraph + "\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    records = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option) and "--help" not in parameter.opts
        if (record := parameter.get_help_record(context)) is not None
    ]
    if records:
        yield "| option | |\n|---|---|"
        yield from (f"| `{option}` | {_cell(text)} |" for option, text in records)
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    publish("cli.md", page())

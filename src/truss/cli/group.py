"""The root command and the table of commands.

The table holds what `truss --help` prints, so that the help imports no command.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType

import click
from click.shell_completion import CompletionItem

COMMANDS = MappingProxyType(
    {
        "init": "Write a new Truss with an empty model class to fill in.",
        "create": "Package a model's file or folder as a Truss.",
        "serve": "Serve a Truss over HTTP.",
        "predict": "Ask a Truss, or a running server, for one prediction.",
        "run-example": "Run the examples of a Truss and compare the answers.",
        "build": "Make the image of a Truss, without Docker.",
        "build-context": "Write a Dockerfile with everything it copies.",
        "run-image": "Run a Truss in a container of this machine.",
        "logs": "Show what the container or deployment of a Truss has written.",
        "kill": "Stop the containers of a Truss.",
        "kill-all": "Stop every container that Truss started.",
        "images": "List the images of Trusses that the engine holds.",
        "deploy": "Deploy a Truss to a platform.",
        "status": "Tell how the deployment of a Truss does.",
        "rollback": "Make the deployment of a Truss again what it was.",
        "destroy": "Remove the deployment of a Truss.",
        "targets": "List where a Truss can be deployed to.",
        "validate": "Check a Truss without loading its model.",
        "readme": "Describe a Truss in Markdown.",
        "version": "Print the version.",
        "completion": "Print the completion script of a shell.",
    }
)
"""Name -> what it does. The command `run-example` is the object `command` of `truss.cli.run_example`."""


class LazyGroup(click.Group):
    """A group whose commands live in modules named after them."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the table's order."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import the module of a command."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"truss.cli.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does it, with the nearest name when there is no such command."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"no such command '{args[0]}'{_nearest(args[0])}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table; click's own version imports every command to ask for its help."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete names from the table, and options as click does."""
        names = [
            CompletionItem(name, help=text) for name, text in COMMANDS.items() if name.startswith(incomplete)
        ]
        return names + click.Command.shell_complete(self, ctx, incomplete)


def _nearest(name: str) -> str:
    from difflib import get_close_matches

    matches = get_close_matches(name, COMMANDS, n=1)
    return f"; did you mean '{matches[0]}'?" if matches else ""


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from truss.version import __version__

        click.echo(f"truss {__version__}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 it worked, 1 it ran and failed, 2 the call or the input is wrong, 70 a defect in "
    "Truss. Results go to stdout, everything else to stderr. TRUSS_DEBUG=1 shows tracebacks.",
)
@click.option(
    "-v",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version and exit.",
)
@click.pass_context
def truss(ctx: click.Context) -> None:
    """Package a trained model, serve it, ask it.

    Wherever a command takes a Truss, it is the folder with config.yaml; the current one if not given.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())

"""`truss completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from truss.cli.output import result

SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    bash:  eval "$(truss completion bash)"      in ~/.bashrc
    zsh:   eval "$(truss completion zsh)"       in ~/.zshrc
    fish:  truss completion fish | source       in ~/.config/fish/config.fish
    """  # noqa: D301 - click reads the \b, which keeps the lines apart
    completion_class = get_completion_class(shell)
    if completion_class is None:
        raise click.UsageError(f"click knows no shell '{shell}'", ctx)
    root = ctx.find_root()
    result(completion_class(root.command, {}, "truss", "_TRUSS_COMPLETE").source())

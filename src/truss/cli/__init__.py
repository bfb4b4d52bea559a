"""The command line. One module per command, imported only when that command runs.

Results go to stdout, everything else to stderr, so that a script reads what it asked for and nothing
besides. Exit codes: 0, it worked; 1, it ran and failed; 2, the call or the input is wrong; 70, a defect in
Truss; 130, interrupted.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Every error of every command is reported here, once.

    Args:
        arguments: The words after `truss`; those of this process when not given.
    """
    import sys

    from truss.cli.failure import report
    from truss.cli.group import truss

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        # Without standalone mode click raises its errors and returns the exit code of `ctx.exit`.
        status = truss.main(args=words, prog_name="truss", standalone_mode=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 - the one place where errors become messages
        return report(error, words)
    return status if isinstance(status, int) else 0

"""Show that something is going on, once it takes long enough to wonder."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 1.0
"""Seconds before work that is still going on is worth a line."""


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Show `what` on a terminal or in a notebook while the work inside takes longer than `PATIENCE`."""
    if not (sys.stderr.isatty() or "ipykernel" in sys.modules):
        yield
        return
    done = threading.Event()
    shown = threading.Thread(target=_show, args=(what, done), daemon=True)
    shown.start()
    try:
        yield
    finally:
        done.set()
        shown.join()


def _show(what: str, done: threading.Event) -> None:
    if done.wait(PATIENCE):
        return
    if not sys.stderr.isatty():  # a notebook: what moves there needs widgets
        sys.stderr.write(f"{what} ...\n")
        return
    from rich.console import Console
    from rich.live import Live
    from rich.spinner import Spinner

    # The work itself writes to these streams, from another thread: they stay what they are.
    with Live(
        Spinner("dots", what),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    ):
        done.wait()

"""How far a push has come, as a bar on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from truss.oci import Digest, Progress

_WORTH_A_BAR = 1 << 20
"""Bytes on their way from which on a bar is shown: an edit's few kilobytes are there before it is."""


@contextmanager
def shown(total: int) -> Iterator[Callable[[Progress], None]]:
    """Something to tell of every step of a push, which shows it on a terminal while the block runs.

    Args:
        total: The bytes of everything that has to be in the registry in the end.
    """
    arrived: dict[Digest, int] = {}
    with ExitStack() as until_the_end:
        show: Callable[[int], None] | None = None

        def tell(step: Progress) -> None:
            nonlocal show
            arrived[step.descriptor.digest] = step.arrived
            if show is None and step.state == "sending" and step.arrived >= _WORTH_A_BAR:
                show = _bar(total, until_the_end)
            if show is not None:
                show(sum(arrived.values()))

        yield tell if sys.stderr.isatty() else lambda _: None


def _bar(total: int, until: ExitStack) -> Callable[[int], None]:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = until.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
    task = bar.add_task("Pushing", total=total)
    return lambda completed: bar.update(task, completed=completed)

"""See edits of a Truss's code while it is served, and say what came of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from truss.config import TrussConfig

logger = logging.getLogger("truss.watch")

VARIABLE = "TRUSS_WATCH"
"""The environment variable that has a server take up edits: `1`."""

_LOOK_SECONDS = 0.1

State = tuple[tuple[str, int, int], ...]
"""Path, size in bytes and modification time in nanoseconds of each file."""


def code_state(truss_dir: Path, config: TrussConfig) -> State:
    """The state of a Truss's Python files. Reads no file's content."""
    from truss.model.live import code_files

    found = []
    for file in code_files(truss_dir, config):
        try:
            facts = file.stat()
        except OSError:  # removed while we looked: the next look sees the result
            continue
        found.append((str(file), facts.st_size, facts.st_mtime_ns))
    return tuple(found)


async def watch(look: Callable[[], State], known: State, changed: Callable[[], Awaitable[None]]) -> None:
    """Tell of every change, once the files have been left alone for a moment: editors write in steps.

    Args:
        look: Gives the state of the files; runs in a thread.
        known: The state that the server was started with.
        changed: Told of a change; the next is looked for when it is done.
    """
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        found = await asyncio.to_thread(look)
        if found == known:
            continue
        known = await _settled(look, found)
        await changed()


async def _settled(look: Callable[[], State], found: State) -> State:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        again = await asyncio.to_thread(look)
        if again == found:
            return found
        found = again


def report_renewal(index: int, report: Mapping[str, Any]) -> None:
    """Say what came of changed code in a worker."""
    if "error" in report:
        error = report["error"]
        where = f" ({error['where']})" if error["where"] else ""
        logger.error("the edit is not taken up, the code of before answers on: %s%s", error["message"], where)
    elif report.get("files"):
        how = "the loaded model is kept" if report["kept"] else "the model was loaded anew"
        logger.info(
            "worker %d runs the edited %s: %s (%.2f s)",
            index,
            ", ".join(report["files"]),
            how,
            report["seconds"],
        )

"""What a server and all its processes hold in memory."""

from __future__ import annotations

from pathlib import Path

import psutil


def tree(pid: int) -> list[psutil.Process]:
    """A process and everything below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def proportional_bytes(pid: int) -> int:
    """Proportional set size of a tree: a page that n processes share counts a nth for each of them."""
    return sum(rollup(process.pid)["Pss"] for process in tree(pid))


def resident_bytes(pid: int) -> int:
    """Resident memory of a tree, shared pages counted in each process."""
    return sum(rollup(process.pid)["Rss"] for process in tree(pid))


def rollup(pid: int) -> dict[str, int]:
    """The sums over a process's mappings, in bytes; zeros when it has ended meanwhile."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return {"Rss": 0, "Pss": 0}
    return {name: int(amount.split()[0]) << 10 for name, _, amount in (line.partition(":") for line in lines)}

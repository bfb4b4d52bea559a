"""How much memory is left for another model: of the machine, and of this container."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")
"""A container sees its own group here: https://docs.kernel.org/admin-guide/cgroup-v2.html"""

_NOT_SAID = (OSError, ValueError, IndexError, StopIteration)
"""There is no such file, no such line, or no number in it (`max` is no limit)."""


def free_memory(machine: Path = Path("/proc/meminfo"), group: Path = _GROUP) -> int | None:
    """Bytes that this process and its children may still take; None where nobody says it.

    Args:
        machine: Linux's account of the machine's memory.
        group: The folder of the container's control group; without a limit there, all is the machine's.
    """
    found = []
    with suppress(*_NOT_SAID):
        found.append(_line(machine, "MemAvailable:") * 1024)
    with suppress(*_NOT_SAID):
        limit, used = (int((group / name).read_text()) for name in ("memory.max", "memory.current"))
        # What files keep there is given back when it is needed.
        found.append(limit - used + _line(group / "memory.stat", "inactive_file"))
    return max(0, min(found)) if found else None


def _line(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(name))


def size_of(folder: Path) -> int:
    """Bytes of the files in a folder: about what loading them takes at the least."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

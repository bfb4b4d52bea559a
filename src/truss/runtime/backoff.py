"""How long to wait before a process that ended is started again: a policy, free of clocks."""

from __future__ import annotations

_FIRST = 0.5
_LONGEST = 60.0
_DOUBLINGS = 7
"""After so many the longest wait is reached; 2 to the power of a count that grows for days has no float."""


def seconds_before_restart(failures: int) -> float:
    """The wait before the next start.

    The first replacement starts at once: most processes that die do so once. One that keeps dying is given
    half a second, then twice as long each time, up to a minute.

    Args:
        failures: How many processes in the same place were lost in a row, this one not counted.
    """
    if failures == 0:
        return 0.0
    return min(_LONGEST, _FIRST * 2.0 ** min(failures - 1, _DOUBLINGS))

"""How fast the machine is at the moment, so that what ran minutes apart can be compared.

Machines that others share change their speed by a third from one minute to the next. Beside every measurement
the same fixed work is therefore done on every core at once, and a ratio between two measurements
is one between their figures over the pace of their minute.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys

_SECONDS = 0.2
_CODE = """
import json, sys, time
text = json.dumps([{"id": number, "values": [0.1 * number, 1.5, -2.0]} for number in range(8)])
for line in sys.stdin:
    end, rounds = time.perf_counter() + float(line), 0
    while time.perf_counter() < end:
        for _ in range(20):
            sum(row["values"][0] for row in json.loads(text))
        rounds += 20
    print(rounds, flush=True)
"""


class Pace:
    """Processes that wait for a look at the machine's speed, one per core."""

    def __init__(self) -> None:
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", _CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(os.cpu_count() or 1)
        ]

        self.look()  # the first finds cold caches

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.communicate()

    def look(self) -> float:
        """Thousands of rounds of the fixed work per second and core; takes a fifth of a second."""
        for process in self._processes:
            assert process.stdin is not None  # it was asked for
            process.stdin.write(f"{_SECONDS}\n")
            process.stdin.flush()
        counts = []
        for process in self._processes:
            assert process.stdout is not None  # it was asked for
            counts.append(int(process.stdout.readline()))
        return statistics.mean(counts) / _SECONDS / 1e3

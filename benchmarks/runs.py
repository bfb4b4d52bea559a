"""One run of a program: what it took, and what it printed."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Run:
    """What a program took.

    Attributes:
        seconds: From its start to its end.
        peak: The most memory that it, or a program that it ran, held, in bytes.
        read: The bytes that they read.
        told: What it printed.
    """

    seconds: float
    peak: int
    read: int
    told: dict[str, Any]


def measured_run(words: Sequence[str | Path], variables: Mapping[str, str]) -> Run:
    """Run a program that prints JSON, and what it took: of itself, and of what it ran.

    Raises:
        RuntimeError: it failed; with what it said.
    """
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as errors:
        begun = time.perf_counter()
        process = subprocess.Popen(words, stdout=out, stderr=errors, env={**os.environ, **variables})
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        seconds = time.perf_counter() - begun
        read = int(Path(f"/proc/{process.pid}/io").read_text().split()[1])  # until it is waited for
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        for stream in (out, errors):
            stream.seek(0)
        if process.returncode:
            raise RuntimeError(errors.read())
        return Run(round(seconds, 3), usage.ru_maxrss * 1024, read, json.load(out))

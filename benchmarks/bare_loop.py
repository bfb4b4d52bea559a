"""What the embedding model does by itself: no server, one process, its best batch size."""

from __future__ import annotations

import statistics
import subprocess
from typing import Any

from benchmarks.pace import Pace
from benchmarks.places import MODELS, PYTHON, ROOT

_SIZES = (1, 2, 4, 8, 16, 32, 64)
_REPETITIONS = 3
_CODE = """
import sys, time
from bench_models import load_model
from benchmarks.workloads import sentences
predict = load_model("embed")
texts = sentences()
for line in sys.stdin:
    size = int(line)
    batches = [texts[start:start + size] for start in range(0, len(texts), size)]
    predict(batches[0])
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < 1:
        for batch in batches:
            predict(batch)
            count += len(batch)
    print(count / (time.perf_counter() - begun), flush=True)
"""


def measure(pace: Pace) -> dict[str, Any]:
    """Sentences per second for each batch size, and the best of them; medians of three."""
    with subprocess.Popen(
        [PYTHON, "-c", _CODE],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks' / 'served'}",
            "BENCH_MODELS": str(MODELS),
        },
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as loop:
        measured = {size: _of_size(loop, size, pace) for size in _SIZES}
        assert loop.stdin is not None  # it was asked for
        loop.stdin.close()
    best = max(_SIZES, key=lambda size: measured[size][1])
    rate, speed = measured[best]
    print(f"embed          bare loop, batches of {best}: {rate:.1f} sentences/s", flush=True)
    rates = {str(size): round(measured[size][0], 1) for size in _SIZES}
    return {"rates": rates, "best_size": best, "best_rate": round(rate, 1), "best_speed": round(speed, 3)}


def _of_size(loop: subprocess.Popen[str], size: int, pace: Pace) -> tuple[float, float]:
    """Its rate, and that in the measure of the machine's speed."""
    assert loop.stdin is not None and loop.stdout is not None  # noqa: PT018  # both were asked for
    rates, paces = [], [pace.look()]
    for _ in range(_REPETITIONS):
        loop.stdin.write(f"{size}\n")
        loop.stdin.flush()
        rates.append(float(loop.stdout.readline()))
        paces.append(pace.look())
    rate = statistics.median(rates)
    return rate, rate / statistics.median(paces)

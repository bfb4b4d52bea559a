"""What the embedding model does by itself: no server, one process, its best batch size."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from benchmarks.places import MODELS, PYTHON, ROOT

_SIZES = (1, 2, 4, 8, 16, 32, 64)
_SECONDS_EACH = 2.0
_CODE = """
import json, sys, time
from bench_models import load_model
from benchmarks.workloads import sentences
predict = load_model("embed")
texts = sentences()
rates = {}
for size in json.loads(sys.argv[1]):
    batches = [texts[start:start + size] for start in range(0, len(texts), size)]
    predict(batches[0])
    best = 0.0
    for _ in range(3):
        begun, count = time.perf_counter(), 0
        while time.perf_counter() - begun < float(sys.argv[2]) / 3:
            for batch in batches:
                predict(batch)
                count += len(batch)
        best = max(best, count / (time.perf_counter() - begun))
    rates[size] = round(best, 1)
print(json.dumps(rates))
"""


def measure() -> dict[str, Any]:
    """Sentences per second for each batch size, and the best of them."""
    done = subprocess.run(
        [PYTHON, "-c", _CODE, json.dumps(_SIZES), str(_SECONDS_EACH)],
        cwd=ROOT,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'benchmarks' / 'served'}",
            "BENCH_MODELS": str(MODELS),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    rates = {int(size): rate for size, rate in json.loads(done.stdout.splitlines()[-1]).items()}
    best = max(rates, key=lambda size: rates[size])
    print(f"embed          bare loop, batches of {best}: {rates[best]:.1f} sentences/s", flush=True)
    return {"rates": rates, "best_size": best, "best_rate": rates[best]}

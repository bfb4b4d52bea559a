"""Write the Truss of one workload: `make.py WORKLOAD FOLDER MODELS [GRPC_PORT]`."""

import asyncio
import sys
import time
from pathlib import Path

import numpy as np

import truss
from truss.config import set_value


def echo(request):
    """Answer each row with itself."""
    return {"predictions": request["inputs"]}


def sleep(request):
    """Answer each row with itself, after 20 ms whatever their number."""
    time.sleep(0.02)
    return {"predictions": request["inputs"]}


async def sleep_async(request):
    """The same, waiting."""
    await asyncio.sleep(0.02)
    return {"predictions": request["inputs"]}


def tensor(request):
    """The mean of each channel."""
    images = np.asarray(request["inputs"], dtype=np.float32)
    return {"predictions": images.mean(axis=(-2, -1))}


def logreg(models):
    """The saved estimator."""
    import joblib

    return joblib.load(models / "logreg.joblib")


def encoder(models):
    """The sentence encoder, as `truss.create` takes it."""
    from transformers import AutoModel, AutoTokenizer

    folder = models / "encoder"
    return AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)


FUNCTIONS = {
    "echo": echo,
    "tensor": tensor,
    "tensor-binary": tensor,
    "tensor-inference": tensor,
    "tensor-grpc": tensor,
    "sleep": sleep,
    "sleep-async": sleep_async,
}
SETTINGS = {
    "sleep": {"runtime.batching.mode": "rows"},
    "sleep-async": {"runtime.predict_concurrency": 64},
}

if __name__ == "__main__":
    workload, folder, models = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    saved = {"logreg": logreg, "embed": encoder}
    model = saved[workload](models) if workload in saved else FUNCTIONS[workload]
    truss.create(model, folder)
    for key, value in SETTINGS.get(workload, {}).items():
        set_value(folder, key, value)
    if sys.argv[4:]:
        set_value(folder, "runtime.grpc.port", int(sys.argv[4]))

"""A BentoML service for one workload."""

import os
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
from bench_models import load_model, sleep_async

WORKLOAD = os.environ["BENCH_WORKLOAD"]

# Its documentation types arrays as NumPy's and texts as lists.
Inputs = np.ndarray if WORKLOAD in ("logreg", "tensor", "echo", "sleep", "sleep-async") else list[str]
batching = {"batchable": True, "max_batch_size": 128, "max_latency_ms": 10_000}


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Service:
    """The model behind a plain method, a batched one, and one for binary bodies."""

    def __init__(self):
        self.model = None if WORKLOAD == "sleep-async" else load_model(WORKLOAD)

    @bentoml.api
    def predict(self, inputs: Inputs) -> list[Any]:
        """One call per request."""
        return plain(self.model(inputs))

    @bentoml.api(**batching)
    def predict_batch(self, inputs: Inputs) -> list[Any]:
        """One call for the requests of a batch."""
        return plain(self.model(inputs))

    @bentoml.api
    async def wait(self, inputs: Inputs) -> list[Any]:
        """The async model."""
        return plain(await sleep_async(inputs))

    @bentoml.api
    def upload(self, data: Path, /) -> list[Any]:
        """A body of raw float32 values."""
        tensor = np.fromfile(data, np.float32).reshape(-1, 3, 224, 224)
        return self.model(tensor)


def plain(answers):
    """Rows of arrays as lists; the echo hands its input's rows back."""
    return [answer.tolist() if isinstance(answer, np.ndarray) else answer for answer in answers]

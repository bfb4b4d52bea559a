"""A Ray Serve application for one workload: `server.py PORT plain|batched`."""

import os
import signal
import sys
import threading

import numpy as np
import ray
from bench_models import load_model, sleep_async
from ray import serve
from starlette.requests import Request

WORKLOAD = os.environ["BENCH_WORKLOAD"]


async def item_of(request: Request):
    """The item of a request: raw float32 values, or JSON."""
    if WORKLOAD == "tensor-binary":
        return np.frombuffer(await request.body(), np.float32).reshape(3, 224, 224)
    return (await request.json())["inputs"][0]


@serve.deployment(num_replicas=1, max_ongoing_requests=1000)
class Plain:
    """One call per request."""

    def __init__(self):
        self.model = None if WORKLOAD == "sleep-async" else load_model(WORKLOAD)

    async def __call__(self, request: Request):
        """Answer the request's one item."""
        items = [await item_of(request)]
        answers = await sleep_async(items) if self.model is None else self.model(items)
        return {"predictions": answers}


@serve.deployment(num_replicas=1, max_ongoing_requests=1000)
class Batched:
    """One call per batch."""

    def __init__(self):
        self.model = load_model(WORKLOAD)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.005)
    async def predict(self, items: list):
        """One answer per item."""
        return self.model(items)

    async def __call__(self, request: Request):
        """Answer the request's one item, together with those of others."""
        return {"predictions": [await self.predict(await item_of(request))]}


if __name__ == "__main__":
    port, kind = int(sys.argv[1]), sys.argv[2]
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    ray.init(num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(Batched.bind() if kind == "batched" else Plain.bind(), route_prefix="/")
    stopped.wait()
    serve.shutdown()
    ray.shutdown()

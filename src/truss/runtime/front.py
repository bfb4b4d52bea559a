"""The front of a Truss, put together: what answers requests, and what it hands them to.

Whoever owns a socket serves its `app`: our own server (`serve`), or a replica of Ray Serve (`ray_replica`).
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from truss.config import TrussConfig
from truss.runtime.app import App
from truss.runtime.arena import Arena
from truss.runtime.authentication import api_keys
from truss.runtime.description import first_example
from truss.runtime.documents import Documents
from truss.runtime.metrics import Metrics
from truss.runtime.pool import Pool
from truss.runtime.predictions import Predictions
from truss.runtime.process import Spawned
from truss.runtime.protocols.routes import Service, predict_routes
from truss.runtime.tracing import Tracing, tracing_of
from truss.runtime.usage import describe_processes


@dataclass(frozen=True)
class Front:
    """The parts of a front.

    Attributes:
        app: The ASGI application.
        pool: Where it hands requests to workers.
        predictions: The way there.
        service: What the model is called.
        tracing: Where spans go, if anywhere.
    """

    app: App
    pool: Pool
    predictions: Predictions
    service: Service
    tracing: Tracing | None

    async def close(self) -> None:
        """End the workers, and send what spans are left."""
        await self.pool.close()
        if self.tracing is not None:
            self.tracing.close()


def front_of(
    truss_dir: Path,
    config: TrussConfig,
    start: Sequence[Callable[[], Spawned]],
    arena: Arena,
    model_name: str | None = None,
) -> Front:
    """The front of a Truss. Its pool is not open yet.

    Args:
        truss_dir: The Truss.
        config: Its config.
        start: How each worker is started.
        arena: Where large bodies are shared with the workers.
        model_name: A name for the model in paths, besides the config's.
    """
    metrics = Metrics()
    keys, tracing = api_keys(config), tracing_of(config)
    pool = Pool(truss_dir, config.runtime, lambda index: start[index](), metrics)
    service = Service.of(config, os.environ, model_name)
    predictions = Predictions(pool, arena, config.runtime, metrics, predict_routes(service), keys, tracing)
    metrics.describe_gauge(
        "truss_shared_body_bytes", "Memory that large bodies take.", lambda: [("", arena.in_use)]
    )
    describe_processes(metrics, pool.pids)
    documents = Documents(
        lambda: pool.interface,
        service,
        functools.partial(first_example, truss_dir, config),
        secured=keys is not None,
    )
    app = App(pool, predictions, metrics, service, documents, debug=config.runtime.debug)
    return Front(app, pool, predictions, service, tracing)

"""What requests to a wrapped server are answered by: its routes, ours, and who may ask.

The routes are those of any Truss, led to the server's endpoints; every other path is the server's own.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from truss.config import DockerServer, Runtime, parse_size
from truss.errors import BodyTooLargeError, NotReadyError
from truss.runtime import metrics as metrics_module
from truss.runtime.authentication import ApiKeys
from truss.runtime.metrics import Metrics
from truss.runtime.predictions import Reply
from truss.runtime.protocols.routes import Service
from truss.runtime.supervisor import Supervisor
from truss.runtime.upstream import Upstreams
from truss.runtime.workers import State

if TYPE_CHECKING:
    from truss.runtime.tracing import Tracing

SERVER_METRICS = "/metrics/server"

_READY_PATHS = ("/readyz", "/ping", "/health")
_PREDICT_PATHS = ("/predict", "/invocations", "/score", "/events")
"""Beside those with the model's name: as for every Truss (`truss.runtime.protocols.routes`), but for the Open
Inference Protocol's and a POST of `/`, which are the server's own if it has them."""


@dataclass(frozen=True)
class Target:
    """Where a request goes.

    Attributes:
        label: The route's name in metrics; those of the server's own paths have one together.
        path: The path at the server; None for a route that is answered here.
        answer: What answers it here: always, or when the server does not run and `path` is not None.
        open: Whether it needs no API key.
        readiness: Whether it tells load balancers where to send requests.
    """

    label: str
    path: str | None
    answer: Callable[[], Reply] | None = None
    open: bool = False
    readiness: bool = False


class Gateway:
    """What the connections of clients share.

    Args:
        server: The config's `docker_server`.
        service: What the model is called, and where platforms look for it.
        settings: The config's `runtime`.
        supervisor: Keeps the server running.
        metrics: Where requests are counted.
        keys: The API keys, if clients need one.
        tracing: Where spans go, if traces are taken.

    Attributes:
        upstreams: The connections to the server.
        max_body: The largest body taken, in bytes.
        draining: Set when the server is about to stop.
        running: How many requests are on their way.
    """

    def __init__(
        self,
        server: DockerServer,
        service: Service,
        settings: Runtime,
        supervisor: Supervisor,
        metrics: Metrics,
        keys: ApiKeys | None,
        tracing: Tracing | None,
    ) -> None:
        self.upstreams = Upstreams(server.server_port)
        self.settings = settings
        self.supervisor = supervisor
        self.metrics = metrics
        self.keys = keys
        self.tracing = tracing
        self.max_body = parse_size(settings.max_body)
        self.draining = False
        self.running = 0
        prefix = os.urandom(4).hex().encode()
        self._ids = (b"%b-%x" % (prefix, number) for number in itertools.count(1))
        self._targets = self._table(server, service)
        metrics.describe_gauge(
            "truss_requests_running", "Requests on their way.", lambda: [("", self.running)]
        )

    def new_id(self) -> bytes:
        """An id for a request that has none."""
        return next(self._ids)

    def target(self, path: str) -> Target:
        """Where a request to a path goes."""
        return self._targets.get(path) or Target("server", path)

    def _table(self, server: DockerServer, service: Service) -> dict[str, Target]:
        models = [path for path, _ in service.model_paths("/v1/models")]
        live, ready = server.liveness_endpoint, server.readiness_endpoint
        table = {path: Target(path, live, self._alive, open=True) for path in ("/", "/livez", "/healthz")}
        of_health = [*models, *(f"{path}/loaded" for path in models), *_given(service.health_path)]
        for path in (*_READY_PATHS, *of_health):
            table[path] = Target(path, ready, open=True, readiness=True)
        of_requests = [*(f"{path}:predict" for path in models), *_given(service.predict_path)]
        for path in (*_PREDICT_PATHS, *of_requests):
            table[path] = Target(path, server.predict_endpoint)
        table[live] = Target(live, live, open=True)
        table[ready] = Target(ready, ready, open=True, readiness=True)
        table["/metrics"] = Target("/metrics", None, self._show_metrics)
        table[SERVER_METRICS] = Target(SERVER_METRICS, "/metrics")
        return table

    def check_size(self, size: int) -> None:
        """Refuse a body that is too large.

        Raises:
            BodyTooLargeError: it is.
        """
        if size > self.max_body:
            raise BodyTooLargeError(
                f"the body has {size} bytes or more; the limit is {self.max_body}",
                hint="send less, or raise `runtime.max_body` in config.yaml",
            )

    def check_ready(self) -> None:
        """Refuse when load balancers are to send nothing here; else the server itself is asked.

        Raises:
            NotReadyError: this front is about to stop, or the server has not started yet.
        """
        if self.draining:
            raise NotReadyError("the server is stopping", hint="send requests to another instance")
        if self.supervisor.state is not State.READY:
            raise self.not_ready()

    def not_ready(self) -> NotReadyError:
        """Why there is no connection to the server now."""
        if self.supervisor.state is State.LOST:
            last = self.supervisor.last_lines.splitlines()[-1:] or ["it wrote nothing"]
            return NotReadyError("the server ended and is started again", hint=f"its last line: {last[0]}")
        return NotReadyError("the server is starting", hint="ask again in a few seconds; GET /readyz tells")

    def _alive(self) -> Reply:
        """While the server starts: this front lives, and sees to it that the server comes."""
        return Reply(200, msgspec.json.encode({"status": "alive", "ready": False}))

    def _show_metrics(self) -> Reply:
        return Reply(200, self.metrics.render(), metrics_module.CONTENT_TYPE.encode())


def _given(path: str | None) -> list[str]:
    return [] if path is None else [path]

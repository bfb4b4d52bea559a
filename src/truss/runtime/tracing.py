"""Traces by OpenTelemetry: the front's span of a request, and a worker's spans of its stages.

Nothing here is imported unless traces are taken, and OpenTelemetry itself comes with the extra `tracing`.
What is exported where, and how much of it, the `OTEL_*` environment variables say.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from time import perf_counter_ns, time_ns
from typing import Any

from truss.config import TrussConfig
from truss.errors import MissingExtraError
from truss.runtime.context import trace_of
from truss.version import __version__

logger = logging.getLogger("truss.tracing")

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def wanted(config: TrussConfig, variables: Mapping[str, str] = os.environ) -> bool:
    """Whether traces are to be taken: the config or the environment names a collector, or asks for them."""
    off = variables.get("OTEL_SDK_DISABLED", "").lower() == "true"
    if off or variables.get("OTEL_TRACES_EXPORTER") == "none":
        return False
    asked = config.runtime.tracing.endpoint is not None or config.runtime.enable_tracing_data
    return asked or any(variables.get(name) for name in _ENDPOINTS)


def tracing_of(config: TrussConfig, variables: Mapping[str, str] = os.environ) -> Tracing | None:
    """What takes traces in this process; None when none are taken.

    Raises:
        MissingExtraError: the config asks for traces, and OpenTelemetry is not installed. Where only the
            environment asks, as platforms do for every container, a line of the log says it.
    """
    if not wanted(config, variables):
        return None
    try:
        return Tracing(config)
    except ImportError as error:
        if config.runtime.tracing.endpoint is None:
            logger.warning("no traces are taken: install truss[tracing] (%s)", error)
            return None
        raise MissingExtraError("opentelemetry-sdk", "tracing", "taking traces") from error


class Span:
    """The span of one request in the front.

    Attributes:
        traceparent: What spans below it are told (W3C Trace Context).
    """

    __slots__ = ("_span", "traceparent")

    def __init__(self, span: Any) -> None:
        self._span = span
        found = span.get_span_context()
        self.traceparent = f"00-{found.trace_id:032x}-{found.span_id:016x}-{int(found.trace_flags):02x}"

    def end(self, status: int) -> None:
        """The request is answered."""
        from opentelemetry.trace import StatusCode

        self._span.set_attribute("http.response.status_code", status)
        if status >= 500:
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


class Tracing:
    """Takes the traces of one process.

    Args:
        config: Where they go, if the config says so; the service's name, if `OTEL_SERVICE_NAME` does not.

    Raises:
        ImportError: OpenTelemetry is not installed.
    """

    def __init__(self, config: TrussConfig) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        named = {} if "OTEL_SERVICE_NAME" in os.environ else {"service.name": config.model_name or "truss"}
        endpoint = config.runtime.tracing.endpoint
        url = None if endpoint is None else f"{endpoint.rstrip('/').removesuffix('/v1/traces')}/v1/traces"
        self._provider = TracerProvider(resource=Resource.create(named))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=url)))
        self._tracer = self._provider.get_tracer("truss", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, headers: Iterable[tuple[bytes, bytes]], route: str, request_id: bytes) -> Span:
        """Begin the span of a request, below the caller's if its headers name one."""
        from opentelemetry.trace import SpanKind

        names = (b"traceparent", b"tracestate")
        carrier = {name.decode(): value.decode("latin-1") for name, value in headers if name in names}
        attributes = {"http.route": route, "truss.request_id": request_id.decode("latin-1")}
        parent = self._propagator.extract(carrier)
        span = self._tracer.start_span(route, context=parent, kind=SpanKind.SERVER, attributes=attributes)
        return Span(span)

    def record(self, contexts: Sequence[bytes], started: int, decoded: int, ran: int, done: int) -> None:
        """Record the stages of requests that ran together; all times by `time.perf_counter_ns`.

        Args:
            contexts: Their contexts; those that are not traced, or not sampled, are left out.
            started: When decoding began; each waited in the queue until then.
            decoded: When the model began.
            ran: When encoding began.
            done: When it ended.
        """
        shift = time_ns() - perf_counter_ns()
        for context in contexts:
            traced = trace_of(context)
            if traced is not None and _is_sampled(traced[0]):
                parent, arrived = self._propagator.extract({"traceparent": traced[0]}), traced[1]
                times = (arrived, started, decoded, ran, done)
                for index, stage in enumerate(("queue", "decode", "predict", "encode")):
                    begun = self._tracer.start_span(
                        stage,
                        context=parent,
                        start_time=times[index] + shift,
                        attributes={"truss.batch_requests": len(contexts)},
                    )
                    begun.end(times[index + 1] + shift)

    def enter(self, contexts: Sequence[bytes]) -> None:
        """From here on, in this thread or task, the model's own spans belong to the first of these."""
        from opentelemetry import context as current

        traced = trace_of(contexts[0]) if contexts else None
        if traced is not None:
            current.attach(self._propagator.extract({"traceparent": traced[0]}))

    def close(self) -> None:
        """Export what has been taken."""
        self._provider.shutdown()


def _is_sampled(traceparent: str) -> bool:
    """Whether its last field has the flag: https://www.w3.org/TR/trace-context/#trace-flags."""
    return bool(int(traceparent[-2:], 16) & 1)

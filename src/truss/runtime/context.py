"""What a worker knows of the requests at hand besides their bodies: for log lines and traces.

The front sends a context with each request: its id and, when traces are taken, the span it belongs to and
when it arrived; for a model that asks for it, what else was sent. A context is bytes, `id`, or
`id NUL traceparent NUL arrived`, or that, perhaps with both empty, and `NUL JSON`, so that nothing is
spent on it where nobody asks: the worker keeps the contexts of what it runs in a context variable, and a
log line that is written reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

import msgspec

from truss.model.request import Headers, Request

_LONGEST_FACTS = 48_000

_RUNNING: ContextVar[tuple[bytes, ...]] = ContextVar("truss_running", default=())


def pack(request_id: bytes, traceparent: str, arrived: float) -> bytes:
    """The context of a request that is traced; that of any other is its id.

    Args:
        request_id: What the client calls the request, or the front does.
        traceparent: The span that the worker's spans belong to (W3C Trace Context).
        arrived: When the request was there, in seconds of `time.perf_counter`.
    """
    return b"%b\0%b\0%d" % (request_id.replace(b"\0", b""), traceparent.encode(), round(arrived * 1e9))


def trace_of(context: bytes) -> tuple[str, int] | None:
    """The `traceparent` of a context and its arrival in nanoseconds; None when it is not traced."""
    parts = context.split(b"\0", 3)
    return (parts[1].decode(), int(parts[2])) if len(parts) > 2 and parts[1] else None


def with_facts(context: bytes, facts: Mapping[str, Any]) -> bytes:
    """The context with what was sent besides the body; without headers, should they be too long."""
    written = msgspec.json.encode(facts)
    if len(written) > _LONGEST_FACTS:
        written = msgspec.json.encode({**facts, "headers": []})
    return b"%b%b\0%b" % (context, b"" if b"\0" in context else b"\0\0", written)


def request_of(context: bytes, body: bytes | memoryview) -> Request:
    """The request itself, out of its context and its body."""
    parts = context.split(b"\0", 3)
    facts = msgspec.json.decode(parts[3]) if len(parts) > 3 else {}
    headers = Headers(facts.pop("headers", ()))
    return Request(id=parts[0].decode("latin-1"), headers=headers, content=bytes(body), **facts)


def run(contexts: tuple[bytes, ...]) -> None:
    """From here on, in this thread or task, these requests are run."""
    _RUNNING.set(contexts)


def request_ids() -> Sequence[str]:
    """The ids of the requests that run here: several when they were joined, none outside of requests."""
    return [context.partition(b"\0")[0].decode("latin-1") for context in _RUNNING.get()]


def trace_ids() -> Sequence[str]:
    """The ids of their traces, each once; none when they are not traced."""
    traces = [trace_of(context) for context in _RUNNING.get()]
    return list(dict.fromkeys(trace[0].split("-")[1] for trace in traces if trace is not None))

"""One request at a time, over HTTP or gRPC."""

from __future__ import annotations

import contextlib
import http.client
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import grpc

from benchmarks.contender import Exchange


class Answer(NamedTuple):
    """What came back; a call over gRPC that failed has the status 500, and its details are the body."""

    status: int
    body: bytes


@contextlib.contextmanager
def asking(port: int, exchange: Exchange, *, seconds: float) -> Iterator[Callable[[bytes], Answer]]:
    """A function that sends a body and waits so long for the answer; closes its connection at the end.

    The function raises OSError or HTTPException when HTTP fails.
    """
    if exchange.rpc:
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            call = channel.unary_unary(exchange.path)  # without serialisers: bytes in, bytes out
            yield lambda body: _called(call, body, seconds)
        return
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=seconds)
    with contextlib.closing(connection):
        yield lambda body: _posted(connection, exchange, body)


def _posted(connection: http.client.HTTPConnection, exchange: Exchange, body: bytes) -> Answer:
    connection.request("POST", exchange.path, body, exchange.headers)
    answer = connection.getresponse()
    return Answer(answer.status, answer.read())


def _called(call: Callable[..., Any], body: bytes, seconds: float) -> Answer:
    try:
        return Answer(200, call(body, timeout=seconds))
    except grpc.RpcError as error:
        return Answer(500, str(error).encode())

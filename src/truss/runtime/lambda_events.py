"""AWS Lambda: take events from its Runtime API and have the server beside answer them.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

An event is a request of HTTP (a function's URL or an API gateway, payload format 2.0), or anything else,
which is then the body of a prediction. Lambda gives a sandbox one event at a time, so one thread that waits
is enough.
"""

from __future__ import annotations

import base64
import http.client
import json
import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

logger = logging.getLogger("truss.serve")

VARIABLE = "AWS_LAMBDA_RUNTIME_API"
"""Where Lambda says the address of its Runtime API: `host:port`."""

_VERSION = "/2018-06-01/runtime"
_ID = "Lambda-Runtime-Aws-Request-Id"
_TRACE = "Lambda-Runtime-Trace-Id"
_PREDICT = "/v1/models/model:predict"
_LARGEST = 6 * 1024 * 1024
"""Bytes that Lambda takes as an answer."""


@dataclass(frozen=True)
class Asked:
    """A request as the server takes it.

    Attributes:
        method: Of HTTP.
        path: With its query.
        headers: By their names.
        body: The body.
        is_http: Whether the event was a request of HTTP, and so is its answer.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    is_http: bool = False


@dataclass(frozen=True)
class Answered:
    """An answer of the server."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def asked_by(event: bytes) -> Asked:
    """The request that an event is: https://docs.aws.amazon.com/lambda/latest/dg/urls-invocation.html#urls-payloads."""
    told = json.loads(event)
    about = told.get("requestContext", {}).get("http") if isinstance(told, Mapping) else None
    if about is None:
        return Asked("POST", _PREDICT, {"content-type": "application/json"}, event)
    body = told.get("body") or ""
    query = told.get("rawQueryString")
    return Asked(
        about["method"],
        told.get("rawPath", "/") + (f"?{query}" if query else ""),
        told.get("headers", {}),
        base64.b64decode(body) if told.get("isBase64Encoded") else body.encode(),
        is_http=True,
    )


def answer_of(asked: Asked, answered: Answered) -> bytes:
    """What Lambda is given: for a request of HTTP the answer as an event, else its body.

    Raises:
        ValueError: the answer is more than Lambda takes, or one without HTTP is an error; says what it is.
    """
    if not asked.is_http:
        if answered.status >= 400:
            raise ValueError(answered.body.decode(errors="replace"))
        return _within_limits(answered.body)
    event = {
        "statusCode": answered.status,
        "headers": dict(answered.headers),
        "body": base64.b64encode(answered.body).decode(),
        "isBase64Encoded": True,
    }
    return _within_limits(json.dumps(event).encode())


def _within_limits(answer: bytes) -> bytes:
    if len(answer) > _LARGEST:
        raise ValueError(f"the answer has {len(answer)} bytes, and Lambda takes {_LARGEST}")
    return answer


def start(api: str, port: int) -> threading.Thread:
    """Answer Lambda's events for as long as the process lives.

    Args:
        api: The address of the Runtime API.
        port: The port of the server beside.
    """
    thread = threading.Thread(target=_serve, args=(api, port), name="lambda", daemon=True)
    thread.start()
    return thread


def _serve(api: str, port: int) -> None:
    _wait_until_ready(port)
    try:
        while True:
            _one(api, port)
    except (OSError, http.client.HTTPException) as error:
        # The Runtime API is on this machine: without it the sandbox is at its end.
        logger.warning("no more events of Lambda: %s", error)


def _wait_until_ready(port: int) -> None:
    """Take no event before the model is loaded: Lambda counts what happens before as starting."""
    pause = threading.Event()
    while True:
        try:
            if _call(f"127.0.0.1:{port}", Asked("GET", "/readyz")).status == 200:
                return
        except OSError:
            pass
        pause.wait(0.02)


def _one(api: str, port: int) -> None:
    told = _call(api, Asked("GET", f"{_VERSION}/invocation/next"))
    request_id = told.headers[_ID.lower()]
    place = f"{_VERSION}/invocation/{request_id}"
    if trace := told.headers.get(_TRACE.lower()):
        os.environ["_X_AMZN_TRACE_ID"] = trace
    try:
        asked = asked_by(told.body)
        answered = _call(f"127.0.0.1:{port}", _with_id(asked, request_id))
        _call(api, Asked("POST", f"{place}/response", body=answer_of(asked, answered)))
    except (ValueError, OSError, http.client.HTTPException) as error:
        logger.warning("request %s failed: %s", request_id, error)
        said = {"errorType": type(error).__name__, "errorMessage": str(error)}
        _call(api, Asked("POST", f"{place}/error", body=json.dumps(said).encode()))


def _with_id(asked: Asked, request_id: str) -> Asked:
    """Lambda's id of the request is ours, unless the caller says another."""
    left_out = {"host", "content-length", "connection", "transfer-encoding"}
    headers = {name.lower(): value for name, value in asked.headers.items() if name.lower() not in left_out}
    return Asked(asked.method, asked.path, {"x-request-id": request_id, **headers}, asked.body, asked.is_http)


def _call(where: str, asked: Asked) -> Answered:
    """One exchange; without a timeout, since the next event may be long in coming."""
    connection: Any = http.client.HTTPConnection(where)
    try:
        connection.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
        reply = connection.getresponse()
        body = reply.read()
        return Answered(reply.status, {name.lower(): value for name, value in reply.getheaders()}, body)
    finally:
        connection.close()

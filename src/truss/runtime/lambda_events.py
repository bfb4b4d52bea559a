"""AWS Lambda: take events from its Runtime API and have the server beside answer them.

https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html

An event is a request of HTTP (from a function's URL or an API gateway, payload format 2.0 or 1.0, or from a
load balancer), or anything else, which is then the body of a prediction. Lambda gives a sandbox one event at
a time, so one thread that waits is enough.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import logging
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec

from truss.errors import TrussError

logger = logging.getLogger("truss.serve")

VARIABLE = "AWS_LAMBDA_RUNTIME_API"
"""Where Lambda says the address of its Runtime API: `host:port`."""
_ADAPTER_VARIABLES = "AWS_LWA_"
"""What the variables of the Lambda Web Adapter begin with: it asks the Runtime API in our place."""
_ADAPTER = "lambda-adapter"
"""Its file among the extensions: https://awslabs.github.io/aws-lambda-web-adapter/"""

_VERSION = "/2018-06-01/runtime"
_ID = "Lambda-Runtime-Aws-Request-Id"
_TRACE = "Lambda-Runtime-Trace-Id"
_DEADLINE = "Lambda-Runtime-Deadline-Ms"
_ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
_TIMEOUT = "x-request-timeout"
_RESERVE_SECONDS = 0.1
"""Of an event's time, what is kept for its answer's way back: Lambda ends the sandbox at the deadline."""
_PREDICT = "/v1/models/model:predict"
_LARGEST = 6 * 1024 * 1024
"""Bytes that Lambda takes as an answer."""


class Source(Enum):
    """Who made an event, as far as its answer differs."""

    NOBODY = "a caller of the function itself"
    URL = "a function's URL, or an API gateway with payload format 2.0"
    GATEWAY = "an API gateway with payload format 1.0"
    BALANCER = "a load balancer"
    BALANCER_OF_LISTS = "a load balancer that gives, and takes, each header's values as a list"


@dataclass(frozen=True)
class Asked:
    """A request as the server takes it.

    Attributes:
        method: Of HTTP.
        path: With its query.
        headers: By their names.
        body: The body.
        source: Who made the event.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    source: Source = Source.NOBODY


@dataclass(frozen=True)
class Answered:
    """An answer of the server: its headers in their order, with names in lower case."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str:
        """The last value of a header; empty without one."""
        return dict(self.headers).get(name.lower(), "")

    def lists(self) -> dict[str, list[str]]:
        """All values of each header."""
        found: dict[str, list[str]] = {}
        for name, value in self.headers:
            found.setdefault(name, []).append(value)
        return found


class _Http(msgspec.Struct):
    method: str


class _Context(msgspec.Struct):
    http: _Http | None = None
    elb: dict[str, Any] | None = None


class _Event(msgspec.Struct, rename="camel"):
    """A request of HTTP, in any of the three shapes."""

    request_context: _Context
    raw_path: str | None = None
    raw_query_string: str | None = None
    cookies: list[str] | None = None
    http_method: str | None = None
    path: str | None = None
    query_string_parameters: dict[str, str] | None = None
    multi_value_query_string_parameters: dict[str, list[str]] | None = None
    headers: dict[str, str] | None = None
    multi_value_headers: dict[str, list[str]] | None = None
    body: str | None = None
    is_base64_encoded: bool = msgspec.field(name="isBase64Encoded", default=False)


def asked_by(event: bytes) -> Asked:
    """The request that an event is.

    - https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-develop-integrations-lambda.html
    - https://docs.aws.amazon.com/elasticloadbalancing/latest/application/lambda-functions.html

    Raises:
        ValueError: its body is not the base64 that it is said to be.
    """
    try:
        told = msgspec.json.decode(event, type=_Event)
    except msgspec.DecodeError:
        return _of_the_model(event)
    about = told.request_context
    headers = {name.lower(): value for name, value in (told.headers or {}).items()}
    headers |= {name.lower(): ",".join(values) for name, values in (told.multi_value_headers or {}).items()}
    if about.http is not None:
        method, path, query, source = about.http.method, told.raw_path, told.raw_query_string, Source.URL
        if told.cookies:
            headers["cookie"] = "; ".join(told.cookies)
    elif told.http_method is not None:
        lists = told.multi_value_headers is not None
        balancer = Source.BALANCER_OF_LISTS if lists else Source.BALANCER
        source = Source.GATEWAY if about.elb is None else balancer
        method, path, query = told.http_method, told.path, _query(told, encoded=about.elb is not None)
    else:
        return _of_the_model(event)
    body = told.body or ""
    return Asked(
        method,
        (path or "/") + (f"?{query}" if query else ""),
        headers,
        base64.b64decode(body, validate=True) if told.is_base64_encoded else body.encode(),
        source,
    )


def _of_the_model(event: bytes) -> Asked:
    return Asked("POST", _PREDICT, {"content-type": "application/json"}, event)


def _query(told: _Event, *, encoded: bool) -> str:
    """The query of a request; a load balancer leaves it encoded, an API gateway does not."""
    lists = told.multi_value_query_string_parameters
    if lists is None:
        lists = {name: [value] for name, value in (told.query_string_parameters or {}).items()}
    pairs = [(name, value) for name, values in lists.items() for value in values]
    return "&".join(f"{name}={value}" for name, value in pairs) if encoded else urlencode(pairs)


def answer_of(asked: Asked, answered: Answered) -> bytes:
    """What Lambda is given: for a request of HTTP the answer as an event, else its body.

    Raises:
        ValueError: the answer is more than Lambda takes, or one without HTTP is an error; says what it is.
    """
    if asked.source is Source.NOBODY:
        if answered.status >= 400:
            raise ValueError(answered.body.decode(errors="replace"))
        return _within_limits(answered.body)
    event = {
        "statusCode": answered.status,
        **_headers(asked.source, answered),
        **_body(asked.source, answered),
    }
    return _within_limits(json.dumps(event).encode())


def _headers(source: Source, answered: Answered) -> dict[str, Any]:
    lists = answered.lists()
    if source is Source.GATEWAY:
        return {"multiValueHeaders": lists}
    if source is Source.BALANCER_OF_LISTS:
        return {"statusDescription": _status_line(answered.status), "multiValueHeaders": lists}
    if source is Source.BALANCER:
        return {"statusDescription": _status_line(answered.status), "headers": dict(answered.headers)}
    cookies = lists.pop("set-cookie", [])
    return {"headers": {name: ",".join(values) for name, values in lists.items()}, "cookies": cookies}


def _status_line(status: int) -> str:
    return f"{status} {http.client.responses.get(status, '')}".strip()


def _body(source: Source, answered: Answered) -> dict[str, Any]:
    """The body: in base64, but texts as they are for those who do not always undo that."""
    kind = answered.header("content-type")
    if source is not Source.URL and kind.startswith(("application/json", "text/")):
        with contextlib.suppress(UnicodeDecodeError):
            return {"body": answered.body.decode(), "isBase64Encoded": False}
    return {"body": base64.b64encode(answered.body).decode(), "isBase64Encoded": True}


def _within_limits(answer: bytes) -> bytes:
    if len(answer) > _LARGEST:
        raise ValueError(f"the answer has {len(answer)} bytes, and Lambda takes {_LARGEST}")
    return answer


def api_of(variables: Mapping[str, str], extensions: Path = Path("/opt/extensions")) -> str | None:
    """The address of the Runtime API, where it is ours to ask: on Lambda, without the Web Adapter.

    Args:
        variables: The environment.
        extensions: Where Lambda looks for what it starts beside a function.
    """
    adapted = any(name.startswith(_ADAPTER_VARIABLES) for name in variables)
    return None if adapted or (extensions / _ADAPTER).exists() else variables.get(VARIABLE) or None


def refuse(api: str, error: TrussError) -> None:
    """Say why there will be no server; Lambda then ends the sandbox, and begins with another."""
    kind = f"Runtime.{error.type}"
    said = {"errorType": kind, "errorMessage": str(error), "stackTrace": []}
    told = Asked("POST", f"{_VERSION}/init/error", {_ERROR_TYPE: kind}, json.dumps(said).encode())
    try:
        _call(api, told)
    except (OSError, http.client.HTTPException) as failure:
        logger.warning("Lambda does not take the reason: %s", failure)


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
    request_id = told.header(_ID)
    place = f"{_VERSION}/invocation/{request_id}"
    if trace := told.header(_TRACE):
        os.environ["_X_AMZN_TRACE_ID"] = trace
    try:
        asked = asked_by(told.body)
        known = {"x-request-id": request_id}
        answered = _call(f"127.0.0.1:{port}", _passed_on(asked, known, _seconds_left(told)))
        _call(api, Asked("POST", f"{place}/response", body=answer_of(asked, answered)))
    except (ValueError, OSError, http.client.HTTPException) as error:
        logger.warning("request %s failed: %s", request_id, error)
        said = {"errorType": type(error).__name__, "errorMessage": str(error)}
        _call(api, Asked("POST", f"{place}/error", body=json.dumps(said).encode()))


def _seconds_left(told: Answered) -> float | None:
    """How long the answer to an event may take."""
    deadline = told.header(_DEADLINE)
    if not deadline.isdigit():
        return None
    return max(0.001, int(deadline) / 1000 - time.time() - _RESERVE_SECONDS)


def _passed_on(asked: Asked, known: Mapping[str, str], seconds: float | None) -> Asked:
    """The request for the server: its headers go before those that Lambda gives, but it has no more time."""
    left_out = {"host", "content-length", "connection", "transfer-encoding"}
    headers = dict(known)
    headers |= {name: value for name, value in asked.headers.items() if name not in left_out}
    if seconds is not None:
        headers[_TIMEOUT] = _shorter(headers.get(_TIMEOUT), seconds)
    return replace(asked, headers=headers)


def _shorter(said: str | None, seconds: float) -> str:
    """The shorter of two times; what is no number is left for the server to refuse."""
    try:
        return str(seconds if said is None else min(float(said), seconds))
    except ValueError:
        return str(said)


def _call(where: str, asked: Asked) -> Answered:
    """One exchange; without a timeout, since the next event may be long in coming."""
    connection: Any = http.client.HTTPConnection(where)
    try:
        connection.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
        reply = connection.getresponse()
        body = reply.read()
        return Answered(reply.status, [(name.lower(), value) for name, value in reply.getheaders()], body)
    finally:
        connection.close()

"""The request itself, for steps that have a parameter for it: its headers, where it was sent, its body.

`def predict(self, inputs, request)` is given it second; a parameter whose type is a `Request`, this one or
Starlette's, is given it wherever it stands.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from truss.model.annotations import request_position

_NAME = "request"


class Headers(Mapping[str, str]):
    """A request's headers, found by their name in any case; of several of a name, the last.

    Args:
        pairs: Names in lower case, and values.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]] = ()) -> None:
        self._found = dict(pairs)

    def __getitem__(self, name: str) -> str:
        return self._found[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        """Names only: values may be secret."""
        return f"Headers({', '.join(self._found)})"


@dataclass(frozen=True)
class Request:
    """What a client sent. In a notebook, where nobody did, it is empty.

    Attributes:
        id: The client's `X-Request-Id`, or the server's.
        method: `POST`, commonly.
        path: The path it was sent to.
        query: What follows the `?`, as sent.
        headers: By name, in any case.
        content: The body as it was sent.
    """

    id: str = ""
    method: str = "POST"
    path: str = ""
    query: str = ""
    headers: Headers = field(default_factory=Headers)
    content: bytes = field(default=b"", repr=False)

    async def body(self) -> bytes:
        """The body, for code that was written for Starlette's request."""
        return self.content

    async def json(self) -> Any:
        """The body as a JSON value, likewise."""
        return json.loads(self.content)


_CURRENT: ContextVar[Request] = ContextVar("truss_request")


def enter(request: Request) -> None:
    """From here on, in this thread or task, this request is answered."""
    _CURRENT.set(request)


def _current() -> Request:
    return _CURRENT.get(_EMPTY)


_EMPTY = Request()

Step = Callable[..., Any]


def bound(step: Step) -> tuple[Step, bool]:
    """A step as a function of its inputs alone, and whether it is given the request.

    A step may take `()`, `(inputs)`, `(request: Request)`, `(inputs, request)`.
    """
    position, count = request_position(step, _NAME)
    if count == 0:
        return lambda _: step(), False
    if position is None:
        return step, False
    if count == 1:
        return lambda _: step(_current()), True
    if position == 0:
        return lambda inputs: step(_current(), inputs), True
    return lambda inputs: step(inputs, _current()), True

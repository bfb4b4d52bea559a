"""What a model's `websocket` method talks to: a connection to one client, after it has been accepted.

The names are those of Starlette's class, which models of the original server are written for.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from truss.errors import PredictionError
from truss.model.request import Headers, Request

NORMAL, GONE, FAILED = 1000, 1006, 1011
"""Codes of a close, by RFC 6455."""


class WebSocketDisconnect(Exception):  # noqa: N818  # Starlette's name for it
    """The client has closed the connection, or it broke.

    Args:
        code: The code of its close.
        reason: What it said.
    """

    def __init__(self, code: int = GONE, reason: str = "") -> None:
        super().__init__(f"the client closed the connection ({code})")
        self.code = code
        self.reason = reason


def disconnected(code: int, reason: str) -> WebSocketDisconnect:
    """The exception; also one of Starlette's, where that is imported, for code that waits for that one."""
    starlette = sys.modules.get("starlette.websockets")
    if starlette is None:
        return WebSocketDisconnect(code, reason)
    kind = type("WebSocketDisconnect", (WebSocketDisconnect, starlette.WebSocketDisconnect), {})
    found: WebSocketDisconnect = kind(code, reason)
    return found


Receive = Callable[[], Awaitable[str | bytes]]
Send = Callable[[str | bytes], Awaitable[None]]


class WebSocket:
    """A connection to one client.

    Args:
        request: The request that opened it.
        receive: Gives the next message; raises `WebSocketDisconnect` when there are no more.
        send: Sends a message; returns when the client reads fast enough for the next.

    Attributes:
        request: The request that opened it.
        closed: The code and the reason it was closed with by the model; None while it was not.
    """

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self.request = request
        self._receive = receive
        self._send = send
        self.closed: tuple[int, str] | None = None

    @property
    def headers(self) -> Headers:
        """The headers of that request."""
        return self.request.headers

    async def accept(self, *_: Any, **__: Any) -> None:
        """Nothing: it was accepted before the model was given it."""

    async def receive(self) -> str | bytes:
        """The next message, a text or bytes.

        Raises:
            WebSocketDisconnect: the client has closed the connection.
        """
        return await self._receive()

    async def receive_text(self) -> str:
        """The next message, which has to be a text."""
        message = await self._receive()
        if isinstance(message, str):
            return message
        raise PredictionError("the client sent bytes where the model reads a text", hint="send a text")

    async def receive_bytes(self) -> bytes:
        """The next message, which has to be bytes."""
        message = await self._receive()
        if isinstance(message, bytes):
            return message
        raise PredictionError("the client sent a text where the model reads bytes", hint="send bytes")

    async def receive_json(self) -> Any:
        """The next message as a JSON value."""
        message = await self._receive()
        try:
            return json.loads(message)
        except ValueError as error:
            raise PredictionError(f"the client sent what is not JSON: {error}") from error

    async def iter_text(self) -> AsyncIterator[str]:
        """The texts that come, until the client closes the connection."""
        try:
            while True:
                yield await self.receive_text()
        except WebSocketDisconnect:
            return

    async def iter_bytes(self) -> AsyncIterator[bytes]:
        """As `iter_text`, of bytes."""
        try:
            while True:
                yield await self.receive_bytes()
        except WebSocketDisconnect:
            return

    async def iter_json(self) -> AsyncIterator[Any]:
        """As `iter_text`, of JSON values."""
        try:
            while True:
                yield await self.receive_json()
        except WebSocketDisconnect:
            return

    async def send_text(self, data: str) -> None:
        """Send a text."""
        await self._write(data)

    async def send_bytes(self, data: bytes) -> None:
        """Send bytes."""
        await self._write(bytes(data))

    async def send_json(self, data: Any) -> None:
        """Send a JSON value, as a text."""
        await self._write(json.dumps(data, separators=(",", ":"), ensure_ascii=False))

    async def close(self, code: int = NORMAL, reason: str | None = None) -> None:
        """Close the connection; it is closed anyway when the model's method returns."""
        if self.closed is None:
            self.closed = (code, reason or "")

    async def _write(self, data: str | bytes) -> None:
        if self.closed is not None:
            raise PredictionError("the model sent a message after it had closed the connection")
        await self._send(data)

"""The worker's side of a websocket: messages come and go as frames, both ways as fast as they are read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from truss.model import Steps
from truss.model.request import Request
from truss.model.websocket import GONE, NORMAL, WebSocket, WebSocketDisconnect, disconnected
from truss.runtime import frames
from truss.runtime.execution import error_answer
from truss.runtime.frames import Answer, Chunk, Codec


class Conversation:
    """One connection.

    Args:
        id_: The request that opened it.
        send: Writes a frame to the front.
    """

    def __init__(self, id_: int, send: Callable[[list[bytes | memoryview]], None]) -> None:
        self._id = id_
        self._send = send
        self._incoming: deque[Chunk] = deque()
        self._came = asyncio.Event()
        self._left = frames.WINDOW
        self._room = asyncio.Event()
        self._gone: tuple[int, str] | None = None

    def take(self, chunk: Chunk) -> None:
        """A message has come, or the end."""
        self._incoming.append(chunk)
        self._came.set()
        if chunk.codec == Codec.CLOSE:
            self._gone = msgspec.json.decode(chunk.body, type=tuple[int, str])
            self._room.set()

    def give(self, size: int) -> None:
        """So many bytes have gone on to the client."""
        self._left += size
        if self._left > 0:
            self._room.set()

    async def run(self, steps: Steps, request: Request) -> Answer:
        """Let the model talk; returns how that ended: a code and a reason, or an error."""
        websocket = WebSocket(request, self._receive, self._write)
        self._send(frames.encode_chunk(self._id, Codec.TEXT, b""))  # the front accepts the connection
        try:
            await steps.converse(websocket)
        except WebSocketDisconnect:
            pass
        except Exception as error:  # noqa: BLE001  # whatever it is, it is how the connection ends
            return error_answer(self._id, error)
        ending = websocket.closed or (NORMAL, "")
        return Answer(self._id, 200, Codec.CLOSE, msgspec.json.encode(ending))

    async def _receive(self) -> str | bytes:
        while not self._incoming:
            self._came.clear()
            await self._came.wait()
        chunk = self._incoming[0]
        if chunk.codec == Codec.CLOSE:
            raise disconnected(*(self._gone or (GONE, "")))
        self._incoming.popleft()
        self._send(frames.encode_credit(self._id, frames.cost_of_chunk(chunk.body)))
        return chunk.body.decode() if chunk.codec == Codec.TEXT else chunk.body

    async def _write(self, data: str | bytes) -> None:
        if self._gone is not None:
            raise disconnected(*self._gone)
        codec, body = (Codec.TEXT, data.encode()) if isinstance(data, str) else (Codec.CHUNKS, data)
        self._send(frames.encode_chunk(self._id, codec, body))
        self._left -= frames.cost_of_chunk(body)
        await asyncio.sleep(0)
        while self._left <= 0 and self._gone is None:
            self._room.clear()
            await self._room.wait()

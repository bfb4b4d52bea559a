"""The worker's side of streams: chunks go to the front as the model yields them, as fast as they are read.

A worker may be ahead of a stream's reader by `frames.WINDOW`; the front gives credit for what has gone on.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import select
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from truss.errors import ClientClosedRequestError
from truss.runtime import frames
from truss.runtime.chunks import Form
from truss.runtime.execution import error_answer
from truss.runtime.frames import Answer, Kind, Request

logger = logging.getLogger("truss.worker")

Frame = tuple[Kind, memoryview]
_END = object()


class Front:
    """A sync worker's connection to the front, which it also listens to between two chunks.

    Args:
        connection: The socket, blocking.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._waiting: deque[Frame] = deque()
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)
        self._open = True

    def receive(self) -> Frame | None:
        """The next frame that is not about a stream; None when the front has closed the connection."""
        while True:
            found = self._waiting.popleft() if self._waiting else frames.receive(self._connection)
            if found is None or found[0] not in (Kind.CREDIT, Kind.CANCEL):  # those of streams that are over
                return found

    def send(self, frame: list[bytes | memoryview]) -> None:
        """Write a frame."""
        frames.send(self._connection, frame)

    def stream(self, request: Request, form: Form, chunks: Iterator[object]) -> Answer:
        """Send the chunks of an answer; returns what ends it.

        The generator is closed when the client leaves.
        """
        window = _Window(request.id)
        try:
            for chunk in chunks:
                written = form.write(chunk)
                if written:
                    self.send(frames.encode_chunk(request.id, form.codec, written))
                    window.left -= frames.cost_of_chunk(written)
                self._listen(window)
                if window.cancelled:
                    return error_answer(request.id, ClientClosedRequestError("the client left"))
        except ConnectionError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this request's answer
            return error_answer(request.id, error)
        finally:
            _close(chunks)
        return Answer(request.id, 200, form.codec, form.end)

    def _listen(self, window: _Window) -> None:
        """Take what the front has sent, and wait while the stream is too far ahead of its reader."""
        while self._open and not window.cancelled and (window.left <= 0 or self._poll.poll(0)):
            found = frames.receive(self._connection)
            if found is None:
                self._open, window.cancelled = False, True
            elif found[0] is Kind.CREDIT:
                window.give(*frames.decode_credit(found[1]))
            elif found[0] is Kind.CANCEL:
                window.cancelled |= window.id in frames.decode_cancel(found[1])
            else:
                self._waiting.append(found)


class _Window:
    """How far a stream may be ahead of its reader."""

    def __init__(self, id_: int) -> None:
        self.id = id_
        self.left = frames.WINDOW
        self.cancelled = False

    def give(self, id_: int, size: int) -> None:
        if id_ == self.id:
            self.left += size


def _close(chunks: Iterator[object]) -> None:
    """Close a generator; what it raises over that concerns nobody who asked."""
    try:
        close: Callable[[], None] | None = getattr(chunks, "close", None)
        if close is not None:
            close()
    except Exception:
        logger.exception("closing the model's generator raised")


class AsyncStream:
    """One stream of an async worker.

    Args:
        send: Writes a frame to the front.
    """

    def __init__(self, send: Callable[[list[bytes | memoryview]], None]) -> None:
        self._send = send
        self._left = frames.WINDOW
        self._room = asyncio.Event()

    def give(self, size: int) -> None:
        """So many bytes have gone on to the reader."""
        self._left += size
        if self._left > 0:
            self._room.set()

    async def run(
        self, request: Request, form: Form, chunks: AsyncIterator[object] | Iterator[object]
    ) -> Answer:
        """Send the chunks of an answer; returns what ends it. The generator is closed in any case."""
        source = chunks if isinstance(chunks, AsyncIterator) else _in_thread(chunks)
        try:
            async for chunk in source:
                written = form.write(chunk)
                if written:
                    self._send(frames.encode_chunk(request.id, form.codec, written))
                    await self._pass(frames.cost_of_chunk(written))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this request's answer
            return error_answer(request.id, error)
        finally:
            await _aclose(source)
        return Answer(request.id, 200, form.codec, form.end)

    async def _pass(self, cost: int) -> None:
        """Let others run, and wait while this stream is too far ahead of its reader."""
        self._left -= cost
        await asyncio.sleep(0)
        while self._left <= 0:
            self._room.clear()
            await self._room.wait()


async def _in_thread(chunks: Iterator[object]) -> AsyncIterator[object]:
    """The chunks of a plain generator, which would hold up the other requests where it computes."""
    context = contextvars.copy_context()
    thread = ThreadPoolExecutor(1, thread_name_prefix="truss-stream")
    try:
        while (chunk := await _result(thread.submit(context.run, _next, chunks))) is not _END:
            yield chunk
    finally:
        thread.submit(context.run, _close, chunks)  # when it has come to its next chunk, if it is at work
        thread.shutdown(wait=False)


def _next(chunks: Iterator[object]) -> object:
    return next(chunks, _END)


def _result(submitted: Future[object]) -> asyncio.Future[object]:
    return asyncio.wrap_future(submitted)


async def _aclose(chunks: AsyncIterator[object]) -> None:
    close = getattr(chunks, "aclose", None)
    if close is None:
        return
    try:
        await close()
    except Exception:
        logger.exception("closing the model's generator raised")

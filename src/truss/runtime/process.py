"""Start a worker process and talk to it: the front's end of the socket pair."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from truss.errors import FrameError
from truss.runtime import child, frames
from truss.runtime.frames import Answers, Chunk, Kind
from truss.runtime.progress import Progress


class Process(Protocol):
    """A worker process: the part of `subprocess.Popen` that we use."""

    @property
    def pid(self) -> int:
        """Its id; 0 while it does not exist yet."""

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""

    def wait(self) -> int:
        """Wait until it has ended; returns its exit status."""

    def kill(self) -> None:
        """End it at once."""


@dataclass(frozen=True)
class Spawned:
    """A started worker process, our end of its socket pair, and the memory it notes its progress in."""

    process: Process
    connection: socket.socket
    progress: Progress


def spawn(truss_dir: Path, arena: int, environment: Mapping[str, str] | None = None) -> Spawned:
    """Start a worker process for a Truss; returns at once, the process loads the model by itself.

    Args:
        truss_dir: The Truss.
        arena: The descriptor of the arena where it finds large bodies.
        environment: Variables to set in the worker, e.g. the device it may see.
    """
    ours, theirs = socket.socketpair()
    progress = Progress()
    with theirs:
        descriptors = (theirs.fileno(), progress.fd, arena)
        process = subprocess.Popen(
            child.command("truss.runtime.worker", (*descriptors, truss_dir)),
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(environment or {})},
        )
    return Spawned(process, ours, progress)


class Listener(Protocol):
    """Who wants to know what a worker says."""

    def on_ready(self, facts: Mapping[str, Any]) -> None:
        """The model is loaded."""

    def on_failed(self, error: Mapping[str, Any]) -> None:
        """The model cannot be loaded; the process ends."""

    def on_answers(self, answers: Answers) -> None:
        """A batch was answered."""

    def on_chunk(self, chunk: Chunk) -> None:
        """A part of a streamed answer is there."""

    def on_credit(self, request_id: int, size: int) -> None:
        """The model has read so much of what a client sent."""

    def on_health(self, complaint: str) -> None:
        """Why its model cannot answer; empty when it can."""

    def on_renewed(self, report: Mapping[str, Any]) -> None:
        """It has taken up changed code, or says why not."""

    def on_lost(self) -> None:
        """The connection closed: the process is gone, or must go."""


class Link(asyncio.Protocol):
    """The connection to one worker process.

    Attributes:
        process: The worker process.
        progress: Which batch it has begun.
        sent: How many batches it has been sent.
    """

    def __init__(self, spawned: Spawned, listener: Listener) -> None:
        self.process = spawned.process
        self.progress = spawned.progress
        self.sent = 0
        self._connection = spawned.connection
        self._listener = listener
        self._reader = frames.FrameReader()
        self._transport: asyncio.Transport | None = None

    async def open(self) -> None:
        """Attach to the running event loop."""
        await asyncio.get_running_loop().create_connection(lambda: self, sock=self._connection)

    def send_batch(self, requests: Sequence[frames.Sent]) -> int:
        """Send a batch and return its number, counted from 1."""
        self.sent += 1
        self.send(frames.encode_batch(requests))
        return self.sent

    def send(self, frame: Sequence[bytes | memoryview]) -> None:
        """Write a frame; what the worker has not read yet is kept until it does."""
        if self._transport is not None:
            frames.send_now(self._connection, self._transport, frame)

    def close(self) -> None:
        """Close the connection: an idle worker ends by itself."""
        if self._transport is not None:
            self._transport.close()

    def kill(self) -> None:
        """End the process at once; `on_lost` follows."""
        self.process.kill()

    # What follows is called by the event loop (asyncio.Protocol).

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Pass on the frames that the bytes complete; a worker that sends anything else is ended."""
        try:
            for kind, payload in self._reader.feed(data):
                self._handle(kind, payload)
        except FrameError:
            self.kill()

    def _handle(self, kind: Kind, payload: memoryview) -> None:
        if kind is Kind.ANSWERS:
            self._listener.on_answers(frames.decode_answers(payload))
        elif kind is Kind.CHUNK:
            self._listener.on_chunk(frames.decode_chunk(payload))
        elif kind is Kind.CREDIT:
            self._listener.on_credit(*frames.decode_credit(payload))
        elif kind is Kind.HEALTH:
            self._listener.on_health(bytes(payload).decode())
        elif kind is Kind.READY:
            self._listener.on_ready(json.loads(bytes(payload)))
        elif kind is Kind.FAILED:
            self._listener.on_failed(json.loads(bytes(payload)))
        elif kind is Kind.RENEWED:
            self._listener.on_renewed(json.loads(bytes(payload)))
        else:
            raise FrameError(f"a worker sent a frame of kind {kind.name}")

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # how it broke changes nothing
        """Report the worker as lost."""
        self._listener.on_lost()

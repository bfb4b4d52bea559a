"""A worker as the front sees it: a place for one copy of the model, and the process that fills it now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from truss.runtime import frames
from truss.runtime.arena import Lease
from truss.runtime.jobs import Job
from truss.runtime.process import Link

_HEALTH_SECONDS = 1.0
"""How long a model may take to say whether it is healthy: load balancers wait for it."""


class State(Enum):
    """What the process in a place is up to."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    LOST = "lost"


@dataclass(eq=False)
class Worker:
    """A place for one copy of the model; the process in it is replaced when it dies.

    Attributes:
        index: Counted from 0; decides the device.
        link: The connection to the process.
        state: What the process is up to.
        capacity: How many requests an async model takes at a time.
        is_async: Whether the model's steps are coroutines.
        streams: Whether its answers are streams.
        checks_health: Whether the model says by itself whether it can answer.
        running: The requests it was given and has not answered, by id.
        failures: Processes lost in a row without an answer in between.
    """

    index: int
    link: Link | None = None
    state: State = State.LOADING
    capacity: int = 1
    is_async: bool = False
    streams: bool = False
    checks_health: bool = False
    running: dict[int, Job] = field(default_factory=dict)
    failures: int = 0
    _watchdog: asyncio.TimerHandle | None = None
    _renewal: asyncio.Future[Mapping[str, Any]] | None = None
    _health: asyncio.Future[str] | None = None
    _complaint: str = ""

    @property
    def free(self) -> int:
        """How many more requests it takes now; a sync model takes a whole batch when it is idle."""
        if self.state is not State.READY or (self._renewal is not None and not self.is_async):
            return 0
        return self.capacity - len(self.running) if self.is_async else not self.running

    def hand_over(self, batch: Sequence[Job]) -> None:
        """Send requests to the process."""
        if self.link is None:
            return
        number = self.link.send_batch([_request(job) for job in batch])
        for position, job in enumerate(batch):
            job.batch, job.position = number, position
            self.running[job.id] = job

    def had_begun(self, job: Job) -> bool:
        """Whether the process, dead now, had begun a request that it was given."""
        return self.link is None or self.link.progress.had_begun(job.batch, job.position)

    def cancel(self, job: Job) -> None:
        """Ask for a running request to be cancelled.

        A sync model that streams sees it when it yields; any other cannot be interrupted, and its answer
        is dropped when it comes.
        """
        if (self.is_async or self.streams) and self.link is not None:
            self.link.send(frames.encode_cancel([job.id]))

    def credit(self, job: Job, size: int) -> None:
        """Say that so much of a stream has gone on to its reader."""
        if self.link is not None:
            self.link.send(frames.encode_credit(job.id, size))

    def tell(self, job: Job, chunk: frames.Chunk) -> None:
        """Pass on what a client sends while it is answered."""
        if self.link is not None:
            self.link.send(frames.encode_chunk(job.id, chunk.codec, chunk.body))

    async def renew(self) -> Mapping[str, Any]:
        """Ask the process to take up the code as it is now, and return what it says of that.

        A sync model gets no requests meanwhile: they wait, or go to others. Nothing is said by a process
        that is lost over it.
        """
        if self.link is None:
            return {}
        self._renewal = asyncio.get_running_loop().create_future()
        self.link.send(frames.encode(frames.Kind.RENEW))
        return await self._renewal

    def renewed(self, report: Mapping[str, Any]) -> None:
        """Note what the process says of the changed code."""
        renewal, self._renewal = self._renewal, None
        if renewal is not None and not renewal.done():
            renewal.set_result(report)

    async def complaint(self) -> str:
        """Why the model cannot answer, as it says itself; empty when it can.

        A sync model that is at work is not asked: what it said last still holds.
        """
        if self.link is None or not self.checks_health or (self.running and not self.is_async):
            return self._complaint
        if self._health is None:
            self._health = asyncio.get_running_loop().create_future()
            self.link.send(frames.encode(frames.Kind.HEALTH))
        try:
            return await asyncio.wait_for(asyncio.shield(self._health), _HEALTH_SECONDS)
        except asyncio.TimeoutError:
            return f"`is_healthy` has not returned within {_HEALTH_SECONDS:g} s"

    def said(self, complaint: str) -> None:
        """Note what the model says of its health."""
        self._complaint = complaint
        asked, self._health = self._health, None
        if asked is not None and not asked.done():
            asked.set_result(complaint)

    def kill(self) -> None:
        """End the process; the link reports it as lost."""
        if self.link is not None:
            self.link.kill()

    def watch(self, seconds: float | None, expired: Callable[[Worker], None]) -> None:
        """Call `expired` unless `unwatch` comes within so many seconds; a running watch goes on."""
        if seconds is not None and self._watchdog is None:
            self._watchdog = asyncio.get_running_loop().call_later(seconds, self._expired, expired)

    def unwatch(self) -> None:
        """Stop the watch."""
        if self._watchdog is not None:
            self._watchdog.cancel()
            self._watchdog = None

    def _expired(self, expired: Callable[[Worker], None]) -> None:
        self._watchdog = None
        expired(self)

    def ending(self) -> str:
        """How the process ended, as far as is known yet."""
        code = self.link.process.poll() if self.link is not None else None
        if code is None:
            return "connection closed"
        return f"signal {-code}" if code < 0 else f"exit status {code}"

    async def reap(self) -> None:
        """Wait for the process, which was told to end; end it when it does not by itself."""
        if self.link is None:
            return
        for _ in range(200):
            if self.link.process.poll() is not None:
                break
            await asyncio.sleep(0.01)
        else:
            self.link.kill()
            self.link.process.wait()
        self.link.progress.close()


def _request(job: Job) -> frames.Sent:
    body = job.body
    return frames.Sent(job.id, job.codec, body.place if isinstance(body, Lease) else body, job.context)

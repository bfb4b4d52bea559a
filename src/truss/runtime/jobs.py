"""Requests on their way: what is known of one, and the queue in which they wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from truss.errors import ClientClosedRequestError, TrussError
from truss.runtime.arena import Lease
from truss.runtime.frames import Answer, Chunk


class Caller(Protocol):
    """Who asked. `disconnected` turns true when nobody waits for the answer any more."""

    disconnected: bool

    def chunk(self, chunk: Chunk) -> None:
        """Take a part of a streamed answer; what is answered, or failed, afterwards ends it."""

    def answered(self, answer: Answer) -> None:
        """Take the answer."""

    def failed(self, error: TrussError) -> None:
        """Take the error that is there in place of an answer."""


@runtime_checkable
class Talker(Protocol):
    """A caller that also sends while it is answered."""

    def credit(self, size: int) -> None:
        """The model has read so much of what was sent (`frames.cost_of_chunk`)."""


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way. It is settled exactly once: answered, or failed.

    Attributes:
        id: Names it between the front and the workers.
        codec: The format of its body, and of its answer.
        body: Its body, never looked into here.
        caller: Who asked, and is told the answer or the error.
        arrived: When it came, in seconds of `time.perf_counter`.
        context: What the worker is told about it besides (`truss.runtime.context`).
        kills: How many workers died while they were running it.
        batch: The number of the batch it was handed over in.
        position: Its place in that batch.
        timer: Fires when its time is up; None without a limit.
        settled: Whether it was answered or failed already.
        streaming: Whether a part of its answer has gone out: it cannot run again.
    """

    id: int
    codec: int
    body: bytes | Lease
    caller: Caller
    arrived: float
    context: bytes = b""
    kills: int = 0
    batch: int = 0
    position: int = 0
    timer: asyncio.TimerHandle | None = None
    settled: bool = False
    streaming: bool = False

    def succeed(self, answer: Answer) -> None:
        """Settle it with an answer, unless it is settled."""
        if self._settle():
            self.caller.answered(answer)

    def fail(self, error: TrussError) -> None:
        """Settle it with an error, unless it is settled."""
        if self._settle():
            self.caller.failed(error)

    def _settle(self) -> bool:
        """Whether it was not settled before."""
        if self.settled:
            return False
        self.settled = True
        if self.timer is not None:
            self.timer.cancel()
        return True


class JobQueue:
    """Waiting requests, oldest first.

    A request that is settled while it waits stays in place until its turn, since taking it out of the
    middle would cost the length of the queue. It counts no more.
    """

    def __init__(self) -> None:
        self._jobs: deque[Job] = deque()
        self._settled = 0

    def __len__(self) -> int:
        """How many requests wait."""
        return len(self._jobs) - self._settled

    def __iter__(self) -> Iterator[Job]:
        return (job for job in self._jobs if not job.settled)

    def append(self, job: Job) -> None:
        """Add a request at the end."""
        self._jobs.append(job)

    def put_back(self, job: Job) -> None:
        """Put a request that was taken before at the front."""
        self._jobs.appendleft(job)

    def drop(self, job: Job, error: TrussError) -> None:
        """Fail a waiting request; it counts no more."""
        if not job.settled:
            self._settled += 1
            job.fail(error)

    def drop_left_clients(self) -> None:
        """Drop the requests whose clients have left."""
        for job in self:
            if job.caller.disconnected:
                self.drop(job, _left())

    def take(self, most: int, max_bytes: int) -> list[Job]:
        """The next requests to run; those whose clients have left are dropped on the way.

        One that was running when a worker died is taken alone: if it is the cause, no other dies with it.

        Args:
            most: How many at most.
            max_bytes: How many bytes of bodies at most; a single larger request is taken alone.
        """
        batch: list[Job] = []
        size = 0
        while self._jobs and len(batch) < most:
            job = self._jobs[0]
            if not job.settled and job.caller.disconnected:
                self.drop(job, _left())
            if job.settled:
                self._jobs.popleft()
                self._settled -= 1
                continue
            size += len(job.body)
            if batch and (size > max_bytes or job.kills or batch[0].kills):
                break
            batch.append(self._jobs.popleft())
        return batch

    def fail_all(self, error: TrussError) -> None:
        """Fail all waiting requests."""
        for job in self:
            job.fail(error)
        self._jobs.clear()
        self._settled = 0


def _left() -> ClientClosedRequestError:
    return ClientClosedRequestError("the client left before the request ran")

"""A worker as the front sees it: a place for one copy of the model, and the process that fills it now."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from truss.runtime import frames
from truss.runtime.jobs import Job
from truss.runtime.process import Link


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
        running: The requests it was given and has not answered, by id.
        failures: Processes lost in a row without an answer in between.
    """

    index: int
    link: Link | None = None
    state: State = State.LOADING
    capacity: int = 1
    is_async: bool = False
    running: dict[int, Job] = field(default_factory=dict)
    failures: int = 0
    _watchdog: asyncio.TimerHandle | None = None

    @property
    def free(self) -> int:
        """How many more requests it takes now; a sync model takes a whole batch when it is idle."""
        if self.state is not State.READY:
            return 0
        return self.capacity - len(self.running) if self.is_async else not self.running

    def hand_over(self, batch: Sequence[Job]) -> None:
        """Send requests to the process."""
        if self.link is None:
            return
        number = self.link.send_batch([frames.Request(job.id, job.codec, job.body) for job in batch])
        for position, job in enumerate(batch):
            job.batch, job.position = number, position
            self.running[job.id] = job

    def had_begun(self, job: Job) -> bool:
        """Whether the process, dead now, had begun a request that it was given."""
        return self.link is None or self.link.progress.had_begun(job.batch, job.position)

    def cancel(self, job: Job) -> None:
        """Ask for a running request to be cancelled.

        A sync model cannot be interrupted: its answer is dropped when it comes.
        """
        if self.is_async and self.link is not None:
            self.link.send(frames.encode_cancel([job.id]))

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

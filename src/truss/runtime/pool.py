"""The queue and the workers: who waits, who runs, what happens when a worker dies.

Everything here runs on the front's event loop, so nothing needs a lock. A request is a `Job`: bytes,
a future, and what is needed to drop it in time. It is answered exactly once, by a worker's answer or
by an error of `truss.errors`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from time import perf_counter
from typing import Any, Protocol

from truss.config import Runtime, parse_size
from truss.errors import (
    ClientClosedRequestError,
    DeadlineExceededError,
    ModelDefinitionError,
    ModelLoadError,
    NotReadyError,
    QueueFullError,
    TrussError,
    WorkerLostError,
)
from truss.runtime import frames
from truss.runtime.batching import NO_HOLD, CostModel, Hold, hold_after, unjoined_burst
from truss.runtime.frames import Answer, Answers
from truss.runtime.metrics import Metrics
from truss.runtime.process import Link, Spawned

logger = logging.getLogger("truss.pool")

_LONGEST_BACK_OFF = 60.0
_MEMORY_CHECK_SECONDS = 1.0
_MOST_KILLS = 2
"""A request that was running in this many workers when they died is refused."""


class Client(Protocol):
    """Who asked. `disconnected` turns true when nobody waits for the answer any more."""

    disconnected: bool


@dataclass(eq=False, slots=True)
class Job:
    """A request on its way."""

    id: int
    codec: int
    body: bytes
    client: Client
    answer: asyncio.Future[Answer]
    arrived: float
    kills: int = 0
    batch: int = 0
    position: int = 0
    timer: asyncio.TimerHandle | None = None


class State(Enum):
    """A worker as the front sees it."""

    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"
    LOST = "lost"


@dataclass(eq=False)
class Worker:
    """A place for one copy of the model; the process in it is replaced when it dies."""

    index: int
    link: Link | None = None
    state: State = State.LOADING
    capacity: int = 1
    is_async: bool = False
    running: dict[int, Job] = field(default_factory=dict)
    failures: int = 0
    watchdog: asyncio.TimerHandle | None = None

    @property
    def free(self) -> int:
        """How many more requests it takes now; a sync model takes a whole batch when it is idle."""
        return self.capacity - len(self.running) if self.is_async else not self.running


class Pool:
    """Hands queued requests to workers.

    Args:
        settings: The config's `runtime`.
        spawn: Starts the process of the worker of a given index.
        metrics: Where to count.

    Attributes:
        load_error: Why the model could not be loaded, while that is so.
        on_fatal: Called with the reason when the server should give up.
    """

    def __init__(self, settings: Runtime, spawn: Callable[[int], Spawned], metrics: Metrics) -> None:
        self._settings = settings
        self._spawn = spawn
        self._metrics = metrics
        self._joins = settings.batching.mode != "none"
        self._max_bytes = parse_size(settings.batching.max_bytes)
        limit = settings.memory_limit
        self._memory_limit = None if limit is None else parse_size(limit)
        self._queue: deque[Job] = deque()
        self._dead = 0
        self._workers: list[Worker] = []
        self._cost = CostModel()
        self._hold: Hold = NO_HOLD
        self._hold_timer: asyncio.TimerHandle | None = None
        self._dispatch_scheduled = False
        self._replacing: set[asyncio.Task[None]] = set()
        self._next_id = 0
        self._closing = False
        self._given_up = False
        self._was_ready = False
        self.load_error: TrussError | None = None
        self.on_fatal: Callable[[TrussError], None] = lambda _: None

    # --- state, for health and metrics ---

    @property
    def ready(self) -> bool:
        """Whether at least one worker has loaded the model."""
        return any(worker.state is State.READY for worker in self._workers)

    @property
    def interruptible(self) -> bool:
        """Whether a running request can be cancelled: the model's steps are coroutines."""
        return any(worker.is_async for worker in self._workers)

    @property
    def waiting(self) -> int:
        """How many requests wait for a worker."""
        return len(self._queue) - self._dead

    @property
    def running(self) -> int:
        """How many requests workers have been given and not answered."""
        return sum(len(worker.running) for worker in self._workers)

    @property
    def cost(self) -> CostModel:
        """The fitted cost of a batch."""
        return self._cost

    def states(self) -> Iterator[tuple[int, State]]:
        """Each worker's index and state."""
        for worker in self._workers:
            yield worker.index, worker.state

    # --- life ---

    async def open(self, spawned: Sequence[Spawned]) -> None:
        """Attach to the event loop, with worker processes that were started already."""
        self._loop = asyncio.get_running_loop()
        for index, process in enumerate(spawned):
            worker = Worker(index)
            self._workers.append(worker)
            await self._attach(worker, process)
        if self._memory_limit is not None:
            self._loop.call_later(_MEMORY_CHECK_SECONDS, self._check_memory)

    async def close(self) -> None:
        """End all workers. Requests still queued or running are answered with 503."""
        self._closing = True
        stopping = NotReadyError("the server is stopping", hint="send the request to another instance")
        for job in (*self._queue, *(job for worker in self._workers for job in worker.running.values())):
            self._fail(job, stopping)
        links = [worker.link for worker in self._workers if worker.link is not None]
        for link in links:
            link.close()
        await asyncio.gather(*(self._reap(link) for link in links))

    async def _reap(self, link: Link) -> None:
        """Wait for the process of a closed connection; end it when it does not end by itself."""
        for _ in range(200):
            if link.process.poll() is not None:
                return
            await asyncio.sleep(0.01)
        link.kill()
        link.process.wait()

    async def _attach(self, worker: Worker, spawned: Spawned) -> None:
        worker.state = State.LOADING
        worker.link = Link(spawned, _WorkerListener(self, worker))
        await worker.link.open()
        if self._settings.timeouts.load is not None:
            worker.watchdog = self._loop.call_later(
                self._settings.timeouts.load, self._load_timed_out, worker
            )

    # --- requests ---

    def submit(
        self, body: bytes, codec: int, client: Client, timeout: float | None = None
    ) -> asyncio.Future[Answer]:
        """Queue a request.

        Args:
            body: Its body, unread.
            codec: Which format the worker decodes it from and answers in.
            client: Who asked; requests of clients that have left are dropped before they run.
            timeout: Seconds until the answer must be there; the configured one when that is shorter.

        Returns:
            A future of the answer. It raises DeadlineExceededError, WorkerLostError,
            ClientClosedRequestError or NotReadyError.

        Raises:
            NotReadyError: no worker has ever loaded the model.
            QueueFullError: too many requests wait.
        """
        if not self._was_ready:
            raise NotReadyError("the model is not loaded yet", hint=self._loading_hint())
        if self.waiting >= self._settings.queue.max_requests:
            self._drop_left_clients()
            if self.waiting >= self._settings.queue.max_requests:
                raise self._queue_full()
        self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        job = Job(self._next_id, codec, body, client, self._loop.create_future(), perf_counter())
        limit = self._settings.timeouts.request
        seconds = limit if timeout is None or (limit is not None and limit < timeout) else timeout
        if seconds is not None:
            job.timer = self._loop.call_later(seconds, self._expire, job, seconds)
        self._queue.append(job)
        self._schedule()
        return job.answer

    def abandon(self, answer: asyncio.Future[Answer]) -> None:
        """Drop a request whose client left: from the queue, or from a running async model."""
        for job in self._queue:
            if job.answer is answer:
                self._drop_queued(job)
                return
        for worker in self._workers:
            for job in worker.running.values():
                if job.answer is answer:
                    self._fail(job, ClientClosedRequestError("the client left"))
                    self._cancel(worker, job)
                    return

    def _loading_hint(self) -> str:
        return (
            str(self.load_error) if self.load_error else "try again in a few seconds; GET /readyz says when"
        )

    def _queue_full(self) -> QueueFullError:
        seconds = self._seconds_to_drain()
        return QueueFullError(
            f"{self.waiting} requests are waiting already",
            retry_after=max(1, math.ceil(seconds)),
            hint=f"try again in {max(1, math.ceil(seconds))} s, or raise `runtime.queue.max_requests`",
        )

    def _seconds_to_drain(self) -> float:
        """How long the waiting requests take at the measured cost."""
        size = max(1, self._settings.batching.max_requests if self._joins else 1)
        ready = max(1, sum(worker.state is State.READY for worker in self._workers))
        return self._cost.predict(size) / size * self.waiting / ready

    def _drop_left_clients(self) -> None:
        """Make room in a full queue: requests whose clients have left count no more."""
        for job in self._queue:
            if job.client.disconnected:
                self._drop_queued(job)

    def _drop_queued(self, job: Job) -> None:
        # It stays in the deque until its turn: removing from the middle costs the length of the queue.
        if not job.answer.done():
            self._dead += 1
            self._fail(job, ClientClosedRequestError("the client left before the request ran"))

    def _expire(self, job: Job, seconds: float) -> None:
        if job.answer.done():
            return
        worker = next((worker for worker in self._workers if job.id in worker.running), None)
        if worker is None:
            self._dead += 1
        self._fail(
            job,
            DeadlineExceededError(
                f"no answer within {seconds:g} s ({'running' if worker else 'waiting for a worker'})",
                hint="raise the request's X-Request-Timeout or `runtime.timeouts.request`",
            ),
        )
        if worker is not None:
            self._cancel(worker, job)

    def _cancel(self, worker: Worker, job: Job) -> None:
        # A sync model cannot be interrupted; its answer is dropped when it comes.
        if worker.is_async and worker.link is not None:
            worker.link.send(frames.encode_cancel([job.id]))

    @staticmethod
    def _fail(job: Job, error: TrussError) -> None:
        if job.timer is not None:
            job.timer.cancel()
        if not job.answer.done():
            job.answer.set_exception(error)

    # --- handing over ---

    def _schedule(self) -> None:
        """Dispatch at the end of this turn of the event loop, with all that arrives in it."""
        if not self._dispatch_scheduled:
            self._dispatch_scheduled = True
            self._loop.call_soon(self._dispatch_scheduled_turn)

    def _dispatch_scheduled_turn(self) -> None:
        self._dispatch_scheduled = False
        self._dispatch()

    def _dispatch(self) -> None:
        while self._queue:
            free = [worker for worker in self._workers if worker.state is State.READY and worker.free > 0]
            if not free or self._must_hold():
                return
            self._end_hold()
            self._hand_over(free[0], self._take(self._batch_limit(free)))

    def _must_hold(self) -> bool:
        return self._hold_timer is not None and self.waiting < self._hold.expected

    def _end_hold(self) -> None:
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None

    def _hold_is_over(self) -> None:
        self._hold_timer = None
        self._dispatch()

    def _batch_limit(self, free: Sequence[Worker]) -> int:
        most = self._settings.batching.max_requests
        if free[0].is_async:
            return free[0].free
        if not self._joins:
            burst = unjoined_burst(self._cost, most)
            return min(burst, math.ceil(self.waiting / len(free)) or 1)
        if len(free) > 1 and self._cost.per_row * self.waiting > self._cost.fixed:
            # The rows, not the call, cost the time: idle workers share them.
            return min(most, math.ceil(self.waiting / len(free)))
        return most

    def _take(self, most: int) -> list[Job]:
        """The next jobs to run, oldest first, within the limits by count and bytes."""
        batch: list[Job] = []
        size = 0
        while self._queue and len(batch) < most:
            job = self._queue[0]
            if job.answer.done():
                self._queue.popleft()
                self._dead -= 1
                continue
            if job.client.disconnected:
                self._drop_queued(job)
                continue
            size += len(job.body)
            if batch and size > self._max_bytes:
                break
            batch.append(self._queue.popleft())
        return batch

    def _hand_over(self, worker: Worker, batch: Sequence[Job]) -> None:
        if not batch or worker.link is None:
            return
        now = perf_counter()
        number = worker.link.send_batch([frames.Request(job.id, job.codec, job.body) for job in batch])
        for position, job in enumerate(batch):
            self._metrics.queue_seconds.observe(now - job.arrived)
            job.batch, job.position = number, position
            worker.running[job.id] = job
        self._metrics.batch_requests.observe(len(batch))
        limit = self._settings.timeouts.request
        if limit is not None and worker.watchdog is None:
            worker.watchdog = self._loop.call_later(limit, self._stuck, worker)

    def _check_memory(self) -> None:
        """Replace the workers that hold more memory than they may."""
        for worker in self._workers:
            if worker.state is State.READY and worker.link is not None and self._memory_limit is not None:
                held = worker.link.resident_bytes()
                if held > self._memory_limit:
                    logger.error("worker %d holds %d MiB and is replaced", worker.index, held >> 20)
                    worker.link.kill()
        if not self._closing:
            self._loop.call_later(_MEMORY_CHECK_SECONDS, self._check_memory)

    def _stuck(self, worker: Worker) -> None:
        worker.watchdog = None
        if worker.link is not None and worker.running and not worker.is_async:
            logger.error("worker %d has not answered in time and is replaced", worker.index)
            worker.link.kill()

    # --- what workers report ---

    def on_ready(self, worker: Worker, facts: Mapping[str, Any]) -> None:
        """A worker has loaded the model."""
        self._stop_watchdog(worker)
        worker.state = State.READY
        worker.capacity, worker.is_async = int(facts["capacity"]), bool(facts["is_async"])
        self._was_ready = True
        self.load_error = None
        logger.info("worker %d is ready (pid %s)", worker.index, facts["pid"])
        self._schedule()

    def on_failed(self, worker: Worker, error: TrussError, *, permanent: bool) -> None:
        """A worker could not load the model."""
        self._stop_watchdog(worker)
        worker.state = State.FAILED
        self.load_error = error
        logger.error("worker %d cannot load the model: %s", worker.index, error)
        if all(other.state is State.FAILED for other in self._workers):
            self._was_ready = False
            for job in self._queue:
                self._fail(job, NotReadyError("the model cannot be loaded", hint=str(error)))
            self._queue.clear()
            self._dead = 0
        if permanent or self._settings.exit_on_load_failure:
            self._given_up = True
            self.on_fatal(error)

    def on_answers(self, worker: Worker, answers: Answers) -> None:
        """A worker answered a batch, or one request of an async model."""
        self._stop_watchdog(worker)
        worker.failures = 0
        self._count(answers)
        answered = [(worker.running.pop(answer.id, None), answer) for answer in answers.answers]
        if self._joins and not worker.is_async:
            self._begin_hold(hold_after(len(answered), self.waiting, self._cost))
        # The worker first: it computes on what waits while the answers below go out.
        self._dispatch()
        for job, answer in answered:
            if job is None:
                continue
            if job.timer is not None:
                job.timer.cancel()
            if not job.answer.done():
                job.answer.set_result(answer)

    def _count(self, answers: Answers) -> None:
        metrics = self._metrics
        metrics.decode_seconds.observe(answers.decode * 1e-9)
        metrics.predict_seconds.observe(answers.predict * 1e-9)
        metrics.encode_seconds.observe(answers.encode * 1e-9)
        if answers.rows:
            metrics.batch_rows.observe(answers.rows)
            seconds = (answers.decode + answers.predict + answers.encode) * 1e-9
            self._cost.observe(answers.rows, seconds)

    def _begin_hold(self, hold: Hold) -> None:
        self._end_hold()
        # The event loop's timers count milliseconds; a shorter hold is the turn of the loop that
        # dispatching takes anyway.
        if hold.seconds >= 0.001:
            self._hold = hold
            self._hold_timer = self._loop.call_later(hold.seconds, self._hold_is_over)

    def on_lost(self, worker: Worker) -> None:
        """A worker's connection closed: settle what it was running, and start another."""
        self._stop_watchdog(worker)
        if self._closing:
            return
        lost, worker.running = list(worker.running.values()), {}
        process = worker.link.process if worker.link is not None else None
        if worker.state is not State.FAILED:
            worker.state = State.LOST
            logger.error(
                "worker %d died (%s) with %d requests running", worker.index, _ending(process), len(lost)
            )
        for job in reversed(lost):
            self._settle_lost(job, worker.link)
        if not self._given_up:
            replacing = self._loop.create_task(self._replace(worker))
            self._replacing.add(replacing)  # the event loop itself keeps no reference to a task
            replacing.add_done_callback(self._replacing.discard)
        self._schedule()

    def _settle_lost(self, job: Job, link: Link | None) -> None:
        if job.answer.done():
            return
        if link is not None and not link.progress.had_begun(job.batch, job.position):
            self._queue.appendleft(job)
            return
        job.kills += 1
        if job.kills >= _MOST_KILLS:
            message = f"{job.kills} workers died while they were answering this request; it is refused"
            self._fail(job, WorkerLostError(message, hint="the request may exhaust memory: make it smaller"))
        elif self._settings.idempotent:
            self._queue.appendleft(job)
        else:
            self._fail(
                job,
                WorkerLostError(
                    "the worker died while it was answering this request",
                    hint="send it again; `runtime.idempotent: true` lets the server do that by itself",
                ),
            )

    async def _replace(self, worker: Worker) -> None:
        # The first replacement starts at once; a model that keeps dying is given ever more time.
        delay = min(_LONGEST_BACK_OFF, 0.5 * 2 ** (worker.failures - 1)) if worker.failures else 0.0
        worker.failures += 1
        await asyncio.gather(asyncio.sleep(delay), self._reap_lost(worker))
        if self._closing:
            return
        self._metrics.worker_restarts += 1
        await self._attach(worker, self._spawn(worker.index))

    async def _reap_lost(self, worker: Worker) -> None:
        if worker.link is not None:
            await self._reap(worker.link)
            worker.link.progress.close()

    def _load_timed_out(self, worker: Worker) -> None:
        worker.watchdog = None
        logger.error("worker %d did not load the model in time and is replaced", worker.index)
        if worker.link is not None:
            worker.link.kill()

    @staticmethod
    def _stop_watchdog(worker: Worker) -> None:
        if worker.watchdog is not None:
            worker.watchdog.cancel()
            worker.watchdog = None


def _ending(process: Any) -> str:
    code = process.poll() if process is not None else None
    if code is None:
        return "connection closed"
    return f"signal {-code}" if code < 0 else f"exit status {code}"


class _WorkerListener:
    """Tells the pool which of its workers a link's news are about."""

    def __init__(self, pool: Pool, worker: Worker) -> None:
        self._pool = pool
        self._worker = worker

    def on_ready(self, facts: Mapping[str, Any]) -> None:
        self._pool.on_ready(self._worker, facts)

    def on_failed(self, error: Mapping[str, Any]) -> None:
        permanent = error["type"] == ModelDefinitionError.type
        kind = ModelDefinitionError if permanent else ModelLoadError
        reason = kind(error["message"], where=error["where"], hint=error["hint"])
        self._pool.on_failed(self._worker, reason, permanent=permanent)

    def on_answers(self, answers: Answers) -> None:
        self._pool.on_answers(self._worker, answers)

    def on_lost(self) -> None:
        self._pool.on_lost(self._worker)

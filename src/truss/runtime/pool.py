"""Hands requests to workers, and keeps the workers alive.

Everything here runs on the front's event loop, so nothing needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

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
from truss.model.integrity import cause_in_data
from truss.runtime.arena import Lease
from truss.runtime.backoff import seconds_before_restart
from truss.runtime.batching import CostModel, Policy, level_share
from truss.runtime.frames import Answers, Chunk
from truss.runtime.holding import Holding
from truss.runtime.jobs import Caller, Job, JobQueue, Talker
from truss.runtime.metrics import Metrics
from truss.runtime.process import Link, Spawned
from truss.runtime.usage import own_bytes
from truss.runtime.watching import report_renewal
from truss.runtime.workers import State, Worker

logger = logging.getLogger("truss.pool")

_LOADING_SECONDS = 0.05
"""Between two looks at a worker that loads the model, when the code has changed meanwhile."""
_MEMORY_CHECK_SECONDS = 1.0
_BURST = 8
"""Requests to an async model are handed over in pieces of so many, when more arrive in one turn of the event
loop: it begins on the first while the others are read."""
_MOST_KILLS = 2
"""A request that was running in this many workers when they died is refused."""


class Pool:
    """Hands queued requests to workers.

    Args:
        truss_dir: The Truss.
        settings: The config's `runtime`.
        spawn: Starts the process of the worker of a given index.
        metrics: Where to count.

    Attributes:
        load_error: Why the model could not be loaded, while that is so.
        wants_request: Whether the model asks for the request itself, beside its body.
        talks: Whether it has a method for websockets.
        interface: What the model says of its requests and answers, once it has been loaded
            (`truss.model.interface`).
        on_fatal: Called with the reason when the server should give up.
    """

    def __init__(
        self, truss_dir: Path, settings: Runtime, spawn: Callable[[int], Spawned], metrics: Metrics
    ) -> None:
        self._truss_dir = truss_dir
        self._settings = settings
        self._spawn = spawn
        self._metrics = metrics
        self._joins = settings.batching.mode != "none"
        self._max_bytes = parse_size(settings.batching.max_bytes)
        limit = settings.memory_limit
        self._memory_limit = None if limit is None else parse_size(limit)
        self._queue = JobQueue()
        self._workers: list[Worker] = []
        self._policy = Policy(settings.batching.max_requests, joins=self._joins)
        self._turn_scheduled = False
        self._replacing: set[asyncio.Task[None]] = set()
        self._memory_watch: asyncio.Task[None] | None = None
        self._next_id = 0
        self._closing = False
        self._given_up = False
        self._was_ready = False
        self._data_is_whole = False  # as far as was looked, after a worker died while it loaded the model
        self._interruptible = False  # whether running requests can be cancelled: of coroutines, and streams
        self.wants_request = False
        self.talks = False
        self.load_error: TrussError | None = None
        self.interface: Mapping[str, Any] | None = None
        self.on_fatal: Callable[[TrussError], None] = lambda _: None

    # --- state, for health and metrics ---

    @property
    def ready(self) -> bool:
        """Whether at least one worker has loaded the model."""
        return any(worker.state is State.READY for worker in self._workers)

    def not_ready(self) -> NotReadyError:
        """Why no worker can answer yet."""
        error = self.load_error
        if error is None:
            return NotReadyError("the model is loading", hint="ask again in a few seconds; GET /readyz tells")
        message = f"the model cannot be loaded: {error.message}"
        return NotReadyError(message, where=error.where, hint=error.hint)

    @property
    def waiting(self) -> int:
        """How many requests wait for a worker."""
        return len(self._queue)

    @property
    def running(self) -> int:
        """How many requests workers have been given and not answered."""
        return sum(len(worker.running) for worker in self._workers)

    @property
    def cost(self) -> CostModel:
        """The fitted cost of a batch."""
        return self._policy.cost

    def states(self) -> Iterator[tuple[int, State]]:
        """Each worker's index and state."""
        for worker in self._workers:
            yield worker.index, worker.state

    def pids(self) -> Iterator[tuple[int, int]]:
        """Each worker's index and process id, for those that have a process."""
        for worker in self._workers:
            if worker.link is not None and worker.link.process.pid:
                yield worker.index, worker.link.process.pid

    async def complaint(self) -> str:
        """Why the model cannot answer, by its own `is_healthy`; empty when a copy of it can."""
        ready = [worker for worker in self._workers if worker.state is State.READY]
        if not any(worker.checks_health for worker in ready):
            return ""
        said = await asyncio.gather(*(worker.complaint() for worker in ready))
        return "" if "" in said else said[0]

    # --- life ---

    async def open(self, spawned: Sequence[Spawned]) -> None:
        """Attach to the event loop, with worker processes that were started already."""
        self._loop = asyncio.get_running_loop()
        self._holding = Holding(self._loop, self._policy, lambda: len(self._queue), self._dispatch)
        for index, process in enumerate(spawned):
            worker = Worker(index)
            self._workers.append(worker)
            await self._attach(worker, process)
        if self._memory_limit is not None:
            self._memory_watch = self._loop.create_task(self._watch_memory(self._memory_limit))

    async def close(self) -> None:
        """End all workers. Requests still queued or running are answered with 503."""
        self._closing = True
        if self._memory_watch is not None:
            self._memory_watch.cancel()
        stopping = NotReadyError("the server is stopping", hint="send the request to another instance")
        self._queue.fail_all(stopping)
        for worker in self._workers:
            for job in worker.running.values():
                job.fail(stopping)
            if worker.link is not None:
                worker.link.close()
        await asyncio.gather(*(worker.reap() for worker in self._workers))

    async def renew(self) -> None:
        """Have the workers take up changed code, one after the other: the others answer meanwhile."""
        for worker in self._workers:
            while worker.state is State.LOADING:  # it may have read some of the code before the change
                await asyncio.sleep(_LOADING_SECONDS)
            if worker.state is State.READY:
                worker.watch(self._settings.timeouts.load, self._load_timed_out)
                report_renewal(worker.index, await worker.renew())

    async def _attach(self, worker: Worker, spawned: Spawned) -> None:
        worker.state = State.LOADING
        worker.link = Link(spawned, _WorkerListener(self, worker))
        await worker.link.open()
        worker.watch(self._settings.timeouts.load, self._load_timed_out)

    # --- requests ---

    def submit(
        self,
        body: bytes | Lease,
        codec: int,
        caller: Caller,
        timeout: float | None = None,
        context: bytes = b"",
    ) -> Job:
        """Queue a request.

        Args:
            body: Its body, unread, or the lease on where it is in the arena.
            codec: Which format the worker decodes it from and answers in.
            caller: Who asked, and is told the answer, or one of DeadlineExceededError, WorkerLostError,
                ClientClosedRequestError and NotReadyError, once this has returned. Requests of callers
                that have left are dropped before they run.
            timeout: Seconds until the answer must be there; the configured one when that is shorter.
            context: What the worker is told about it besides (`truss.runtime.context`).

        Raises:
            NotReadyError: no worker has ever loaded the model.
            QueueFullError: too many requests wait.
        """
        if not self._was_ready:
            raise self.not_ready()
        if len(self._queue) >= self._settings.queue.max_requests:
            self._queue.drop_left_clients()
            if len(self._queue) >= self._settings.queue.max_requests:
                raise self._queue_full()
        self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        job = Job(self._next_id, codec, body, caller, perf_counter(), context)
        limit = self._settings.timeouts.request
        seconds = limit if timeout is None or (limit is not None and limit < timeout) else timeout
        if seconds is not None:
            job.timer = self._loop.call_later(seconds, self._expire, job, seconds)
        self._policy.arrived(job.arrived)
        self._queue.append(job)
        if self._interruptible and len(self._queue) >= _BURST:
            self._dispatch()
        else:
            self._schedule()
        return job

    def abandon(self, job: Job) -> None:
        """Drop a request whose client left: from the queue, or from a running model that can be stopped."""
        gone = ClientClosedRequestError("the client left")
        worker = self._runs(job)
        if worker is None:
            self._queue.drop(job, gone)
        elif worker.is_async or worker.streams:
            job.fail(gone)
            self._stop(worker, job)

    def _stop(self, worker: Worker, job: Job) -> None:
        """Cancel a running request; a sync model that streams has some time to come to its next chunk."""
        worker.cancel(job)
        if job.streaming and not worker.is_async:
            worker.watch(self._settings.timeouts.request, self._stuck)

    def credit(self, job: Job, size: int) -> None:
        """So much of a stream has gone on to its reader (`frames.cost_of_chunk`)."""
        worker = self._runs(job)
        if worker is not None:
            worker.credit(job, size)

    def tell(self, job: Job, chunk: Chunk) -> None:
        """Pass on what a client sends while it is answered."""
        worker = self._runs(job)
        if worker is not None:
            worker.tell(job, chunk)

    def _runs(self, job: Job) -> Worker | None:
        """The worker that was given a request and has not answered it."""
        return next((worker for worker in self._workers if job.id in worker.running), None)

    def _queue_full(self) -> QueueFullError:
        seconds = max(1, math.ceil(self._seconds_to_drain()))
        return QueueFullError(
            f"{self.waiting} requests are waiting already",
            retry_after=seconds,
            hint=f"try again in {seconds} s, or raise `runtime.queue.max_requests`",
        )

    def _seconds_to_drain(self) -> float:
        """How long the waiting requests take at the measured cost."""
        ready = [worker for worker in self._workers if worker.state is State.READY]
        at_once = max(1, sum(worker.capacity if worker.is_async else 1 for worker in ready))
        size = max(1, min(self._settings.batching.max_requests, self.waiting) if self._joins else 1)
        if any(worker.is_async for worker in ready):
            size = 1
        return self._policy.seconds_for(size) * math.ceil(self.waiting / size / at_once)

    def _expire(self, job: Job, seconds: float) -> None:
        if job.settled:
            return
        worker = self._runs(job)
        error = DeadlineExceededError(
            f"no answer within {seconds:g} s ({'running' if worker else 'waiting for a worker'})",
            hint="raise the request's X-Request-Timeout or `runtime.timeouts.request`",
        )
        if worker is None:
            self._queue.drop(job, error)
        else:
            job.fail(error)
            self._stop(worker, job)

    # --- handing over ---

    def _schedule(self) -> None:
        """Dispatch at the end of this turn of the event loop, with all that arrives in it."""
        if not self._turn_scheduled:
            self._turn_scheduled = True
            self._loop.call_soon(self._dispatch_in_turn)

    def _dispatch_in_turn(self) -> None:
        self._turn_scheduled = False
        self._dispatch()

    def _dispatch(self) -> None:
        while len(self._queue):
            free = [worker for worker in self._workers if worker.free > 0]
            if not free or self._policy.keeps_back(len(self._queue)):
                return
            self._holding.end()
            worker = free[0] if len(free) == 1 else min(free, key=_load)
            self._hand_over(worker, self._queue.take(self._batch_limit(worker, free), self._max_bytes))

    def _batch_limit(self, worker: Worker, free: Sequence[Worker]) -> int:
        waiting = len(self._queue)
        if worker.is_async:
            return min(worker.free, level_share(waiting, sorted(map(_load, free))))
        if worker.streams:  # the others would wait until its last chunk is read
            return 1
        ready = sum(1 for one in self._workers if one.state is State.READY)
        return self._policy.share(waiting, len(free), ready)

    def _hand_over(self, worker: Worker, batch: Sequence[Job]) -> None:
        if not batch:
            return
        worker.hand_over(batch)
        now = perf_counter()
        for job in batch:
            self._metrics.queue_seconds.observe(now - job.arrived)
        self._metrics.batch_requests.observe(len(batch))
        if not worker.is_async:  # a coroutine that takes too long is cancelled when its time is up
            worker.watch(self._settings.timeouts.request, self._stuck)

    # --- what workers report ---

    def on_ready(self, worker: Worker, facts: Mapping[str, Any]) -> None:
        """A worker has loaded the model."""
        worker.unwatch()
        worker.state = State.READY
        worker.capacity, worker.is_async = int(facts["capacity"]), bool(facts["is_async"])
        worker.streams, worker.checks_health = bool(facts["streams"]), bool(facts["checks_health"])
        self._interruptible = worker.is_async or worker.streams
        self.wants_request, self.talks = bool(facts["wants_request"]), bool(facts["talks"])
        self._was_ready = True
        self.interface = facts["interface"]
        self.load_error = None
        logger.info("worker %d is ready (pid %s)", worker.index, facts["pid"])
        self._schedule()

    def on_failed(self, worker: Worker, error: TrussError, *, permanent: bool) -> None:
        """A worker could not load the model."""
        worker.unwatch()
        worker.state = State.FAILED
        self.load_error = error
        logger.error("worker %d cannot load the model: %s", worker.index, error)
        if all(other.state is State.FAILED for other in self._workers):
            self._was_ready = False
            self._queue.fail_all(self.not_ready())
        if permanent or self._settings.exit_on_load_failure:
            self._given_up = True
            self.on_fatal(error)

    def on_answers(self, worker: Worker, answers: Answers) -> None:
        """A worker answered a batch, or some requests of an async model."""
        worker.unwatch()
        worker.failures = 0
        if worker.is_async:
            self._count_runs(answers, answers.rows)
        else:
            self._count_runs(answers, 1 if self._joins else max(1, answers.rows))
        self._learn_cost(answers, by_itself=worker.is_async)
        answered = [(worker.running.pop(answer.id, None), answer) for answer in answers.answers]
        if not worker.is_async:
            self._holding.end()
            self._policy.returned(len(answered), len(self._queue))
        # The worker first: it computes on what waits while the answers below go out.
        self._dispatch()
        for job, answer in answered:
            if job is not None:
                job.succeed(answer)
        if not worker.is_async:
            self._holding.start_clock()
            self._policy.answered(len(answered), perf_counter())

    def on_chunk(self, worker: Worker, chunk: Chunk) -> None:
        """A part of a streamed answer is there."""
        worker.streams = self._interruptible = True
        job = worker.running.get(chunk.id)
        if job is None or job.settled:
            return
        if job.caller.disconnected:
            self.abandon(job)
            return
        if not worker.is_async:
            worker.unwatch()  # it is at work; its reader may take its time
        job.streaming = True
        job.caller.chunk(chunk)

    def on_credit(self, worker: Worker, request_id: int, size: int) -> None:
        """The model has read so much of what a client sent."""
        job = worker.running.get(request_id)
        if job is not None and isinstance(job.caller, Talker):
            job.caller.credit(size)

    def _count_runs(self, answers: Answers, runs: int) -> None:
        """Count what the model was run for; of several runs that were answered together, the mean."""
        if not runs:
            return
        metrics, share = self._metrics, 1e-9 / runs
        metrics.decode_seconds.observe(answers.decode * share, runs)
        metrics.predict_seconds.observe(answers.predict * share, runs)
        metrics.encode_seconds.observe(answers.encode * share, runs)
        if answers.rows:
            metrics.batch_rows.observe(answers.rows / runs, runs)

    def _learn_cost(self, answers: Answers, *, by_itself: bool) -> None:
        """Learn what these took together; or, where each ran by itself, what one of them did in the mean."""
        if answers.rows:
            seconds = (answers.decode + answers.predict + answers.encode) * 1e-9
            if by_itself:
                self._policy.learn(1, 1, seconds / answers.rows)
            else:
                self._policy.learn(len(answers.answers), answers.rows, seconds)

    def on_renewed(self, worker: Worker, report: Mapping[str, Any]) -> None:
        """A worker has taken up changed code, or says why not."""
        worker.unwatch()
        worker.renewed(report)
        self.interface = report.get("interface", self.interface)
        self._schedule()

    def on_lost(self, worker: Worker) -> None:
        """A worker's connection closed: settle what it was running, and start another."""
        worker.unwatch()
        worker.renewed({})
        worker.said("")
        if self._closing:
            return
        lost, worker.running = list(worker.running.values()), {}
        was_loading = worker.state is State.LOADING
        if worker.state is not State.FAILED:
            worker.state = State.LOST
            logger.error(
                "worker %d died (%s) with %d requests running", worker.index, worker.ending(), len(lost)
            )
        for job in reversed(lost):  # what goes back to the front of the queue keeps its order
            self._settle_lost(job, worker)
        if not self._given_up:
            replacing = self._loop.create_task(self._replace(worker, was_loading=was_loading))
            self._replacing.add(replacing)  # the event loop itself keeps no reference to a task
            replacing.add_done_callback(self._replacing.discard)
        self._schedule()

    def _settle_lost(self, job: Job, worker: Worker) -> None:
        if job.settled:
            return
        if not worker.had_begun(job):
            self._queue.put_back(job)
            return
        if job.streaming:
            job.fail(WorkerLostError("the worker died while it was streaming the answer"))
            return
        job.kills += 1
        if job.kills >= _MOST_KILLS:
            message = f"{job.kills} workers died while they were answering this request; it is refused"
            job.fail(WorkerLostError(message, hint="the request may exhaust memory: make it smaller"))
        elif self._settings.idempotent:
            self._queue.put_back(job)
        else:
            hint = "send it again; `runtime.idempotent: true` lets the server do that by itself"
            job.fail(WorkerLostError("the worker died while it was answering this request", hint=hint))

    async def _replace(self, worker: Worker, *, was_loading: bool) -> None:
        await worker.reap()
        if was_loading:
            await self._say_why(worker)
            if self._given_up:
                return
        delay = seconds_before_restart(worker.failures)
        worker.failures += 1
        if delay:
            logger.info("worker %d is started again in %g s", worker.index, delay)
        await asyncio.sleep(delay)
        if not self._closing:
            self._metrics.worker_restarts += 1
            await self._attach(worker, self._spawn(worker.index))

    async def _say_why(self, worker: Worker) -> None:
        """Say that a worker died while it loaded the model: over a damaged data file, if there is one."""
        error = ModelLoadError(
            f"the process that loaded it died: {worker.ending()}",
            hint="see what it wrote to the log last; signal 9 mostly means that there was too little memory",
        )
        if not self._data_is_whole:
            # In a thread, since it reads all data files: other workers' requests go on meanwhile.
            found = await asyncio.to_thread(cause_in_data, self._truss_dir, error, lambda: self._closing)
            self._data_is_whole, error = found is error, found
        if self._closing:
            return
        gives_up = self._settings.exit_on_load_failure and not self._was_ready
        if self._data_is_whole and not gives_up:  # the next process may fare better
            self.load_error = error
        else:
            self.on_failed(worker, error, permanent=False)

    # --- workers that must go ---

    def _load_timed_out(self, worker: Worker) -> None:
        logger.error("worker %d did not load the model in time and is replaced", worker.index)
        worker.kill()

    def _stuck(self, worker: Worker) -> None:
        logger.error("worker %d has not answered in time and is replaced", worker.index)
        worker.kill()

    async def _watch_memory(self, limit: int) -> None:
        """Replace the workers that hold more memory than they may."""
        while True:
            await asyncio.sleep(_MEMORY_CHECK_SECONDS)
            for worker in self._workers:
                link = worker.link
                if worker.state is not State.READY or link is None:
                    continue
                # In a thread, since a large process takes the system a while: requests go on meanwhile.
                held = await asyncio.to_thread(own_bytes, link.process.pid, limit)
                if held > limit and worker.link is link and worker.state is State.READY:
                    logger.error(
                        "worker %d holds %d MiB of its own and is replaced", worker.index, held >> 20
                    )
                    worker.kill()


def _load(worker: Worker) -> int:
    return len(worker.running)


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

    def on_chunk(self, chunk: Chunk) -> None:
        self._pool.on_chunk(self._worker, chunk)

    def on_credit(self, request_id: int, size: int) -> None:
        self._pool.on_credit(self._worker, request_id, size)

    def on_health(self, complaint: str) -> None:
        self._worker.said(complaint)

    def on_renewed(self, report: Mapping[str, Any]) -> None:
        self._pool.on_renewed(self._worker, report)

    def on_lost(self) -> None:
        self._pool.on_lost(self._worker)

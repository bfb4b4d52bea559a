"""A worker process: owns one copy of the model, answers batches that come over its socket.

Started by the pool as `python -c "... main()" FD FD TRUSS_DIR ...`; see `truss.runtime.process`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import msgspec

from truss.config import TrussConfig, read_config
from truss.errors import ClientClosedRequestError, ModelDefinitionError, ModelLoadError, TrussError
from truss.model import LoadedModel, load_model
from truss.model.examples import read_examples
from truss.runtime import frames
from truss.runtime.execution import BatchRunner, describe_error, error_answer, run_one_async
from truss.runtime.frames import Kind
from truss.runtime.progress import Progress

logger = logging.getLogger("truss.worker")


def main() -> None:
    """Load the model, report, answer until the front closes the connection."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    progress = Progress(int(sys.argv[2]))
    truss_dir = Path(sys.argv[3])
    _leave_signals_to_the_front()
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    try:
        config = read_config(truss_dir)
        loaded = load_model(truss_dir, config, isolated=False)
        _check_batching(loaded, config)
        if config.runtime.replay_examples:
            _replay_examples(truss_dir, config, loaded)
    except TrussError as error:
        with contextlib.suppress(ConnectionError):  # the front is gone: nobody to tell
            frames.send(connection, frames.encode(Kind.FAILED, msgspec.json.encode(describe_error(error))))
        sys.exit(1)
    capacity = config.runtime.predict_concurrency if loaded.steps.is_async else 1
    ready = {"pid": os.getpid(), "is_async": loaded.steps.is_async, "capacity": capacity}
    with contextlib.suppress(ConnectionError):  # the front is gone: so is the reason to run
        frames.send(connection, frames.encode(Kind.READY, msgspec.json.encode(ready)))
        if loaded.steps.is_async:
            loaded.run_coroutine(_answer_concurrently(connection, loaded, progress))
        else:
            _answer_in_turn(connection, BatchRunner(loaded.steps, config.runtime.batching), progress)


def _leave_signals_to_the_front() -> None:
    # A terminal's Ctrl-C reaches the whole process group; the front decides when a worker stops.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        import ctypes

        # PR_SET_PDEATHSIG: a model deep in a computation would not notice that the front was killed.
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def _check_batching(loaded: LoadedModel, config: TrussConfig) -> None:
    mode = config.runtime.batching.mode
    if mode == "requests" and not callable(getattr(loaded.model, "predict_batch", None)):
        raise ModelDefinitionError(
            "`runtime.batching.mode` is `requests`, but the model class has no method `predict_batch`",
            hint="add `def predict_batch(self, requests: list) -> list: ...`, or set the mode to none",
        )


def _replay_examples(truss_dir: Path, config: TrussConfig, loaded: LoadedModel) -> None:
    """Answer the golden requests before taking others: a model that changed must not go live."""
    for example in read_examples(truss_dir, config):
        found = example.difference(loaded.predict(example.input))
        if found is not None:
            raise ModelLoadError(
                f"example '{example.name}' does not get its expected answer:\n{found}",
                where=str(truss_dir / config.examples_filename),
                hint="correct the model or the example, or set `runtime.replay_examples: false`",
            )


def _answer_in_turn(connection: socket.socket, runner: BatchRunner, progress: Progress) -> None:
    for number in itertools.count(1):
        received = frames.receive(connection)
        if received is None:
            return
        kind, payload = received
        if kind is Kind.BATCH:
            answers = runner.run(frames.decode_batch(payload), functools.partial(progress.mark, number))
            frames.send(connection, frames.encode_answers(answers))


async def _answer_concurrently(connection: socket.socket, loaded: LoadedModel, progress: Progress) -> None:
    """Run requests side by side; the front never sends more at once than the reported capacity."""
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection(sock=connection)
    running: dict[int, asyncio.Task[None]] = {}
    splitter = frames.FrameReader()
    batches = itertools.count(1)

    async def answer(request: frames.Request) -> None:
        try:
            answers = await run_one_async(loaded.steps, request)
        except asyncio.CancelledError:  # an answer all the same: the front counts what is running here
            gone = error_answer(request.id, ClientClosedRequestError("cancelled"))
            answers = frames.Answers([gone], 0, 0, 0, 0)
        writer.writelines(frames.encode_answers(answers))

    def start(request_id: int, coroutine: Coroutine[Any, Any, None]) -> None:
        task = loop.create_task(coroutine)
        running[request_id] = task
        task.add_done_callback(lambda _: running.pop(request_id, None))

    while data := await reader.read(1 << 18):
        for kind, payload in splitter.feed(data):
            if kind is Kind.BATCH:
                requests = frames.decode_batch(payload)
                progress.mark(next(batches), len(requests))
                for request in requests:
                    start(request.id, answer(request))
            elif kind is Kind.CANCEL:
                for request_id in frames.decode_cancel(payload):
                    if request_id in running:
                        running[request_id].cancel()

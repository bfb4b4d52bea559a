"""A worker process: owns one copy of the model, answers batches that come over its socket.

Started as `python -c "... main()" FD FD FD TRUSS_DIR ...`, or forked; see `truss.runtime.process` and
`truss.runtime.template`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import logging
import os
import socket
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from truss.config import TrussConfig, read_config
from truss.errors import ModelDefinitionError, ModelLoadError, TrussError
from truss.model import LoadedModel, Steps, load_model
from truss.model.examples import read_examples
from truss.model.integrity import cause_in_data
from truss.model.interface import interface
from truss.model.live import LiveModel
from truss.runtime import child, frames, logs, watching
from truss.runtime.allocator import give_back_freed_memory, keep_freed_memory
from truss.runtime.arena import ArenaReader
from truss.runtime.coroutines import answer_side_by_side
from truss.runtime.execution import BatchRunner, describe_error
from truss.runtime.frames import Kind
from truss.runtime.progress import Progress
from truss.runtime.renewal import Renewal
from truss.runtime.streaming import Front
from truss.runtime.tracing import tracing_of

logger = logging.getLogger("truss.worker")


def main() -> None:
    """Load the model, report, answer until the front closes the connection."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    progress = Progress(int(sys.argv[2]))
    arena = ArenaReader(int(sys.argv[3]))
    truss_dir = Path(sys.argv[4])
    child.set_up()
    keep_freed_memory()
    try:
        config = read_config(truss_dir)
        logs.set_up(config)
        check = functools.partial(_check, truss_dir, config)
        renewal = None
        if os.environ.get(watching.VARIABLE) == "1":
            live = LiveModel(truss_dir, config, _new_loop)
            loaded, renewal = live.loaded, Renewal(live, check)
        else:
            loaded = load_model(truss_dir, config, isolated=False, new_loop=_new_loop)
        tracing = tracing_of(config)  # after the model, which may set up OpenTelemetry itself
        check(loaded)
    except TrussError as error:
        with contextlib.suppress(ConnectionError):  # the front is gone: nobody to tell
            frames.send(connection, frames.encode(Kind.FAILED, msgspec.json.encode(describe_error(error))))
        sys.exit(1)
    _settle()
    capacity = config.runtime.predict_concurrency if loaded.steps.is_async else 1
    ready = {
        "pid": os.getpid(),
        "is_async": loaded.steps.is_async,
        "streams": loaded.steps.streams,
        "wants_request": loaded.steps.wants_request,
        "checks_health": loaded.steps.checks_health,
        "talks": loaded.steps.talks,
        "capacity": capacity,
        "interface": interface(loaded.steps),
    }
    with contextlib.suppress(ConnectionError):  # the front is gone: so is the reason to run
        frames.send(connection, frames.encode(Kind.READY, msgspec.json.encode(ready)))
        if loaded.steps.is_async:
            loaded.run_coroutine(
                answer_side_by_side(connection, loaded.steps, progress, arena, tracing, renewal)
            )
        else:
            front = Front(connection)
            new_runner = functools.partial(
                BatchRunner, batching=config.runtime.batching, tracing=tracing, stream=front.stream
            )
            runner = new_runner(loaded.steps)
            _answer_in_turn(front, runner, progress, arena, renewal, new_runner, loaded.run_coroutine)
    if tracing is not None:
        tracing.close()


def _settle() -> None:
    """What is there now stays.

    A full collection looks through all of it, 50 ms and more with scikit-learn or PyTorch imported, while
    everybody waits; from here on it looks at what requests leave behind. What a template has frozen stays so:
    looking at it would copy the pages that the workers share.
    """
    gc.collect()
    gc.freeze()
    give_back_freed_memory()


def _new_loop() -> asyncio.AbstractEventLoop:
    """The event loop of an async model: uvloop's where there is one, since it takes half the time."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _check(truss_dir: Path, config: TrussConfig, loaded: LoadedModel) -> None:
    """Whether a model may answer.

    Raises:
        ModelDefinitionError, ModelLoadError: it may not.
    """
    _check_batching(loaded, config)
    if config.runtime.replay_examples:
        _replay_examples(truss_dir, config, loaded)


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
            error = ModelLoadError(
                f"example '{example.name}' does not get its expected answer:\n{found}",
                where=str(truss_dir / config.examples_filename),
                hint="correct the model or the example, or set `runtime.replay_examples: false`",
            )
            raise cause_in_data(truss_dir, error)


def _answer_in_turn(
    front: Front,
    runner: BatchRunner,
    progress: Progress,
    arena: ArenaReader,
    renewal: Renewal | None,
    new_runner: Callable[[Steps], BatchRunner],
    wait: Callable[[Coroutine[Any, Any, str]], str],
) -> None:
    number = 0
    while (received := front.receive()) is not None:
        kind, payload = received
        if kind is Kind.BATCH:
            number += 1
            requests = frames.decode_batch(payload, arena.view)
            answers = runner.run(requests, functools.partial(progress.mark, number))
            front.send(frames.encode_answers(answers))
        elif kind is Kind.HEALTH:
            front.send(frames.encode(Kind.HEALTH, wait(runner.steps.health()).encode()))
        elif kind is Kind.RENEW and renewal is not None:
            report = renewal.run()
            runner = new_runner(renewal.steps)
            gc.unfreeze()  # what the old model leaves behind was to stay as well
            _settle()
            front.send(frames.encode(Kind.RENEWED, msgspec.json.encode(report)))

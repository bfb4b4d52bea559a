"""A batch of bodies in, a batch of bodies out: decode, run the model's steps, encode.

This is all that a worker does with a request, and it touches no socket: tests call it directly.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any

import msgspec

from truss.config import Batching
from truss.errors import PredictionError, TrussError
from truss.model import Steps
from truss.runtime.codecs import decode_json, decode_msgpack, encode_json, encode_msgpack
from truss.runtime.frames import Answer, Answers, Codec, Request
from truss.runtime.joining import has_rows, join, split

logger = logging.getLogger("truss.worker")

_DECODERS = {Codec.JSON: decode_json, Codec.MSGPACK: decode_msgpack}
_ENCODERS = {Codec.JSON: encode_json, Codec.MSGPACK: encode_msgpack}


@dataclass
class Outcome:
    """What became of one request of a batch: exactly one of `answer` and `error` counts."""

    answer: Any = None
    error: Exception | None = None


@dataclass
class _Clock:
    """Nanoseconds spent per stage of the batch at hand."""

    decode: int = 0
    predict: int = 0
    encode: int = 0
    rows: int = 0


@dataclass
class BatchRunner:
    """Runs batches on one sync model.

    Args:
        steps: The model's steps.
        batching: Whether and how requests may be joined.
    """

    steps: Steps
    batching: Batching
    _row_keys: set[Any] = field(default_factory=set)
    _joins: bool = True

    def run(self, requests: Sequence[Request], begin: Callable[[int], None] = lambda _: None) -> Answers:
        """Answer every request of a batch; a request that fails never fails its neighbours.

        Args:
            requests: The batch.
            begin: Told, before the model runs, how many of the requests have been begun by then.
        """
        clock = _Clock()
        started = perf_counter_ns()
        outcomes = [decode(request) for request in requests]
        decoded = perf_counter_ns()
        self._run_decoded(outcomes, clock, begin)
        ran = perf_counter_ns()
        answers = [encode(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]
        done = perf_counter_ns()
        return Answers(answers, clock.rows, decoded - started, ran - decoded, done - ran)

    def _run_decoded(self, outcomes: list[Outcome], clock: _Clock, begin: Callable[[int], None]) -> None:
        runnable = [outcome for outcome in outcomes if outcome.error is None]
        mode = self.batching.mode if self._joins and len(runnable) > 1 else "none"
        if mode == "none":
            for position, outcome in enumerate(outcomes, 1):
                begin(position)
                if outcome.error is None:
                    self._run_each([outcome], clock)
            return
        begin(len(outcomes))
        if mode == "rows":
            self._run_joined(runnable, clock)
        else:
            self._run_listed(runnable, clock)

    def _run_each(self, outcomes: Sequence[Outcome], clock: _Clock) -> None:
        for outcome in outcomes:
            clock.rows += 1
            run_one(self.steps, outcome)

    def _run_joined(self, outcomes: list[Outcome], clock: _Clock) -> None:
        for group in join([outcome.answer for outcome in outcomes], self.batching.max_rows):
            members = [outcomes[position] for position in group.members]
            if not group.counts:
                self._run_each(members, clock)
                continue
            parts = self._split_run(group.request, group.counts, members[0])
            if parts is None:
                self._run_each(members, clock)
                continue
            clock.rows += sum(group.counts)
            for member, part in zip(members, parts, strict=True):
                member.answer = part

    def _split_run(self, request: Any, counts: Sequence[int], first: Outcome) -> list[Any] | None:
        """The answers of a joined run, or None when its requests must run one by one."""
        try:
            answer = self.steps.run(request)
        except Exception as error:  # noqa: BLE001  # one bad row fails the run; each request then runs alone
            logger.debug("a joined run raised, its requests run one by one: %s", error)
            return None
        parts = split(answer, counts)
        if parts is not None and self._answers_by_row(answer, counts[0], first):
            return parts
        logger.warning(
            "answers do not have one entry per input, so requests are no longer joined; "
            "set `runtime.batching.mode: none` in config.yaml to say so"
        )
        self._joins = False
        return None

    def _answers_by_row(self, answer: Any, count: int, first: Outcome) -> bool:
        """Whether answers of this shape have one entry per row, rather than by coincidence.

        A list of three class names beside three joined rows looks like rows. So the first time that an
        answer has these keys, its first request runs by itself as well: it has fewer rows, and the class
        names are still three.
        """
        keys = frozenset(answer) if isinstance(answer, dict) else type(answer)
        if keys in self._row_keys:
            return True
        alone = self.steps.run(first.answer)
        if split(alone, [count]) is None or (isinstance(alone, dict) and frozenset(alone) != keys):
            return False
        self._row_keys.add(keys)
        return True

    def _run_listed(self, outcomes: list[Outcome], clock: _Clock) -> None:
        """Give all requests to the model's `predict_batch` at once."""
        answers = self._listed_answers([outcome.answer for outcome in outcomes])
        if answers is None:
            self._run_each(outcomes, clock)
            return
        clock.rows += len(outcomes)
        for outcome, answer in zip(outcomes, answers, strict=True):
            outcome.answer = answer

    def _listed_answers(self, requests: list[Any]) -> list[Any] | None:
        try:
            answers = self.steps.run_batch(requests)
        except Exception as error:  # noqa: BLE001  # as for joined runs: each request then runs alone
            logger.debug("`predict_batch` raised, its requests run one by one: %s", error)
            return None
        return answers if has_rows(answers, len(requests)) else None


def run_one(steps: Steps, outcome: Outcome) -> None:
    """Run one decoded request on a sync model, in place."""
    try:
        outcome.answer = steps.run(outcome.answer)
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this request's answer
        outcome.error = error


async def run_one_async(steps: Steps, request: Request) -> Answers:
    """Answer one request of an async model."""
    started = perf_counter_ns()
    outcome = decode(request)
    decoded = perf_counter_ns()
    if outcome.error is None:
        try:
            outcome.answer = await steps.run_async(outcome.answer)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this request's answer
            outcome.error = error
    ran = perf_counter_ns()
    answer = encode(request, outcome)
    return Answers([answer], 1, decoded - started, ran - decoded, perf_counter_ns() - ran)


def decode(request: Request) -> Outcome:
    """The decoded request as an outcome to run, or the error that decoding it raised."""
    try:
        return Outcome(_DECODERS[Codec(request.codec)](request.body))
    except TrussError as error:
        return Outcome(error=error)


def encode(request: Request, outcome: Outcome) -> Answer:
    """The outcome as an answer in the request's own format."""
    if outcome.error is None:
        try:
            return Answer(request.id, 200, request.codec, _ENCODERS[Codec(request.codec)](outcome.answer))
        except TrussError as error:
            outcome.error = error
    return error_answer(request.id, outcome.error)


def error_answer(request_id: int, error: Exception) -> Answer:
    """An error as an answer; the front completes it with the id the client knows."""
    if not isinstance(error, TrussError):
        message = f"{type(error).__name__}: {error}"
        error = PredictionError(message).with_traceback(error.__traceback__)
    return Answer(request_id, error.status, Codec.ERROR, msgspec.json.encode(describe_error(error)))


def describe_error(error: TrussError) -> dict[str, Any]:
    """The facts of an error that cross the process boundary."""
    cause = error.__cause__ or error
    trace = traceback.format_exception(cause) if error.status >= 500 else []
    return {
        "type": error.type,
        "message": error.message,
        "where": error.where,
        "hint": error.hint,
        "traceback": "".join(trace),
    }

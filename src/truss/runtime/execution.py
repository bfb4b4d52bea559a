"""A batch of bodies in, a batch of bodies out: decode, run the model's steps, encode.

This is all that a worker does with a request, and it touches no socket: tests call it directly.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

import msgspec

from truss.config import Batching, Signature
from truss.errors import PredictionError, TrussError
from truss.model import Steps
from truss.model.contract import Checked
from truss.model.request import enter as enter_request
from truss.model.tables import with_rows
from truss.model.values import as_fields
from truss.runtime import context
from truss.runtime.chunks import EVENTS, Form, form_of, gathered
from truss.runtime.codecs import decode_json, decode_msgpack, encode_json, encode_msgpack
from truss.runtime.frames import Answer, Answers, Codec, Delivery, Request
from truss.runtime.joining import has_rows, join, row_count, split
from truss.runtime.protocols.forms import READERS, Asked
from truss.runtime.tabular import decode_csv, decode_parquet

if TYPE_CHECKING:
    from truss.runtime.tracing import Tracing

logger = logging.getLogger("truss.worker")

_DECODERS: dict[int, Callable[[Any, Signature | None], Any]] = {
    Codec.JSON: lambda body, signature: with_rows(decode_json(body), signature),
    Codec.MSGPACK: lambda body, signature: with_rows(decode_msgpack(body), signature),
    Codec.CSV: decode_csv,
    Codec.PARQUET: decode_parquet,
}


Stream = Callable[[Request, Form, Iterator[Any]], Answer]
"""Sends the chunks of an answer, and gives what ends it."""
AsyncStream = Callable[[Request, Form, Iterator[Any] | AsyncIterator[Any]], Awaitable[Answer]]


@dataclass(slots=True)
class Outcome:
    """What became of one request of a batch: exactly one of `answer`, `error` and `ending` counts.

    `asked` is how a request of another protocol came, and is answered; `ending` is what ends a stream
    whose chunks have been sent.
    """

    request: Request
    answer: Any = None
    error: Exception | None = None
    asked: Asked | None = None
    ending: Answer | None = None


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
        tracing: Where the spans of the stages go, if traces are taken.
        stream: Sends chunks; without it, what a generator yields is one answer.
    """

    steps: Steps
    batching: Batching
    tracing: Tracing | None = None
    stream: Stream | None = None
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
        outcomes = [decode(request, self.steps) for request in requests]
        decoded = perf_counter_ns()
        self._run_decoded(outcomes, clock, begin)
        context.run(())
        ran = perf_counter_ns()
        answers = [encode(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]
        done = perf_counter_ns()
        if self.tracing is not None:
            self.tracing.record([request.context for request in requests], started, decoded, ran, done)
        return Answers(answers, clock.rows, decoded - started, ran - decoded, done - ran)

    def _run_decoded(self, outcomes: list[Outcome], clock: _Clock, begin: Callable[[int], None]) -> None:
        runnable = [outcome for outcome in outcomes if outcome.error is None]
        if any(outcome.asked is not None and outcome.asked.method for outcome in runnable):
            for number, outcome in enumerate(outcomes, 1):
                begin(number)
                if outcome.error is None:
                    self._run_each([outcome], clock)
            return
        joins = self._joins and len(runnable) > 1 and not self.steps.wants_request
        mode = self.batching.mode if joins else "none"
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

    def _enter(self, contexts: tuple[bytes, ...]) -> None:
        """From here on these requests run: what the model logs is theirs."""
        context.run(contexts)
        if self.tracing is not None:
            self.tracing.enter(contexts)

    def _run_each(self, outcomes: Sequence[Outcome], clock: _Clock) -> None:
        for outcome in outcomes:
            clock.rows += self._rows_of(outcome)
            self._enter((outcome.request.context,))
            if self.steps.wants_request:
                enter_request(context.request_of(outcome.request.context, outcome.request.body))
            run_one(self.steps, outcome, self.stream)

    def _rows_of(self, outcome: Outcome) -> int:
        """The rows of a decoded request, where the cost of rows matters; else it is one whatever it holds."""
        if self.batching.mode != "rows":
            return 1
        value = outcome.answer
        return row_count(value.request if isinstance(value, Checked) else value)

    def _run_joined(self, outcomes: list[Outcome], clock: _Clock) -> None:
        requests = [outcome.answer for outcome in outcomes]
        if self.steps.contract is not None:
            requests = [checked.request for checked in requests]
        for group in join(requests, self.batching.max_rows):
            members = [outcomes[position] for position in group.members]
            if not group.counts:
                self._run_each(members, clock)
                continue
            self._enter(tuple([member.request.context for member in members]))
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
            answer = self.steps.begin(request)
            if type(answer) is GeneratorType:
                answer.close()
                return None
            answer = as_fields(answer)
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
        alone = as_fields(self.steps.run(first.answer))
        if split(alone, [count]) is None or (isinstance(alone, dict) and frozenset(alone) != keys):
            return False
        self._row_keys.add(keys)
        return True

    def _run_listed(self, outcomes: list[Outcome], clock: _Clock) -> None:
        """Give all requests to the model's `predict_batch` at once."""
        self._enter(tuple([outcome.request.context for outcome in outcomes]))
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


def run_one(steps: Steps, outcome: Outcome, stream: Stream | None = None) -> None:
    """Run one decoded request on a sync model, in place."""
    asked = outcome.asked
    try:
        if asked is not None and asked.method:
            answer = steps.begin_method(asked.method, outcome.answer)
        else:
            answer = steps.begin(outcome.answer)
        if type(answer) is GeneratorType:
            form = _form(outcome)
            if form is not None and stream is not None:
                outcome.ending = stream(outcome.request, form, answer)
                return
            answer = _gathered(outcome.request, list(answer))
        outcome.answer = answer
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever it is, it is this request's answer
        outcome.error = error


def _form(outcome: Outcome) -> Form | None:
    """How the chunks of an answer are sent; None when they are gathered."""
    own = None if outcome.asked is None else outcome.asked.stream
    return form_of(outcome.request.codec, outcome.request.delivery, own)


def _gathered(request: Request, chunks: list[Any]) -> Any:
    """What a generator yielded as one answer; asked for as such, pieces of text become one text."""
    return gathered(chunks, request.codec) if request.delivery == Delivery.WHOLE else chunks


async def run_one_async(
    steps: Steps, request: Request, tracing: Tracing | None = None, stream: AsyncStream | None = None
) -> Answers:
    """Answer one request of an async model."""
    started = perf_counter_ns()
    context.run((request.context,))
    if tracing is not None:
        tracing.enter((request.context,))
    if steps.wants_request:
        enter_request(context.request_of(request.context, request.body))
    outcome = decode(request, steps)
    decoded = perf_counter_ns()
    if outcome.error is None:
        try:
            await _run_one_async(steps, outcome, stream)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is this request's answer
            outcome.error = error
    ran = perf_counter_ns()
    answer = encode(request, outcome)
    done = perf_counter_ns()
    if tracing is not None:
        tracing.record((request.context,), started, decoded, ran, done)
    return Answers([answer], 1, decoded - started, ran - decoded, done - ran)


async def _run_one_async(steps: Steps, outcome: Outcome, stream: AsyncStream | None) -> None:
    asked = outcome.asked
    if asked is not None and asked.method:
        answer = await steps.begin_method_async(asked.method, outcome.answer)
    else:
        answer = await steps.begin_async(outcome.answer)
    if isinstance(answer, (GeneratorType, AsyncGeneratorType)):
        form = _form(outcome)
        if form is not None and stream is not None:
            outcome.ending = await stream(outcome.request, form, answer)
            return
        chunks = [one async for one in answer] if isinstance(answer, AsyncGeneratorType) else list(answer)
        answer = _gathered(outcome.request, chunks)
    outcome.answer = answer


def decode(request: Request, steps: Steps) -> Outcome:
    """The decoded request as an outcome to run, or the error that decoding it raised."""
    contract = steps.contract
    try:
        decoder = _DECODERS.get(request.codec)
        if decoder is not None:
            value = decoder(request.body, steps.signature)
            return Outcome(request, value if contract is None else contract.check(value))
        asked = READERS[request.codec](request.body, steps.signature)
        value = contract.check(asked.request) if contract is not None and not asked.method else asked.request
        return Outcome(request, value, asked=asked)
    except TrussError as error:
        return Outcome(request, error=error)


def encode(request: Request, outcome: Outcome) -> Answer:
    """The outcome as an answer: in msgpack when the request was, else in JSON."""
    if outcome.ending is not None:
        return outcome.ending
    if outcome.error is None:
        try:
            if request.delivery == Delivery.EVENTS and _form(outcome) is EVENTS:
                return Answer(request.id, 200, EVENTS.codec, EVENTS.write(outcome.answer) + EVENTS.end)
            if outcome.asked is not None:
                body, codec = outcome.asked.write(outcome.answer)
                return Answer(request.id, 200, codec, body)
            if request.codec == Codec.MSGPACK:
                return Answer(request.id, 200, Codec.MSGPACK, encode_msgpack(outcome.answer))
            return Answer(request.id, 200, Codec.JSON, encode_json(outcome.answer))
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

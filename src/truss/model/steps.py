"""Run a model's steps: preprocess -> predict -> postprocess.

Each step may be a plain function or a coroutine function; `predict` and `postprocess` may be
generators, sync or async. Here, in process, a generator's answer is the list of its chunks.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from truss.config import Signature
from truss.errors import InvalidInputError, ModelLoadError, PredictionError, RouteNotFoundError, TrussError
from truss.model.contract import Contract, contract_of
from truss.model.failure import describe, user_location
from truss.model.fit import misfit
from truss.model.request import bound
from truss.model.tables import with_rows
from truss.model.websocket import WebSocket, WebSocketDisconnect

_T = TypeVar("_T")

INPUT_NAMES = ("inputs", "instances")
"""Two names of the same thing: a model reads either, whichever the client sent."""

_BOTH_WAYS = (INPUT_NAMES, INPUT_NAMES[::-1])

_DATA = frozenset({dict, list, tuple, str, int, float, bool, type(None)})
"""Types of answers that are neither awaited nor iterated; to ask that of abstract classes takes longer."""

METHODS = ("chat_completions", "completions", "embeddings")
"""Methods that answer requests of OpenAI's API, when a model has them."""


def with_both_names(request: Any, *, by_name: bool = False) -> Any:
    """The request with `inputs` and `instances` both present when one of them is.

    A request that is not a mapping passes unchanged: the model decides what it takes.

    Args:
        request: A decoded request.
        by_name: Whether its inputs may be a mapping too: a list for each of the model's inputs, by name.

    Raises:
        InvalidInputError: the inputs are neither a list nor an array.
    """
    if not isinstance(request, dict):
        return request
    for name, other in _BOTH_WAYS:
        if name in request:
            if not (by_name and isinstance(request[name], dict)):
                _check_rows(name, request[name])
            if other not in request:
                return {**request, other: request[name]}
    return request


def _check_rows(name: str, rows: Any) -> None:
    # Arrays (NumPy's, or a tensor) come from the binary route and from notebooks.
    if not isinstance(rows, (list, tuple)) and not hasattr(rows, "__array__"):
        raise InvalidInputError(
            f"`{name}` must be a list, with one entry per input; got {type(rows).__name__}",
            where=name,
            hint=f'send {{"{name}": [...]}}, also for a single input',
        )


class Steps:
    """The steps of one model instance, bound once.

    Args:
        model: The user's instance; it has `predict`.
        file: The file of its class, for error messages.
        signature: What its inputs hold, if that is known.

    Attributes:
        contract: What the first step says that a body is, if it does.
        is_async: Whether a step, or a method of `METHODS`, is a coroutine function.
        streams: Whether the last step is a generator function. A plain one may return a generator too.
        talks: Whether it has a method for websockets.
        wants_request: Whether one of them has a parameter for the request itself (`truss.model.request`).

    Raises:
        ModelDefinitionError: it says what no body can be read as.
    """

    def __init__(self, model: Any, file: Path, signature: Signature | None = None) -> None:
        self.model = model
        self.signature = signature
        self._root = file.parent.parent
        self._file = file
        self._by_name = bool(getattr(model, "inputs_by_name", False))
        self._own = _methods(model, ("preprocess", "predict", "postprocess"))
        others = _methods(model, METHODS)
        self.talks = callable(getattr(model, "websocket", None))
        bindings = {name: bound(step) for name, step in {**self._own, **others}.items()}
        self._steps = [(name, bindings[name][0]) for name in self._own] or [("predict", _no_predict)]
        self._others = {name: bindings[name][0] for name in others}
        self.contract: Contract | None = contract_of(next(iter(self._own.values()))) if self._own else None
        steps = [*self._own.values(), *others.values()]
        self.is_async = self.talks or any(map(_is_async, steps))
        self.streams = bool(self._own) and _is_generator(self.last)
        self.wants_request = any(wants for _, wants in bindings.values())

    @property
    def last(self) -> Callable[..., Any]:
        """The step whose answer is the model's."""
        return list(self._own.values())[-1] if self._own else _no_predict

    def run(self, request: Any) -> Any:
        """Run all steps of a sync model on one decoded request and return the raw answer.

        A generator's answer is the list of its chunks.

        Raises:
            InvalidInputError: the request's inputs are not a list, or do not fit what `predict` takes.
            PredictionError: a step raised.
        """
        value = self.begin(request)
        return list(value) if isinstance(value, Iterator) else value

    def begin(self, request: Any) -> Any:
        """As `run`, but a generator's answer is an iterator of its chunks, which raises as `run` does.

        Closing the iterator closes the generator.
        """
        value = request = self._prepared(request)
        running = ""
        try:
            for running, step in self._steps:  # noqa: B007  # read below, to name the step that raised
                value = step(value)
            return self._chunks(running, value) if isinstance(value, Iterator) else value
        except TrussError:
            raise
        except Exception as error:
            raise self._failure(running, error, request if value is request else None) from error

    def run_batch(self, requests: list[Any]) -> list[Any]:
        """Run a sync model's `predict_batch` on several decoded requests; one answer per request.

        `preprocess` and `postprocess` run per request, before and after.

        Raises:
            InvalidInputError: the inputs of a request are not a list.
            Exception: whatever a step raised; which request is to blame is not known.
        """
        steps = dict(self._steps)
        before, after = steps.get("preprocess"), steps.get("postprocess")
        values = [self._prepared(request) for request in requests]
        prepared = [before(value) for value in values] if before else values
        answers = self.model.predict_batch(prepared)
        return [after(answer) for answer in answers] if after else list(answers)

    async def run_async(self, request: Any) -> Any:
        """As `run`, awaiting the steps that are coroutines and gathering async generators."""
        return await _gathered(await self.begin_async(request))

    async def begin_async(self, request: Any) -> Any:
        """As `begin`; the chunks of an async generator come from an async iterator.

        Ending it before its time takes `aclose`.
        """
        value = request = self._prepared(request)
        running = ""
        try:
            for running, step in self._steps:  # noqa: B007  # read below, to name the step that raised
                result = step(value)
                value = result if type(result) in _DATA or not inspect.isawaitable(result) else await result
            return self._any_chunks(running, value)
        except TrussError:
            raise
        except Exception as error:
            raise self._failure(running, error, request if value is request else None) from error

    def begin_method(self, name: str, request: Any) -> Any:
        """As `begin`, with one of the `METHODS` of a sync model in place of its steps.

        Raises:
            RouteNotFoundError: the model does not have it.
            PredictionError: it raised.
        """
        method = self._method(name)
        try:
            value = method(request)
        except TrussError:
            raise
        except Exception as error:
            raise self._failure(name, error, None) from error
        return self._chunks(name, value) if isinstance(value, Iterator) else value

    async def begin_method_async(self, name: str, request: Any) -> Any:
        """As `begin_method`, of an async model."""
        method = self._method(name)
        try:
            result = method(request)
            value = await result if inspect.isawaitable(result) else result
        except TrussError:
            raise
        except Exception as error:
            raise self._failure(name, error, None) from error
        return self._any_chunks(name, value)

    def _any_chunks(self, step: str, value: Any) -> Any:
        if type(value) in _DATA:
            return value
        if isinstance(value, AsyncIterator):
            return self._async_chunks(step, value)
        return self._chunks(step, value) if isinstance(value, Iterator) else value

    def _chunks(self, step: str, chunks: Iterator[Any]) -> Iterator[Any]:
        """The chunks of a step's generator; what it raises becomes an error that names the step."""
        try:
            yield from chunks
        except TrussError:
            raise
        except Exception as error:
            raise self._failure(step, error, None) from error

    async def _async_chunks(self, step: str, chunks: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            async for chunk in chunks:
                yield chunk
        except TrussError:
            raise
        except Exception as error:
            raise self._failure(step, error, None) from error
        finally:
            close = getattr(chunks, "aclose", None)
            if close is not None:
                await close()

    async def converse(self, websocket: WebSocket) -> None:
        """Let the model's `websocket` talk to a client.

        Raises:
            WebSocketDisconnect: the client left, and the model left that to us.
            PredictionError: it raised anything else.
        """
        try:
            await self.model.websocket(websocket)
        except (TrussError, WebSocketDisconnect):
            raise
        except Exception as error:
            raise self._failure("websocket", error, None) from error

    @property
    def checks_health(self) -> bool:
        """Whether the model says by itself whether it can answer."""
        return callable(getattr(self.model, "is_healthy", None))

    async def health(self) -> str:
        """Why the model cannot answer, as its `is_healthy` has it; empty when it can."""
        try:
            check = self.model.is_healthy
            healthy = await check() if inspect.iscoroutinefunction(check) else await asyncio.to_thread(check)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is the answer
            return f"`is_healthy` raised {describe(error)}"
        return "" if healthy else "`is_healthy` says that it cannot answer"

    def _method(self, name: str) -> Callable[..., Any]:
        method = self._others.get(name)
        if method is not None:
            return method
        raise RouteNotFoundError(
            f"this model has no method `{name}`, which answers here",
            hint=f"add `def {name}(self, request: dict) -> dict` to the model class",
        )

    def _prepared(self, request: Any) -> Any:
        if self.contract is not None:
            return self.contract.read(with_rows(request, self.signature))
        return with_both_names(with_rows(request, self.signature), by_name=self._by_name)

    def _failure(self, step: str, error: Exception, asked: Any) -> TrussError:
        """The error of a step; `asked` is the request, where the step was given it as it came."""
        refused = bool(getattr(error, "bad_request", False))
        raised = str(error) if refused else f"`{step}` raised {describe(error)}"
        if step == "predict" and asked is not None and self.signature:
            fault = misfit(asked, self.signature, str(error))
            if fault is not None:
                message = f"the request does not fit the model: {fault.message}. {raised}"
                return InvalidInputError(message, where=fault.where, hint=fault.hint)
        if refused:
            return InvalidInputError(raised, hint="correct the request; the model's own code refused it")
        where = user_location(error, self._root) or str(self._file)
        return PredictionError(raised, where=where, hint="correct the input, or the model's code")


def _no_predict(_: Any) -> Any:
    raise RouteNotFoundError(
        "this model answers websockets only", hint="connect to /v1/websocket, or add `predict` in its place"
    )


def _methods(model: Any, names: Sequence[str]) -> dict[str, Callable[..., Any]]:
    """Those of the names that a model has."""
    return {name: getattr(model, name) for name in names if callable(getattr(model, name, None))}


async def _gathered(value: Any) -> Any:
    if isinstance(value, AsyncIterator):
        return [chunk async for chunk in value]
    return list(value) if isinstance(value, Iterator) else value


def _is_async(step: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(step) or inspect.isasyncgenfunction(step)


def _is_generator(step: Callable[..., Any]) -> bool:
    return inspect.isgeneratorfunction(step) or inspect.isasyncgenfunction(step)


class LoadedModel:
    """A model ready to answer, for callers in the same process.

    Args:
        model: The constructed instance of the user's class.
        file: The file of its class.
        entered: Gives the context its code runs in (see `ModuleSpace.entered`).
        new_loop: Makes the event loop that its async steps run on.
        signature: What its inputs hold, if that is known.
    """

    def __init__(
        self,
        model: Any,
        file: Path,
        entered: Callable[[], AbstractContextManager[object]],
        new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
        signature: Signature | None = None,
    ) -> None:
        self.model = model
        self.steps = Steps(model, file, signature)
        self._file = file
        self._entered = entered
        self._new_loop = new_loop
        self._signature = signature
        self._loop: _BackgroundLoop | None = None

    def succeeded_by(self, model: Any) -> LoadedModel:
        """Another instance of the class, changed meanwhile, in this one's surroundings."""
        successor = LoadedModel(model, self._file, self._entered, self._new_loop, self._signature)
        successor._loop = self._loop  # what one bound to it, the other uses
        return successor

    def load(self) -> None:
        """Call the model's `load`, when it has one.

        Raises:
            ModelLoadError: it raised.
        """
        load = getattr(self.model, "load", None)
        if not callable(load):
            return
        try:
            result = load()
            if inspect.iscoroutine(result):
                self._wait(result)
        except Exception as error:
            raise ModelLoadError(
                f"`load` raised {describe(error)}",
                where=user_location(error, self._file.parent.parent) or str(self._file),
                hint="its files belong below the data directory, its packages into `requirements`",
            ) from error

    def predict(self, request: Any) -> Any:
        """Run preprocess, predict and postprocess on one request.

        Args:
            request: What a client would send, decoded: usually `{"inputs": [...]}`. `inputs` and
                `instances` name the same thing; `dataframe_records` and `dataframe_split` hold tables.

        Returns:
            What the model returned: NumPy arrays stay NumPy arrays.

        Raises:
            InvalidInputError: the inputs are not a list, or do not fit the model.
            PredictionError: a step raised.
        """
        with self._entered():
            if self.steps.is_async:
                return self._wait(self.steps.run_async(request))
            return self.steps.run(request)

    def run_coroutine(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end on the event loop that the model's own async steps run on.

        What `load` bound to its loop (clients, locks, queues) thus stays usable.
        """
        return self._wait(coroutine)

    def close(self) -> None:
        """Stop the thread that an async model's calls ran on."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None

    def _wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        if self._loop is None:
            self._loop = _BackgroundLoop(self._new_loop())
        return self._loop.wait(coroutine)


class _BackgroundLoop:
    """An event loop in a thread of its own, since a notebook's thread already runs one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._thread = threading.Thread(target=self._loop.run_forever, name="truss-async-model", daemon=True)
        self._thread.start()

    def wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

"""Run a model's steps: preprocess -> predict -> postprocess.

Each step may be a plain function or a coroutine function; `predict` and `postprocess` may be
generators, sync or async. Here, in process, a generator's answer is the list of its chunks.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from truss.errors import InvalidInputError, ModelLoadError, PredictionError, TrussError
from truss.model.failure import describe, user_location

_T = TypeVar("_T")

INPUT_NAMES = ("inputs", "instances")
"""Two names of the same thing: a model reads either, whichever the client sent."""


def with_both_names(request: Any) -> Any:
    """The request with `inputs` and `instances` both present when one of them is.

    A request that is not a mapping passes unchanged: the model decides what it takes.

    Raises:
        InvalidInputError: the inputs are neither a list nor an array.
    """
    if not isinstance(request, dict):
        return request
    for name, other in (INPUT_NAMES, INPUT_NAMES[::-1]):
        if name in request:
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
    """

    def __init__(self, model: Any, file: Path) -> None:
        self.model = model
        self._root = file.parent.parent
        self._file = file
        self._steps: list[tuple[str, Callable[..., Any]]] = [
            (name, getattr(model, name))
            for name in ("preprocess", "predict", "postprocess")
            if callable(getattr(model, name, None))
        ]
        self.is_async = any(_is_async(step) for _, step in self._steps)

    def run(self, request: Any) -> Any:
        """Run all steps of a sync model on one decoded request and return the raw answer.

        Raises:
            InvalidInputError: the request's inputs are not a list.
            PredictionError: a step raised.
        """
        value = with_both_names(request)
        running = ""
        try:
            for running, step in self._steps:  # noqa: B007  # read below, to name the step that raised
                value = step(value)
            return list(value) if isinstance(value, Iterator) else value
        except TrussError:
            raise
        except Exception as error:
            raise self._failure(running, error) from error

    def run_batch(self, requests: list[Any]) -> list[Any]:
        """Run a sync model's `predict_batch` on several decoded requests; one answer per request.

        `preprocess` and `postprocess` run per request, before and after.

        Raises:
            InvalidInputError: the inputs of a request are not a list.
            Exception: whatever a step raised; which request is to blame is not known.
        """
        before, after = getattr(self.model, "preprocess", None), getattr(self.model, "postprocess", None)
        values = [with_both_names(request) for request in requests]
        prepared = [before(value) for value in values] if before else values
        answers = self.model.predict_batch(prepared)
        return [after(answer) for answer in answers] if after else list(answers)

    async def run_async(self, request: Any) -> Any:
        """As `run`, awaiting the steps that are coroutines and gathering async generators."""
        value = with_both_names(request)
        running = ""
        try:
            for running, step in self._steps:  # noqa: B007  # read below, to name the step that raised
                value = step(value)
                if inspect.isawaitable(value):
                    value = await value
            if isinstance(value, AsyncIterator):
                return [chunk async for chunk in value]
            return list(value) if isinstance(value, Iterator) else value
        except TrussError:
            raise
        except Exception as error:
            raise self._failure(running, error) from error

    def _failure(self, step: str, error: Exception) -> PredictionError:
        return PredictionError(
            f"`{step}` raised {describe(error)}",
            where=user_location(error, self._root) or str(self._file),
            hint="correct the input, or the model's code",
        )


def _is_async(step: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(step) or inspect.isasyncgenfunction(step)


class LoadedModel:
    """A model ready to answer, for callers in the same process.

    Args:
        model: The constructed instance of the user's class.
        file: The file of its class.
        entered: Gives the context its code runs in (see `ModuleSpace.entered`).
    """

    def __init__(self, model: Any, file: Path, entered: Callable[[], AbstractContextManager[object]]) -> None:
        self.model = model
        self.steps = Steps(model, file)
        self._file = file
        self._entered = entered
        self._loop: _BackgroundLoop | None = None

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
                `instances` name the same thing.

        Returns:
            What the model returned: NumPy arrays stay NumPy arrays.

        Raises:
            InvalidInputError: the inputs are not a list.
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
            self._loop = _BackgroundLoop()
        return self._loop.wait(coroutine)


class _BackgroundLoop:
    """An event loop in a thread of its own, since a notebook's thread already runs one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="truss-async-model", daemon=True)
        self._thread.start()

    def wait(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

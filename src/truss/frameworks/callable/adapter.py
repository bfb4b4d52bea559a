"""Package plain callables: functions, methods, partials, and objects with `__call__`."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.errors import PackagingError
from truss.frameworks.advice import library_of
from truss.frameworks.base import Framework, Saved, model_class_source
from truss.frameworks.bytecode import by_value_metadata, by_value_note
from truss.frameworks.callable.saving import write_callable

_SIGNATURE_HINT = (
    'take the request as the one argument, e.g. `def answer(request): return {"predictions": ...}`'
)


class CallableFramework:
    """The adapter for whatever can be called with a request."""

    name = "callable"
    model_framework = "custom"
    summary = "functions, methods, partials and objects with `__call__`, called with the request"

    def recognises(self, model: object) -> bool:
        """Whether `model` is a callable of no ML library (a class is not: its instances may be)."""
        return callable(model) and not isinstance(model, type) and library_of(model) is None

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the callable to `model/function.cloudpickle` below `data_dir`.

        Raises:
            PackagingError: it cannot take a request as its one argument, or cannot be pickled.
            MissingExtraError: cloudpickle is not installed.
        """
        name = _name(model)
        _check_signature(model, name)
        path = data_dir / "model" / "function.cloudpickle"
        path.parent.mkdir()
        written = write_callable(model, path, name)
        return Saved(
            model_class=model_class_source(
                __package__, "async_model_class.py" if _is_async(model) else "model_class.py"
            ),
            model_type=type(model).__name__,
            model_metadata=by_value_metadata(written.by_value),
            requirements=("cloudpickle",),
            pickled_objects=written.references,
            pickle_files=(path,),
            # What a function does with the rows of its request, only its author knows.
            batching="none",
            notes=(by_value_note(f"{name}, with the code it uses,"),) if written.by_value else (),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live callable answers; a generator's answer is the list of what it yields."""
        answer = model(request)
        if inspect.isawaitable(answer):
            answer = _wait(answer)
        if isinstance(answer, AsyncIterator):
            return _wait(_gather(answer))
        return list(answer) if isinstance(answer, Iterator) else answer


def _name(model: Any) -> str:
    """How messages call it: `the function 'answer'`, `this Scorer`."""
    name = getattr(model, "__name__", None)
    return f"the function '{name}'" if name else f"this {type(model).__name__}"


def _check_signature(model: Any, name: str) -> None:
    """Refuse what can never be called with one positional argument.

    Raises:
        PackagingError: it needs more arguments, or takes none.
    """
    try:
        signature = inspect.signature(model)
    except (TypeError, ValueError):  # some functions written in C do not tell
        return
    try:
        signature.bind({})
    except TypeError as error:
        raise PackagingError(
            f"{name} cannot be called with a request: {error} (its signature is {signature})",
            hint=_SIGNATURE_HINT,
        ) from None


def _is_async(model: Any) -> bool:
    """Whether calling `model` gives something to await, or to iterate asynchronously."""
    while isinstance(model, partial):
        model = model.func
    candidates = [model, getattr(type(model), "__call__", None)]  # noqa: B004 - its function is what is asked for
    return any(inspect.iscoroutinefunction(item) or inspect.isasyncgenfunction(item) for item in candidates)


def _wait(awaitable: Awaitable[Any]) -> Any:
    """Run `awaitable` to its end in a thread of its own, since a notebook's thread already runs a loop."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="truss-live-answer") as thread:
        return thread.submit(asyncio.run, _await(awaitable)).result()


async def _await(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def _gather(chunks: AsyncIterator[Any]) -> list[Any]:
    return [chunk async for chunk in chunks]


if TYPE_CHECKING:
    _fits: Framework = CallableFramework()

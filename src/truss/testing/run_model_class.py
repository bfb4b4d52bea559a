"""Run a saved model class once, in a process that knows nothing of Truss.

Started as a script by the conformance suite: reads a task from standard input, a JSON object with the keys
`model_file`, `data_dir`, `config`, `paths` (folders to import from) and `requests`, and writes the JSON list
of answers to standard output.
"""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import sys
from collections.abc import AsyncIterator, Iterator
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any


class _NoTruss(MetaPathFinder):
    """Refuses to import Truss: a model class must run where Truss is not installed."""

    def find_spec(self, fullname: str, *_: object) -> None:
        """Raise for modules of Truss, and leave all others to the usual finders."""
        if fullname.partition(".")[0] == "truss":
            raise ModuleNotFoundError(f"a model class must not import {fullname}")


async def main() -> None:
    """Construct the model as a server does, load it, and answer the task's requests."""
    task = json.load(sys.stdin)
    sys.path[:0] = task["paths"]
    sys.meta_path.insert(0, _NoTruss())
    model = _model_class(task["model_file"])(
        config=task["config"], data_dir=Path(task["data_dir"]), secrets={}, environment=None
    )
    model.load()
    answers = [await _answer(model, request) for request in task["requests"]]
    json.dump(answers, sys.stdout, default=plain)


def plain(value: Any) -> Any:
    """Arrays and array scalars as lists and numbers."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value)} has no JSON form")


def _model_class(file: str) -> Any:
    spec = importlib.util.spec_from_file_location("model", file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Model


async def _answer(model: Any, request: Any) -> Any:
    value = request
    for step in (model.preprocess, model.predict, model.postprocess):
        value = step(value)
        if inspect.isawaitable(value):
            value = await value
    if isinstance(value, AsyncIterator):
        return [chunk async for chunk in value]
    return list(value) if isinstance(value, Iterator) else value


if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this script, put there by the interpreter
    asyncio.run(main())

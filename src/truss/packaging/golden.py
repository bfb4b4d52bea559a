"""Golden requests: examples with the answers that the live object gave, replayed on the packaged copy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from truss.config import TrussConfig
from truss.errors import ExamplesError, GoldenMismatchError, TrussError
from truss.model import load_model, to_plain
from truss.model.compare import TOLERANCES, difference, tolerance_of
from truss.model.examples import Example
from truss.model.steps import with_both_names
from truss.packaging.signature import is_frame

Predict = Callable[[Any], Any]
"""Answers a request."""


def as_examples(given: Any) -> list[Example]:
    """Examples from what a caller gives: one or several, named or not.

    Accepted are a request (`{"inputs": [...]}`), an `Example`, a mapping with `name` and `input`, an
    array, frame or list of rows (the `inputs` of one request), and lists of requests, examples and frames.

    Raises:
        ExamplesError: two have one name.
    """
    if given is None:
        return []
    if isinstance(given, (Example, dict)):
        given = [given]
    if not isinstance(given, (list, tuple)) or not all(map(_is_request, given)):
        given = [{"inputs": given}]
    examples = [_as_example(item, number) for number, item in enumerate(given, 1)]
    names = [example.name for example in examples]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ExamplesError(f"two examples are named '{twice}'", hint="give each example its own name")
    return examples


def _is_request(item: Any) -> bool:
    return isinstance(item, (Example, dict)) or is_frame(item)


def _as_example(item: Any, number: int) -> Example:
    if isinstance(item, Example):
        return item
    if is_frame(item):
        item = {"inputs": item}
    if {"name", "input"} <= item.keys() <= {"name", "input", "expected", "tolerance"}:
        return Example.from_dict(item)
    return Example(f"example-{number}", item)


def recorded(
    examples: Sequence[Example],
    live: Predict,
    truss_dir: Path,
    config: TrussConfig,
    *,
    repeats: Callable[[Any], bool] = lambda _: True,
) -> list[Example]:
    """The examples with the live object's answers as expected ones, proven on the packaged copy.

    Args:
        examples: What to ask.
        live: Answers as the live object does.
        truss_dir: The packaged copy.
        config: Its config.
        repeats: Whether a request is answered alike each time; by default all are. Where the answer is drawn
            at random, the packaged copy is asked only to see that it answers.

    Raises:
        GoldenMismatchError: the packaged copy answers differently, or the live object differently from
            what an example expects; shows what differs.
        ExamplesError: the live object cannot answer an example.
        ModelError: the packaged copy cannot be loaded or cannot answer.
    """
    packaged = load_model(truss_dir, config)
    try:
        return [
            _proven(example, live if repeats(example.input) else None, packaged.predict)
            for example in examples
        ]
    finally:
        packaged.close()


def _proven(example: Example, live: Predict | None, packaged: Predict) -> Example:
    request = to_plain(example.input)
    answer = None if live is None else _live_answer(live, example.name, request)
    copied = packaged(copy.deepcopy(request))
    if live is None:
        return replace(example, input=request)
    if (found := example.difference(answer)) is not None:
        raise GoldenMismatchError(
            f"example '{example.name}': the live object answers differently from what is expected:\n{found}",
            hint="leave out `expected` to store what the object answers",
        )
    if (found := difference(answer, copied, example.tolerance)) is not None:
        raise GoldenMismatchError(
            f"example '{example.name}': the packaged copy answers differently from the live object:\n{found}",
            hint="if the model is random by design, fix its seed or pass check=False",
        )
    return with_answer(replace(example, input=request), answer)


def _live_answer(live: Predict, name: str, request: Any) -> Any:
    try:
        return live(with_both_names(copy.deepcopy(request), by_name=True))
    except TrussError:
        raise
    except Exception as error:
        raise ExamplesError(
            f"the object cannot answer example '{name}': {type(error).__name__}: {error}",
            hint="give a request that the object answers, e.g. {'inputs': [...]} with one entry a row",
        ) from error


def with_answer(example: Example, answer: Any) -> Example:
    """The example expecting an answer, and with the tolerance of its numbers, whose type no file keeps."""
    tolerance = example.tolerance
    if tolerance is None and tolerance_of(answer) != TOLERANCES["float64"]:
        tolerance = tolerance_of(answer)
    return replace(example, expected=to_plain(answer), tolerance=tolerance)


def mismatches(examples: Iterable[Example], predict: Predict) -> dict[str, str]:
    """Replay golden requests: the name of each example that fails, with what differs."""
    found = {example.name: example.difference(predict(example.input)) for example in examples}
    return {name: text for name, text in found.items() if text is not None}

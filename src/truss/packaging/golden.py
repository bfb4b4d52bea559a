"""Golden requests: examples with the answers that the live object gave, replayed on the packaged copy."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from truss.config import TrussConfig
from truss.errors import ExamplesError, GoldenMismatchError
from truss.frameworks.base import Framework
from truss.model import load_model, to_plain
from truss.model.compare import TOLERANCES, difference, tolerance_of
from truss.model.examples import Example
from truss.model.steps import with_both_names


def as_examples(given: Any) -> list[Example]:
    """Examples from what a caller gives: one or several, named or not.

    Accepted are a request (`{"inputs": [...]}`), an `Example`, a mapping with `name` and `input`, an
    array, frame or list of rows (the `inputs` of one request), and lists of the first three.

    Raises:
        ExamplesError: two have one name.
    """
    if given is None:
        return []
    if isinstance(given, (Example, dict)):
        given = [given]
    if not isinstance(given, (list, tuple)) or not all(isinstance(item, (Example, dict)) for item in given):
        given = [{"inputs": given}]
    examples = [_as_example(item, number) for number, item in enumerate(given, 1)]
    names = [example.name for example in examples]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ExamplesError(f"two examples are named '{twice}'", hint="give each example its own name")
    return examples


def _as_example(item: Example | dict[str, Any], number: int) -> Example:
    if isinstance(item, Example):
        return item
    if {"name", "input"} <= item.keys() <= {"name", "input", "expected", "tolerance"}:
        return Example.from_dict(item)
    return Example(f"example-{number}", item)


def recorded(
    examples: Sequence[Example], framework: Framework, model: object, truss_dir: Path, config: TrussConfig
) -> list[Example]:
    """The examples with the live object's answers as expected ones, proven on the packaged copy.

    Raises:
        GoldenMismatchError: the packaged copy answers differently; shows what differs.
        ModelError: the packaged copy cannot be loaded or cannot answer.
    """
    if not examples:
        return []
    packaged = load_model(truss_dir, config)
    try:
        return [_proven(example, framework, model, packaged.predict) for example in examples]
    finally:
        packaged.close()


def _proven(example: Example, framework: Framework, model: object, predict: Any) -> Example:
    request = to_plain(example.input)
    live = framework.answer(model, with_both_names(copy.deepcopy(request)))
    found = difference(live, predict(copy.deepcopy(request)), example.tolerance)
    if found is not None:
        raise GoldenMismatchError(
            f"example '{example.name}': the packaged copy answers differently from the live object:\n{found}",
            hint="if the model is random by design, fix its seed or pass check=False",
        )
    tolerance = example.tolerance
    if tolerance is None and tolerance_of(live) != TOLERANCES["float64"]:
        tolerance = tolerance_of(live)  # the file keeps no number types
    return Example(example.name, request, to_plain(live), tolerance)


def mismatches(examples: Iterable[Example], predict: Any) -> dict[str, str]:
    """Replay golden requests: the name of each example that fails, with what differs."""
    found = {example.name: example.difference(predict(example.input)) for example in examples}
    return {name: text for name, text in found.items() if text is not None}

"""The examples of a Truss: named inputs, and the answers they should get.

On disk (`examples.yaml`) a YAML list of `name`, `input`, and optionally `expected`, the answer, and
`tolerance`, the relative difference that its numbers may have. An example with an expected answer is a
golden request: `truss run-example` and packaging replay it as a test.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from truss.config import TrussConfig
from truss.config.plain import plain
from truss.config.tree import Mapping, Node, Sequence, parse
from truss.config.write import Layout, list_item
from truss.errors import ConfigError, ExamplesError
from truss.model.compare import difference
from truss.model.values import to_plain


class Missing(Enum):
    """Stands for an answer that was not recorded; null is an answer."""

    MISSING = "missing"

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = Missing.MISSING


@dataclass(frozen=True)
class Example:
    """A named input.

    Attributes:
        name: Unique in its file.
        input: The request, as a client sends it.
        expected: The answer it should get; MISSING when none was recorded.
        tolerance: The relative difference that numbers may have; None for that of a float64.
    """

    name: str
    input: Any
    expected: Any = MISSING
    tolerance: float | None = None

    def difference(self, answer: Any) -> str | None:
        """What sets an answer apart from the expected one; None when nothing does, or none is expected."""
        if self.expected is MISSING:
            return None
        return difference(self.expected, to_plain(answer), self.tolerance)

    def to_dict(self) -> dict[str, Any]:
        """The example as the file holds it."""
        made = {"name": self.name, "input": to_plain(self.input)}
        if self.expected is not MISSING:
            made["expected"] = to_plain(self.expected)
        if self.tolerance is not None:
            made["tolerance"] = self.tolerance
        return made

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Example:
        """The example in a mapping that has at least `name` and `input`."""
        return cls(
            str(content["name"]), content["input"], content.get("expected", MISSING), content.get("tolerance")
        )


def read_examples(truss_dir: Path, config: TrussConfig) -> list[Example]:
    """The examples of a Truss; none when the file is empty or absent.

    Raises:
        ExamplesError: the file is not a list of examples, or two have one name.
    """
    path = Path(truss_dir) / config.examples_filename
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise ExamplesError(
            f"cannot be read: {error}", where=str(path), hint="save it as UTF-8 text"
        ) from error
    try:
        root = parse(text, str(path))
    except ConfigError as error:
        problem = error.problems[0]
        raise ExamplesError(problem.message, where=f"{path}:{problem.line}", hint=problem.hint) from error
    if root is None or plain(root) is None:
        return []
    if not isinstance(root, Sequence):
        raise ExamplesError(
            "the file is not a list",
            where=f"{path}:{root.line}",
            hint="start each example with `- name: ...`",
        )
    return _distinct([(_example(node, path), f"{path}:{node.line}") for node in root.items])


def _example(node: Node, path: Path) -> Example:
    content = plain(node)
    missing = [key for key in ("name", "input") if not isinstance(node, Mapping) or key not in content]
    if missing:
        raise ExamplesError(
            f"an example without {' and '.join(f'`{key}`' for key in missing)}",
            where=f"{path}:{node.line}",
            hint="write `- name: NAME` and, below it, `  input: REQUEST`",
        )
    return Example.from_dict(content)


def _distinct(located: list[tuple[Example, str]]) -> list[Example]:
    seen: dict[str, str] = {}
    for example, place in located:
        if example.name in seen:
            raise ExamplesError(
                f"the name '{example.name}' is taken by the example at {seen[example.name]}",
                where=place,
                hint="give each example its own name",
            )
        seen[example.name] = place
    return [example for example, _ in located]


def write_examples(truss_dir: Path, config: TrussConfig, examples: Iterable[Example]) -> None:
    """Replace all examples of a Truss; the file is written beside and then renamed.

    Raises:
        AnswerEncodingError: an input or expected answer has no JSON form.
    """
    path = Path(truss_dir) / config.examples_filename
    text = "".join(line + "\n" for example in examples for line in list_item(example.to_dict(), 0, Layout()))
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        Path(beside).chmod(0o644)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise

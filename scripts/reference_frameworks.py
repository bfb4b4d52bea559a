"""Write docs/reference/frameworks.md: run the models of the conformance suites, and note what is seen.

Each row is one class of `tests/frameworks/*`: its model was packaged and asked in this run. The rows of a
framework whose library is not installed here stay as they are on the page.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from generated import REFERENCE, publish

from truss.frameworks.registry import BUILT_IN, frameworks

PAGE = "frameworks.md"
TESTS = Path(__file__).resolve().parents[1] / "tests" / "frameworks"
CHEAP_TEST = "test_metadata_is_plain"
MOST_FILES = 4
NUMBERS = {"whole number", "number"}

INTRODUCTION = """\
# Frameworks

<!-- Written by scripts/reference_frameworks.py; `make docs` renews it. -->

What is recognised, what is saved below the Truss's `data/`, and what a request and an answer look like. Every
row is a model that was packaged and asked when this page was written: "3 x [4 x number]" is a list of three
lists of four numbers each.
"""


@dataclass(frozen=True)
class Row:
    """What was seen of one model."""

    case: str
    model_type: str
    files: tuple[str, ...]
    joined: bool
    request: str
    answer: str

    def line(self) -> str:
        """The row of a table."""
        files = ", ".join(f"`{name}`" for name in self.files)
        shapes = " | ".join(f"`{text}`" for text in (self.request, self.answer))
        joined = "yes" if self.joined else "no"
        return f"| {self.case} | `{self.model_type}` | {files} | {joined} | {shapes} |"


@dataclass(eq=False)
class Recorder:
    """A plugin of pytest that notes what the suites' models are saved as and answer."""

    rows: dict[str, list[Row]] = field(default_factory=dict)

    @pytest.hookimpl(wrapper=True)
    def pytest_pyfunc_call(self, pyfuncitem: pytest.Function) -> Iterator[None]:
        """Look at the model after its test has saved it."""
        suite = pyfuncitem.instance
        save, seen = suite._save, []  # noqa: SLF001  # where the suite's own tests save

        def watched(folder: Path, model: object = None) -> Any:
            made = suite.make_model() if model is None else model
            saved = save(folder, made)
            seen.append((made, saved, _files(folder / "data")))
            return saved

        suite._save = watched  # noqa: SLF001
        result = yield
        ((model, saved, files),) = seen
        request = suite.make_request()
        row = Row(
            _words(type(suite).__name__),
            saved.model_type,
            files,
            saved.batching == "rows",
            outline(request),
            outline(suite.framework.answer(model, request)),
        )
        self.rows.setdefault(suite.framework.name, []).append(row)
        return result


def _files(folder: Path) -> tuple[str, ...]:
    names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return (*names[:MOST_FILES], *(["..."] if len(names) > MOST_FILES else []))


def _words(name: str) -> str:
    """`TestRecordsWithGaps` as "records with gaps"."""
    plain = name.removeprefix("Test").removesuffix("Conformance")
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", plain).lower()


def outline(value: Any) -> str:
    """What a JSON value is made of, without the values themselves."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, Mapping):
        return "{" + ", ".join(f'"{key}": {outline(item)}' for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return _list_outline([outline(item) for item in value])
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", type(None): "null"}
    return names.get(type(value), type(value).__name__)


def _list_outline(parts: list[str]) -> str:
    if set(parts) == NUMBERS:
        parts = ["number"] * len(parts)
    if len(parts) > 1 and len(set(parts)) == 1:
        return f"[{len(parts)} x {parts[0]}]"
    shown = parts if len(parts) <= 6 else [*parts[:5], "..."]
    return "[" + ", ".join(shown) + "]"


def _recorded() -> dict[str, list[Row]]:
    recorder = Recorder()
    arguments = [str(TESTS), "-q", "-p", "no:cacheprovider", "-k", CHEAP_TEST, "-W", "ignore", "--no-header"]
    stdout, sys.stdout = sys.stdout, sys.stderr
    try:
        status = pytest.main(arguments, plugins=[recorder])
    finally:
        sys.stdout = stdout
    if status != pytest.ExitCode.OK:
        sys.exit("error: a model of the suites could not be packaged; see above")
    return recorder.rows


def _sections_on_page() -> dict[str, str]:
    """What is on the page already, by framework."""
    page = REFERENCE / PAGE
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    parts = re.split(r"^## (\S+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def page() -> str:
    """The page's text."""
    recorded, kept = _recorded(), _sections_on_page()
    sections = []
    for framework in frameworks():
        if framework.name in recorded:
            rows = recorded[framework.name]
            sections.append(f"## {framework.name}\n" + _section(framework.summary, rows))
        elif framework.name in kept:
            sections.append(f"## {framework.name}\n" + kept[framework.name].rstrip("\n") + "\n")
        elif framework.name in BUILT_IN:
            sys.exit(f"error: no model of {framework.name} was packaged\nhint: install its library")
    return "\n".join([INTRODUCTION, *sections])


def _section(summary: str, rows: list[Row]) -> str:
    head = "| model | type | below `data/` | rows joined | request | answer |\n|---|---|---|---|---|---|"
    return "\n".join(["", f"Recognised: {summary}.", "", head, *(row.line() for row in rows), ""])


if __name__ == "__main__":
    publish(PAGE, page())

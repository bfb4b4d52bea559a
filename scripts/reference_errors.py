"""Write docs/reference/errors.md from the exception classes."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from generated import publish

from truss import errors
from truss.errors import TrussError

INTRODUCTION = """\
# Errors

<!-- Written by scripts/reference_errors.py; `make docs` renews it. -->

Every error that Truss raises on purpose derives from `truss.errors.TrussError` and carries `message` (what
happened), `where` (file and line, config key, request id) and `hint` (what to do).

- From Python: `except truss.errors.PredictionError as error: error.hint`.
- From the command line: `error: ...` and `hint: ...` on stderr, and the exit code below.
- Over HTTP, on every route: the status below and `{"error": {"type", "message", "hint"?, "request_id"}}`.
"""

TABLE = """\
## All of them

| class | type | HTTP status | exit code | when |
|---|---|---|---|---|"""


def page() -> str:
    """The page's text."""
    rows = [_row(kind) for kind in _classes()]
    return "\n".join([INTRODUCTION, "## The tree\n", "```", *_tree(), "```\n", TABLE, *rows, ""])


def _tree() -> Iterator[str]:
    drawing = inspect.getdoc(errors)
    assert drawing is not None
    yield from (line.removeprefix("    ") for line in drawing.splitlines() if line.startswith("    "))


def _classes() -> list[type[TrussError]]:
    return [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, TrussError)
    ]


def _row(kind: type[TrussError]) -> str:
    summary = " ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split())
    return f"| `{kind.__name__}` | `{kind.type}` | {kind.status} | {kind.exit_code} | {summary} |"


if __name__ == "__main__":
    publish("errors.md", page())

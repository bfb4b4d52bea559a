"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import click


def result(text: str) -> None:
    """Print a result."""
    click.echo(text)


def json_result(value: Any) -> None:
    """Print a result as one line of JSON."""
    click.echo(json.dumps(value, ensure_ascii=False))


def note(text: str) -> None:
    """Print what is not the result."""
    click.echo(text, err=True)


@contextmanager
def reserved_stdout() -> Iterator[None]:
    """Keep stdout for the result: what a model (or a C library below it) prints meanwhile goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def progress(what: str) -> AbstractContextManager[None]:
    """Show on a terminal that something is going on, once it takes longer than a second."""
    from truss.packaging.progress import progress as shown

    return shown(what)

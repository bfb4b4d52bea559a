"""Of the requirement lines that a model brings along, those that it needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_OF_AN_EXTRA = re.compile(r";.*\bextra\s*==")


def name_in(line: str) -> str:
    """The distribution that a requirement line names; empty for an option of pip."""
    match = _NAME.match(line)
    return "" if match is None else normal(match.group())


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def with_dependencies(names: Iterable[str]) -> frozenset[str]:
    """The distributions, and those that they depend on as they are installed here, extras left out."""
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += _dependencies(name)
    return frozenset(found)


def _dependencies(name: str) -> Iterator[str]:
    try:
        lines = requires(name) or []
    except PackageNotFoundError:
        return
    yield from (name_in(line) for line in lines if not _OF_AN_EXTRA.search(line))

"""Join the rows of several requests into one, and split the answer again.

Two requests may be joined when they differ in nothing but their rows: `{"inputs": [a], "top": 3}` and
`{"inputs": [b, c], "top": 3}` become `{"inputs": [a, b, c], "top": 3}`. The answer can be split when it
has one entry per row, itself or in each of its values: `{"predictions": [x, y, z]}` becomes `[x]` and
`[y, z]`. Whatever does not fit this is left alone: it runs by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from truss.model.steps import INPUT_NAMES


@dataclass(frozen=True)
class Group:
    """Requests that run as one.

    Attributes:
        members: Positions of the requests in the batch, in order.
        counts: How many rows each brought; empty when the group is a single request run as it came.
        request: What to run.
    """

    members: tuple[int, ...]
    counts: tuple[int, ...]
    request: Any


class _Rows(NamedTuple):
    """A request seen as rows plus the rest; a named tuple since one is made per request."""

    name: str
    rows: Any
    rest: dict[str, Any]

    def joins(self, other: _Rows) -> bool:
        return (
            self.name == other.name
            and type(self.rows) is type(other.rows)
            and (type(self.rows) is list or _layout(self.rows) == _layout(other.rows))
            and (self.rest is other.rest or _same(self.rest, other.rest))
        )


class _Run:
    """Requests that join, while more of them are looked for; `total` is how many rows they brought."""

    __slots__ = ("counts", "first", "members", "parts", "total")

    def __init__(self, position: int, first: _Rows, count: int) -> None:
        self.first = first
        self.members, self.parts, self.counts = [position], [first.rows], [count]
        self.total = count

    def add(self, position: int, rows: Any, count: int) -> None:
        self.members.append(position)
        self.parts.append(rows)
        self.counts.append(count)
        self.total += count

    def group(self, requests: Sequence[Any]) -> Group:
        if len(self.members) == 1:
            return Group((self.members[0],), (), requests[self.members[0]])
        request = {self.first.name: _concatenate(self.parts), **self.first.rest}
        return Group(tuple(self.members), tuple(self.counts), request)


def _same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    try:
        return bool(one == other)
    except ValueError:  # arrays among the other keys: comparing them gives an array
        return False


def _layout(rows: Any) -> Any:
    """What arrays must share to be concatenated without changing a value; None for lists."""
    return None if isinstance(rows, list) else (rows.dtype, rows.shape[1:])


_NOTHING: dict[str, Any] = {}
"""The rest of every request that brings rows only, as most do."""


def _as_rows(request: Any) -> _Rows | None:
    if not isinstance(request, dict):
        return None
    if len(request) == 1:
        ((name, rows),) = request.items()
        if name not in INPUT_NAMES:
            return None
        rest = _NOTHING
    else:
        names = [name for name in INPUT_NAMES if name in request]
        if len(names) != 1:
            return None
        (name,) = names
        rows = request[name]
        rest = {key: value for key, value in request.items() if key != name}
    if not isinstance(rows, list) and not (hasattr(rows, "dtype") and getattr(rows, "ndim", 0) > 0):
        return None
    return _Rows(name, rows, rest) if len(rows) else None


def row_count(request: Any) -> int:
    """How many rows a decoded request brings; 1 where it has none that could be joined."""
    if isinstance(request, dict):
        for name in INPUT_NAMES:
            rows: Any = request.get(name)
            if isinstance(rows, list) or getattr(rows, "ndim", 0) > 0:
                return len(rows) or 1
    return 1


def join(requests: Sequence[Any], max_rows: int) -> list[Group]:
    """Group decoded requests into as few runs as possible, each of at most `max_rows` rows.

    A request that brings more rows than that by itself runs alone.
    """
    runs: list[_Run] = []
    groups: list[Group] = []
    for position, request in enumerate(requests):
        part = _as_rows(request)
        if part is None:
            groups.append(Group((position,), (), request))
            continue
        count = len(part.rows)
        for run in runs:
            if run.total + count <= max_rows and run.first.joins(part):
                run.add(position, part.rows, count)
                break
        else:
            runs.append(_Run(position, part, count))
    return groups + [run.group(requests) for run in runs]


def _concatenate(parts: list[Any]) -> Any:
    if isinstance(parts[0], list):
        return [row for part in parts for row in part]
    import numpy

    return numpy.concatenate(parts)


def split(answer: Any, counts: Sequence[int]) -> list[Any] | None:
    """One answer per request, by row counts; None when the answer does not have one entry per row."""
    total = sum(counts)
    if isinstance(answer, Mapping):
        if not answer or not all(has_rows(value, total) for value in answer.values()):
            return None
        return [{key: value[start:end] for key, value in answer.items()} for start, end in _bounds(counts)]
    if not has_rows(answer, total):
        return None
    return [answer[start:end] for start, end in _bounds(counts)]


def has_rows(value: Any, count: int) -> bool:
    """Whether a value has exactly one entry per row and can be cut by rows."""
    if isinstance(value, (str, bytes, Mapping)) or not hasattr(value, "__getitem__"):
        return False
    if hasattr(value, "ndim") and value.ndim == 0:
        return False
    return hasattr(value, "__len__") and len(value) == count


def _bounds(counts: Sequence[int]) -> list[tuple[int, int]]:
    bounds = []
    start = 0
    for count in counts:
        bounds.append((start, start + count))
        start += count
    return bounds

"""What a plan would change of what is there."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from truss.config.values import SECRET_VARIABLE_PREFIX
from truss.deploy.plan import Plan, Resource, Revealed, as_json
from truss.deploy.target import Found
from truss.errors import NameTakenError


class Action(Enum):
    """What happens to a resource; the value is its sign in front of a line."""

    CREATE = "+"
    UPDATE = "~"
    DELETE = "-"
    KEEP = "="


@dataclass(frozen=True)
class Change:
    """What happens to one resource.

    Attributes:
        action: What.
        key: The resource's key.
        call: The call or command that does it.
        lines: What differs, as a unified diff without its head; the whole of a new resource.
    """

    action: Action
    key: str
    call: str = ""
    lines: tuple[str, ...] = ()


def change(resource: Resource, found: Found | None, deployment: str) -> Change:
    """What has to happen to one resource.

    Raises:
        NameTakenError: it is there, and we did not make it for this deployment.
    """
    if found is None:
        lines = tuple(f"+{line}" for line in _shown(resource.body))
        return Change(Action.CREATE, resource.key, resource.call, lines)
    _check_owner(found, deployment)
    if found.body == resource.body:
        return Change(Action.KEEP, resource.key)
    before = _masked(found.body, resource.body)
    return Change(Action.UPDATE, resource.key, resource.call, _difference(before, resource.body))


def _masked(before: Any, after: Any) -> Any:
    """What is there, without values that are to become those of secrets: they may be secret as well.

    So may be those of variables that a secret is read from, which a plan of today has no more.
    """
    if isinstance(after, Revealed):
        return after if before == after else _OTHER
    if isinstance(before, Mapping):
        below = after if isinstance(after, Mapping) else {}
        hidden = {key for key in before if str(key).startswith(SECRET_VARIABLE_PREFIX)}
        if str(before.get("name", "")).startswith(SECRET_VARIABLE_PREFIX):
            hidden.add("value")
        return {
            key: _masked(part, below.get(key)) if key not in hidden or below.get(key) == part else _OTHER
            for key, part in before.items()
        }
    if _is_list(before):
        rest = after[: len(before)] if _is_list(after) else ()
        return [_masked(one, part) for one, part in itertools.zip_longest(before, rest)]
    return before


_OTHER = "(another value)"


def superfluous(plan: Plan, owned: Sequence[Found]) -> tuple[Found, ...]:
    """What was made for the deployment earlier, and is neither part of it any more nor kept for its past."""
    return tuple(found for found in owned if found.key not in plan.keys and not found.kept)


def _check_owner(found: Found, deployment: str) -> None:
    if found.deployment != deployment:
        owner = (
            f"belongs to the deployment '{found.deployment}'" if found.deployment else "was not made by Truss"
        )
        raise NameTakenError(
            f"{found.key} is there already and {owner}; it is left as it is",
            where=found.key,
            hint="deploy under another name (--name), or remove it yourself",
        )


def _difference(before: Any, after: Any) -> tuple[str, ...]:
    texts = (_shown(before), _shown(after))
    return tuple(difflib.unified_diff(*texts, lineterm="", n=2))[2:]


def _shown(body: Any) -> list[str]:
    """A body as lines for a person; of one that is a file, the file's own."""
    if isinstance(body, Mapping) and body.keys() == {"text"}:
        return str(body["text"]).splitlines()
    return as_json(body).splitlines()


def restricted(actual: Any, like: Any) -> Any:
    """What a platform tells of a resource, without what nobody asked for: defaults, times, identifiers.

    Mappings keep the keys that `like` has, lists of the same length are restricted item by item. For
    platforms that fill in what is left out; a mapping whose keys a user chooses is to be compared whole.
    """
    if isinstance(actual, Mapping) and isinstance(like, Mapping):
        return {key: restricted(actual[key], part) for key, part in like.items() if key in actual}
    if _is_list(actual) and _is_list(like) and len(actual) == len(like):
        return [restricted(one, part) for one, part in zip(actual, like, strict=True)]
    return actual


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def change_lines(changes: Sequence[Change]) -> Iterator[str]:
    """The lines that show changes to a person."""
    for one in changes:
        call = f"  ({one.call})" if one.call else ""
        yield f"{one.action.value} {one.key}{call}"
        yield from (f"    {line}" for line in one.lines)

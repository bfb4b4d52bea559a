"""Things of AWS that cannot be changed: each change makes another one, numbered, and earlier ones stay."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from truss.deploy.aws.account import Account
from truss.deploy.aws.permissions import Right
from truss.deploy.plan import Resource
from truss.deploy.target import Found


class Unchangeable(Protocol):
    """The calls of one such thing."""

    @property
    def kind(self) -> str:
        """As of a `Resource`."""

    @property
    def rights(self) -> Sequence[Right]:
        """What its calls need."""

    def names(self, account: Account, deployment: str) -> Sequence[str]:
        """The names of those that are there, at least of the deployment's."""

    def read(self, account: Account, name: str, like: Any) -> tuple[Any, str]:
        """One as the plan's definition has it, as far as `like` says something of it; and whose it is."""

    def make(self, account: Account, name: str, definition: Any, deployment: str) -> None:
        """Make one, with the deployment's mark."""

    def remove(self, account: Account, name: str) -> None:
        """Remove one; nothing happens when it is gone already."""


class Revisions:
    """A kind of resource out of numbered things: `PREFIX-DEPLOYMENT-1`, `-2`; the last is the present one.

    Args:
        calls: The calls that they are made with.
        prefix: What their names begin with.
        runs: The name of the one that a deployment runs; empty: none that can be told.
    """

    def __init__(
        self, calls: Unchangeable, prefix: str, runs: Callable[[Account, str], str] = lambda *_: ""
    ) -> None:
        self._calls = calls
        self._prefix = prefix
        self._runs = runs

    @property
    def kind(self) -> str:
        """As of a `Resource`."""
        return self._calls.kind

    @property
    def rights(self) -> Sequence[Right]:
        """What the calls need."""
        return self._calls.rights

    def names(self, account: Account, deployment: str) -> list[str]:
        """Those of a deployment, the oldest first."""
        wanted = re.compile(rf"{re.escape(self._prefix + deployment)}-\d+")
        found = [name for name in self._calls.names(account, deployment) if wanted.fullmatch(name)]
        return sorted(found, key=lambda name: int(number(name)))

    def find(self, account: Account, resource: Resource) -> Found | None:
        """The last one."""
        return self._last(account, resource.name, resource.body["definition"])

    def create(self, account: Account, resource: Resource) -> Mapping[str, Any]:
        """Make the next one; gives its `name`."""
        body = resource.body
        names = self.names(account, resource.name)
        following = int(number(names[-1])) + 1 if names else 1
        name = f"{self._prefix}{resource.name}-{following}"
        self._calls.make(account, name, body["definition"], body["deployment"])
        return {"name": name}

    def update(self, account: Account, resource: Resource, found: Found) -> Mapping[str, Any]:  # noqa: ARG002  # as every kind
        """Make the next one; those that never ran, since a deployment broke off, are removed."""
        if running := self._runs(account, resource.name):
            self.remove_after(account, resource.name, running)
        return self.create(account, resource)

    def delete(self, account: Account, found: Found) -> None:
        """Remove all of them."""
        for name in self.names(account, found.name):
            self._calls.remove(account, name)

    def owned(self, account: Account, deployment: str) -> Sequence[Found]:
        """Those of the deployment, if they have its mark, as one."""
        found = self._last(account, deployment, None)
        return [found] if found is not None and found.deployment == deployment else []

    def remove_after(self, account: Account, deployment: str, name: str) -> None:
        """Remove those that came after one, which is then the last."""
        for later in self.names(account, deployment):
            if int(number(later)) > int(number(name)):
                self._calls.remove(account, later)

    def _last(self, account: Account, deployment: str, like: Any) -> Found | None:
        names = self.names(account, deployment)
        if not names:
            return None
        definition, owner = self._calls.read(account, names[-1], like)
        body = {"deployment": owner, "definition": definition}
        return Found(self.kind, deployment, body, owner, {"name": names[-1]}, frozenset({"name"}))


def number(name: str) -> str:
    """The number at the end of a name."""
    return name.rpartition("-")[2]

"""A platform whose resources are of several kinds, each with calls of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from truss.deploy.plan import Resource
from truss.deploy.target import Found

AccountT = TypeVar("AccountT")
AnyAccount = TypeVar("AnyAccount", contravariant=True)


class Lookup(Protocol[AnyAccount]):
    """One kind of resource that is looked up, by the calls of its service."""

    @property
    def kind(self) -> str:
        """As of a `Resource`."""

    def find(self, account: AnyAccount, resource: Resource) -> Found | None:
        """The one of this name, in the form of the plan's body."""


class Kind(Lookup[AnyAccount], Protocol[AnyAccount]):
    """One kind of resource that is made, by the calls of its service."""

    def create(self, account: AnyAccount, resource: Resource) -> Mapping[str, Any]:
        """Make it; gives its outputs."""

    def update(self, account: AnyAccount, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Make it what it has to be; gives its outputs."""

    def delete(self, account: AnyAccount, found: Found) -> None:
        """Remove it, and wait until it is gone where others wait for that."""

    def owned(self, account: AnyAccount, deployment: str) -> Sequence[Found]:
        """Those that were made for a deployment."""


class Entitled(Protocol):
    """What makes calls that a platform has to allow."""

    @property
    def rights(self) -> Sequence[str]:
        """What it needs for all that it does, as the platform's roles name it."""


class Kinds(Generic[AccountT]):
    """What a platform does resource by resource.

    Args:
        account: The account.
        kinds: Its kinds, in the order in which a deployment is made of them.
        lookups: Kinds of what is there anyway.
    """

    def __init__(
        self,
        account: AccountT,
        kinds: Sequence[Kind[AccountT]],
        lookups: Sequence[Lookup[AccountT]] = (),
    ) -> None:
        self.account = account
        self._kinds = {one.kind: one for one in kinds}
        self._lookups: Mapping[str, Lookup[AccountT]] = {one.kind: one for one in (*lookups, *kinds)}

    def find(self, resource: Resource) -> Found | None:
        """What its kind finds."""
        return self._lookups[resource.kind].find(self.account, resource)

    def create(self, resource: Resource) -> Mapping[str, Any]:
        """As its kind makes it."""
        return self._kinds[resource.kind].create(self.account, resource)

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:
        """As its kind changes it."""
        return self._kinds[resource.kind].update(self.account, resource, found)

    def delete(self, found: Found) -> None:
        """As its kind removes it."""
        self._kinds[found.kind].delete(self.account, found)

    def owned(self, deployment: str) -> Sequence[Found]:
        """Those of all kinds, the last made first."""
        kinds = reversed(self._kinds.values())
        return [found for kind in kinds for found in kind.owned(self.account, deployment)]

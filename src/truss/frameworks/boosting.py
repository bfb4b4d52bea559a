"""What the adapters of gradient boosting libraries share: whose object it is, and what it needs."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from importlib.metadata import PackageNotFoundError, distribution
from types import FunctionType
from typing import Any

from truss.errors import PackagingError

_CODE = (FunctionType, property, classmethod, staticmethod)


def library_kind(model: object, package: str, kinds: Collection[str]) -> str | None:
    """The library's own class that `model` behaves as, by name; None when it is none of `kinds`.

    A subclass with code of its own behaves as no class of the library: what it does must be kept, which
    the library's own file format cannot.
    """
    for base in type(model).__mro__:
        if base.__name__ in kinds and base.__module__.partition(".")[0] == package:
            return base.__name__
        if any(isinstance(member, _CODE) for member in vars(base).values()):
            return None
    return None


def installed_distribution(*names: str) -> str:
    """The first of several distributions of one library that is installed here; else the last name."""
    for name in names:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        return name
    return names[-1]


def not_fitted_error(model: object) -> PackagingError:
    """The error for a model that has not been trained."""
    return PackagingError(
        f"this {type(model).__name__} is not fitted, so it cannot answer requests",
        hint="fit first: `model.fit(X, y)`",
    )


def plain_labels(labels: Iterable[Any], what: str) -> list[Any]:
    """Labels of classes or categories as JSON's types.

    Raises:
        PackagingError: they are of another type; `what` says what they are labels of.
    """
    plain = [label.item() if hasattr(label, "item") else label for label in labels]
    for label in plain:
        if not isinstance(label, (bool, int, float, str)):
            raise PackagingError(
                f"{what} are labelled with values like {label!r}, which have no form in JSON",
                hint="train with numbers or texts as labels",
            )
    return plain

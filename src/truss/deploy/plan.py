"""What a deployment consists of, as plain values: nothing here acts, reads a clock or knows a platform."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from truss.config import secret_variable
from truss.errors import DeployError

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, slots=True)
class Output:
    """A value that the platform gives when another resource of the plan is there, such as its identifier.

    Attributes:
        resource: The key of that resource.
        name: What the platform calls the value.
    """

    resource: str
    name: str

    def __str__(self) -> str:
        return f"${{{self.resource}.{self.name}}}"


@dataclass(frozen=True, slots=True)
class SecretValue:
    """The value of a secret, looked up when the plan is applied, and shown by its name only."""

    name: str

    def __str__(self) -> str:
        return f"(value of the secret {self.name})"


class Revealed(str):
    """The value of a secret, to be given to the platform: `readable` shows its name instead.

    Attributes:
        secret: Its name.
    """

    secret: str

    def __new__(cls, value: str, secret: str) -> Self:
        """Mark a value as that of a secret."""
        made = super().__new__(cls, value)
        made.secret = secret
        return made


@dataclass(frozen=True)
class Resource:
    """One thing on a platform.

    Attributes:
        kind: What it is, as the platform calls it: `Deployment`, `ecs:service`.
        name: Its name there; unique among those of its kind.
        body: What it has to be: JSON values, `Output` and `SecretValue`.
        call: The call or command that makes it, as a person would look it up.
    """

    kind: str
    name: str
    body: Mapping[str, Any]
    call: str = ""

    @property
    def key(self) -> str:
        """Its kind and name: what tells it from all others of a plan."""
        return f"{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True)
class File:
    """A file for people who deploy by their own pipeline.

    Attributes:
        path: Where it goes below the folder, `/` between the parts.
        text: What it holds.
        secret: Whether it holds what nobody else may read.
    """

    path: str
    text: str
    secret: bool = False


@dataclass(frozen=True, slots=True)
class Price:
    """What it costs to keep a deployment, by a platform's published prices.

    Attributes:
        monthly: In US dollars, for 730 hours of the least number of copies.
        what: What it is the price of.
        as_of: When the price list said so, as `2026-11`; the year alone where the list has no more.
    """

    monthly: float
    what: str
    as_of: str

    def __str__(self) -> str:
        return f"about ${self.monthly:,.2f} a month for {self.what} (list prices of {self.as_of})"


@dataclass(frozen=True)
class Plan:
    """Everything that a deployment is to be.

    Attributes:
        target: The name of the target.
        deployment: The name of the deployment.
        resources: What is made, in that order; removed in the reverse one.
        files: The same for other pipelines, as the platform's own tools take it.
        notes: What a person should know: how sizes were translated, what the platform limits.
        price: What it costs to keep, where that is known.
        existing: What has to be there already and is only looked up, such as the account's network: the
            resources may use its outputs.
        asked: Whether what it deploys answers over HTTP, and so can be asked the Truss's examples.
    """

    target: str
    deployment: str
    resources: tuple[Resource, ...]
    files: tuple[File, ...] = ()
    notes: tuple[str, ...] = ()
    price: Price | None = None
    existing: tuple[Resource, ...] = ()
    asked: bool = True

    @property
    def keys(self) -> frozenset[str]:
        """The keys of its resources."""
        return frozenset(resource.key for resource in self.resources)


@dataclass(frozen=True)
class Known:
    """What becomes known while a plan is applied.

    Attributes:
        outputs: By a resource's key, the values that the platform gave for it.
        secrets: The values of secrets by name; None for one that has no value.
    """

    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    secrets: Mapping[str, str | None] = field(default_factory=dict, repr=False)


def resolved(resource: Resource, known: Known) -> Resource:
    """A resource with every value in it that is known by now; unknown outputs are left as they are.

    Raises:
        DeployError: a secret has no value.
    """
    return Resource(resource.kind, resource.name, _resolved(resource.body, known), resource.call)


def _resolved(value: Any, known: Known) -> Any:
    if isinstance(value, Output):
        return known.outputs.get(value.resource, {}).get(value.name, value)
    if isinstance(value, SecretValue):
        return _secret(value, known)
    if isinstance(value, Mapping):
        return {key: _resolved(part, known) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_resolved(part, known) for part in value]
    return value


def _secret(value: SecretValue, known: Known) -> Revealed:
    found = known.secrets.get(value.name)
    if found is None:
        raise DeployError(
            f"the secret '{value.name}' has no value",
            hint=f"set {secret_variable(value.name)}, or put it under `secrets:` in ~/.truss/config.yaml",
        )
    return Revealed(found, value.name)


def secrets_in(value: Any) -> Iterator[str]:
    """The names of the secrets whose values a body is to hold."""
    if isinstance(value, SecretValue):
        yield value.name
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from secrets_in(part)
    elif isinstance(value, Sequence) and not isinstance(value, str | bytes):
        for part in value:
            yield from secrets_in(part)


def readable(value: Any) -> Any:
    """A body as JSON values for people: what is not known yet, and what is secret, by its name."""
    if isinstance(value, Revealed):
        return str(SecretValue(value.secret))
    if isinstance(value, Output | SecretValue):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): readable(part) for key, part in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [readable(part) for part in value]
    return value


def as_json(value: Any) -> str:
    """A body as text, for files and for comparing."""
    return json.dumps(readable(value), indent=2, ensure_ascii=False) + "\n"

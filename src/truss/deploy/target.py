"""What a target is: one place to deploy to. A pure half that plans, and a half that acts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

from truss.deploy.plan import File, Plan, Resource
from truss.deploy.release import Release
from truss.oci import Credentials


class Feature(Enum):
    """What some targets can do and others cannot; the value is how the table in the docs calls it."""

    GPU = "GPUs"
    AUTOSCALING = "autoscaling"
    SCALE_TO_ZERO = "scales to zero"
    ROLLBACK = "rollback"
    LOGS = "logs"
    SECRETS = "secrets of the platform"
    STREAMING = "streamed answers"
    GRPC = "gRPC"
    STORES = "keeps images"
    APPLIES = "applied by Truss"


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a deployment to a target can be told, beside what the config of the Truss says.

    A target's own class has fields that are annotated with `option(...)`.
    """


def option(text: str) -> msgspec.Meta:
    """The description of an option."""
    return msgspec.Meta(description=text)


@dataclass(frozen=True)
class Found:
    """A resource as the platform has it.

    Attributes:
        kind: As of a `Resource`.
        name: As of a `Resource`.
        body: What it is now, in the form of the resource's body: equal bodies need no change.
        deployment: The name of the deployment that we made it for; empty: we did not make it.
        outputs: Values of it that other resources may need.
        renewed: The names of those that are others after a change, as where each change makes a revision.
        kept: Whether it stays until the deployment is destroyed, even if a plan no longer has it: earlier
            states of the deployment need it.
    """

    kind: str
    name: str
    body: Mapping[str, Any]
    deployment: str = ""
    outputs: Mapping[str, Any] = field(default_factory=dict)
    renewed: frozenset[str] = frozenset()
    kept: bool = False

    @property
    def key(self) -> str:
        """As of a `Resource`."""
        return f"{self.kind}/{self.name}"


State = Literal["healthy", "starting", "failed", "stopped"]


@dataclass(frozen=True)
class Status:
    """How a deployment does.

    Attributes:
        deployment: Its name.
        target: The name of the target.
        state: Whether it answers.
        url: Where it is reached; empty: it is not, or not over plain HTTP.
        image: The image that runs.
        ready: How many copies answer.
        wanted: How many there are to be.
        detail: What the platform says about what does not go well.
    """

    deployment: str
    target: str
    state: State
    url: str = ""
    image: str = ""
    ready: int = 0
    wanted: int = 0
    detail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revision:
    """A state of a deployment that can be gone back to.

    Attributes:
        id: What the platform calls it; later ones sort later in the list they come in.
        image: The image it runs.
        current: Whether it is what runs now.
        before: The `id` of what had the requests when it was made, which going back from it returns to;
            empty: the one ahead of it in the list.
    """

    id: str
    image: str
    current: bool = False
    before: str = ""


class Platform(Protocol):
    """A connection to where a target deploys. What it knows, it reads there; nothing is kept on this machine.

    Every method raises `PlatformAuthError` when credentials are missing or refused,
    `PlatformUnreachableError` when there is no answer, `QuotaError` when a limit of the account is reached,
    and `DeployError` for what else the platform refuses.
    """

    def find(self, resource: Resource) -> Found | None:
        """The resource of this kind and name, whoever made it; None: there is none."""

    def create(self, resource: Resource) -> Mapping[str, Any]:
        """Make a resource that is not there, marked as the deployment's; gives its outputs."""

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:
        """Make one that is there what it has to be; gives its outputs."""

    def delete(self, found: Found) -> None:
        """Remove one, and return when it is gone. Nothing happens when it is gone already."""

    def owned(self, deployment: str) -> Sequence[Found]:
        """Everything that was made for a deployment, in the order in which it can be removed."""

    def deployments(self) -> Sequence[Status]:
        """All deployments that were made by us here."""

    def status(self, deployment: str) -> Status | None:
        """How a deployment does; None: there is none of this name."""

    def logs(self, deployment: str, *, follow: bool = False, lines: int = 100) -> Iterator[str]:
        """What its servers have written, the oldest of the last `lines` lines first, without line ends."""

    def revisions(self, deployment: str) -> Sequence[Revision]:
        """The states that can be gone back to, and the present one, the oldest first."""

    def roll_back(self, deployment: str, revision: Revision) -> None:
        """Make a deployment again what it was; returns before that has happened everywhere."""

    def ask(self, deployment: str, body: bytes) -> bytes:
        """The deployment's answer to a prediction request; both are JSON."""


@dataclass(frozen=True)
class Storage:
    """Where a platform keeps the images of a deployment.

    Attributes:
        resource: The key of the plan's resource that it is; that one is made before an image is pushed.
        repository: The repository, without a tag, as the platform itself calls it.
        pushed_to: The same as this machine reaches it.
    """

    resource: str
    repository: str
    pushed_to: str


@runtime_checkable
class Stores(Protocol):
    """What a platform also does whose target has the feature `STORES`: it keeps a deployment's images.

    Its target's plans have a repository among their resources unless the user names one. The errors are
    those of `Platform`.
    """

    def storage(self, deployment: str) -> Storage:
        """Where the images of a deployment are, or will be; makes nothing."""

    def login(self) -> Credentials:
        """Who may push there, for as long as a push takes."""


class Target(Protocol):
    """One place to deploy to.

    Attributes:
        name: What follows `--to`.
        summary: What it is, in a few words.
        options: What it can be told.
        features: What it can do.
    """

    name: str
    summary: str
    options: type[Options]
    features: frozenset[Feature]

    def repository(self, options: Any) -> str | None:
        """Where images for it are pushed, without a tag; None: not at all.

        Empty: nobody says. Then a platform that `Stores` images has a place for them.
        """

    def plan(self, release: Release, options: Any) -> Plan:
        """What a release would be there. Needs no credentials, no package of the platform and no network.

        Raises:
            PlanError: the platform cannot do what is asked; the hint says what it can.
        """

    def connect(self, options: Any) -> Platform:
        """A connection to the platform.

        Raises:
            MissingExtraError: the platform's package is not installed.
            PlatformAuthError: there are no credentials.
        """


@runtime_checkable
class PermittedTarget(Target, Protocol):
    """A target that can say what its platform has to allow to whoever deploys. Not every target need."""

    def permissions(self) -> File:
        """That, as the platform's own tools take it: for all the options, and for any deployment's name."""


@runtime_checkable
class ArchiveTarget(Target, Protocol):
    """A target that runs no images but Python of its own: the Truss goes there as an archive.

    What its plans are told as a release's image is where that archive is; its platform is an
    `ArchivePlatform`. Every method of `Target` holds besides, but `repository`, which nobody asks it for.
    """

    def archive(self, digest: str, options: Any) -> str:
        """Where the archive with this hexadecimal SHA-256 will be; for the same digest always the same."""


class ArchivePlatform(Platform, Protocol):
    """A connection to where archives can be put."""

    def upload(self, archive: Path, place: str) -> None:
        """Put an archive where its target says; nothing happens when it is there already."""

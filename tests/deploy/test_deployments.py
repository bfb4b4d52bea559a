"""What becomes of a deployment whose platform refuses a step, or gives no answer for a while.

The platform is one of the test's own, with a service that has revisions: no platform here does these things
when asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from truss.config import read_config
from truss.deploy import Plan, Release, Revision, Status
from truss.deploy.plan import Resource
from truss.deploy.target import Found, Options
from truss.deployments import Deployment
from truss.errors import NotDeployedError, PlatformRefusalError, PlatformUnreachableError

FIRST, SECOND = (f"registry.example.com/iris@sha256:{digit * 64}" for digit in "12")


@dataclass
class Shelf:
    """A platform with one service, which does as told."""

    images: list[str] = field(default_factory=list)
    refuses: str = ""
    silent: int = 0
    cannot_go_back: bool = False
    told: list[Revision] = field(default_factory=list)

    def find(self, resource: Resource) -> Found | None:
        if not self.images:
            return None
        return Found(resource.kind, resource.name, {"image": self.images[-1]}, resource.name)

    def create(self, resource: Resource) -> Mapping[str, Any]:
        self.images.append(resource.body["image"])
        if resource.body["image"] == self.refuses:
            raise PlatformRefusalError("the shelf broke", hint="mend it")
        return {}

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:
        return self.create(resource)

    def owned(self, deployment: str) -> Sequence[Found]:
        return [] if not self.images else [Found("service", deployment, {}, deployment)]

    def revisions(self, deployment: str) -> Sequence[Revision]:
        return self.told or [
            Revision(str(number), image, number == len(self.images))
            for number, image in enumerate(self.images, 1)
        ]

    def roll_back(self, deployment: str, revision: Revision) -> None:
        if self.cannot_go_back:
            raise PlatformRefusalError("there is no way back")
        self.images.append(revision.image)

    def status(self, deployment: str) -> Status | None:
        if self.silent:
            self.silent -= 1
            raise PlatformUnreachableError("nobody answers")
        return Status(deployment, "shelf", "healthy", image=self.images[-1])


@dataclass(frozen=True)
class ShelfTarget:
    """Where the shelf is."""

    shelf: Shelf
    name = "shelf"
    summary = "a shelf"
    options = Options
    features: frozenset[Any] = frozenset()

    def repository(self, options: Any) -> str:
        return "registry.example.com/iris"

    def plan(self, release: Release, options: Any) -> Plan:
        body = {"image": release.image}
        return Plan(self.name, release.name, (Resource("service", release.name, body, "put"),))

    def connect(self, options: Any) -> Any:
        return self.shelf


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def deployment(shelf: Shelf, small: Callable[..., Path]) -> Deployment:
    folder = small("iris")
    return Deployment(folder, read_config(folder), ShelfTarget(shelf), Options(), "iris")  # type: ignore[arg-type]


def test_a_step_that_is_refused_halfway_gives_way_to_what_ran(deployment: Deployment, shelf: Shelf) -> None:
    deployment.apply(deployment.plan(FIRST))
    shelf.refuses = SECOND
    with pytest.raises(PlatformRefusalError, match="the shelf broke") as caught:
        deployment.apply(deployment.plan(SECOND))
    assert caught.value.hint == f"mend it; it went back to revision 1, {FIRST}"
    assert shelf.images[-1] == FIRST


def test_what_cannot_go_back_still_says_why_it_had_to(deployment: Deployment, shelf: Shelf) -> None:
    deployment.apply(deployment.plan(FIRST))
    shelf.refuses, shelf.cannot_go_back = SECOND, True
    with pytest.raises(PlatformRefusalError, match="the shelf broke") as caught:
        deployment.apply(deployment.plan(SECOND))
    assert "did not mend it: there is no way back" in str(caught.value.hint)


def test_a_first_deployment_that_is_refused_is_left(deployment: Deployment, shelf: Shelf) -> None:
    shelf.refuses = FIRST
    with pytest.raises(PlatformRefusalError) as caught:
        deployment.apply(deployment.plan(FIRST))
    assert "left as it is" in str(caught.value.hint)


def test_a_platform_may_be_silent_for_a_while(deployment: Deployment, shelf: Shelf) -> None:
    shelf.silent = 2
    pauses: list[float] = []
    shelf.images.append(FIRST)
    assert deployment.wait(timeout=60, sleep=pauses.append).image == FIRST
    assert len(pauses) == 2
    shelf.silent = 1
    with pytest.raises(PlatformUnreachableError):
        deployment.wait(timeout=-1, sleep=pauses.append)


@pytest.mark.parametrize(
    ("revisions", "chosen"),
    [
        ([Revision("1", FIRST), Revision("2", SECOND, True)], "1"),
        ([Revision("1", FIRST), Revision("2", SECOND, True), Revision("3", FIRST)], "1"),
        ([Revision("1", FIRST), Revision("2", SECOND), Revision("3", FIRST, True, "1")], "1"),
        ([Revision("2", SECOND), Revision("3", FIRST, True, "1")], "2"),
        ([Revision("1", FIRST), Revision("2", SECOND)], "2"),
        ([Revision("1", FIRST, True), Revision("2", SECOND)], None),
    ],
    ids=["two", "a later one", "one that was left", "one that is gone", "none runs", "the first runs"],
)
def test_going_back_is_to_what_ran_before_the_present_one(
    deployment: Deployment, shelf: Shelf, revisions: list[Revision], chosen: str | None
) -> None:
    shelf.images.append(FIRST)
    shelf.told = revisions
    if chosen is None:
        with pytest.raises(NotDeployedError, match="no earlier revision") as caught:
            deployment.roll_back()
        assert caught.value.hint == "name one with --revision: 2"
        return
    said: list[str] = []
    deployment.roll_back(say=said.append)
    assert said[0].startswith(f"Going back to revision {chosen},")


def test_what_does_not_answer_over_http_is_not_asked(deployment: Deployment, shelf: Shelf) -> None:
    example = "- {name: one, input: {inputs: []}, expected: {predictions: [1]}}\n"
    (deployment.truss_dir / "examples.yaml").write_text(example)
    plan = deployment.plan(FIRST)
    with pytest.raises(AttributeError, match="ask"):
        deployment.apply(plan)
    assert deployment.apply(replace(plan, asked=False)).image == FIRST

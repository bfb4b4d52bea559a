"""The suite that every target must pass.

Derive a class whose name starts with `Test` in a test module, and pytest runs the checks of its plans::

    class TestMyTarget(TargetConformance):
        target = MyTarget()

A target that Truss itself applies also derives from `PlatformConformance`, and says what it deploys to.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import PurePosixPath
from typing import Any

import pytest

from truss.config import TrussConfig, parse_config, secret_variable
from truss.deploy import Plan, Platform, Release, Target, apply, compare, describe, destroy, read_options
from truss.deploy.changes import Action
from truss.deploy.plan import Resource, as_json, secrets_in
from truss.deploy.target import Found
from truss.errors import DeployError, NameTakenError, NotDeployedError, PlanError

IMAGE = f"registry.example.com/team/model@sha256:{'1' * 64}"
OTHER_IMAGE = f"registry.example.com/team/model@sha256:{'2' * 64}"

_CONFIG = """
model_name: flowers
resources: {cpu: "1", memory: 2Gi}
environment_variables: {LEVEL: "h$gh"}
secrets: {api-key: a-default-that-nobody-sees}
"""

_PLAN = """
import importlib, sys
from truss.config import parse_config
from truss.deploy import Release, read_options
module, name, image = sys.argv[1:4]
target = getattr(importlib.import_module(module), name)()
before = set(sys.modules)
target.plan(Release("flowers", image, parse_config("model_name: flowers")), read_options(target, {}))
own = {module.partition(".")[0], "truss", "msgspec", "ruamel"}
loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
print(",".join(sorted(loaded - own - sys.stdlib_module_names)))
"""


class TargetConformance:
    """Checks of a target's plans, as pytest test methods.

    Attributes:
        target: The target under test.
        options: What it has to be told, by name.
    """

    target: Target
    options: Mapping[str, Any] = {}

    def planned(self, config: str = _CONFIG, image: str = IMAGE, **options: Any) -> Plan:
        """A plan of a model."""
        return _plan(self.target, {**self.options, **options}, parse_config(config), image)

    def test_describes_itself(self) -> None:
        """Its name can follow `--to`, its summary is one line, and every option is explained."""
        assert self.target.name == self.target.name.strip().lower()
        assert " " not in self.target.name
        assert self.target.summary.strip() == self.target.summary
        assert "\n" not in self.target.summary
        assert self.target.features, "a target can do something"
        for one in describe(self.target):
            assert one.text, f"the option {one.name} is not explained: annotate it with `option(...)`"

    def test_plans_alike(self) -> None:
        """The same release gives the same plan, of values that JSON has."""
        assert self.planned() == self.planned()
        for resource in self.planned().resources:
            json.loads(as_json(resource.body))

    def test_resources_have_a_key_each(self) -> None:
        """No two are of one kind and name."""
        keys = [resource.key for resource in self.planned().resources]
        assert keys
        assert len(set(keys)) == len(keys)

    def test_what_is_deployed_is_in_the_plan(self) -> None:
        """The image and the config's environment are."""
        text = _text(self.planned())
        assert IMAGE in text
        assert "LEVEL" in text
        assert "h$gh" in text.replace("\\", "") or "h$$gh" in text

    def test_another_image_changes_the_plan(self) -> None:
        """And nothing else does."""
        assert _text(self.planned()).replace(IMAGE, OTHER_IMAGE) == _text(self.planned(image=OTHER_IMAGE))

    def test_values_of_secrets_are_in_no_plan(self) -> None:
        """A secret is a marker that is resolved when the plan is applied; files hold its name only."""
        plan = self.planned()
        everything = _text(plan) + "".join(file.text for file in plan.files) + "".join(plan.notes)
        assert "a-default-that-nobody-sees" not in everything
        names = {name for resource in plan.resources for name in secrets_in(resource.body)}
        assert names <= {"api-key"}
        told = "api-key" in everything or secret_variable("api-key") in everything
        assert told, "the plan, or a note of it, has to say where the secret comes from"

    def test_files_stay_below_their_folder(self) -> None:
        """Paths are relative, and each is there once."""
        paths = [PurePosixPath(file.path) for file in self.planned().files]
        assert len(set(paths)) == len(paths)
        assert not [path for path in paths if path.is_absolute() or ".." in path.parts]

    def test_a_gpu_is_planned_or_refused_with_an_alternative(self) -> None:
        """Never left out in silence."""
        config = f"{_CONFIG.replace('memory: 2Gi', 'memory: 2Gi, accelerator: L4')}"
        try:
            plan = self.planned(config)
            told = _text(plan) + "".join(plan.notes)
        except PlanError as error:
            told = f"no GPU: {error.hint}" if error.hint else ""
        assert "GPU" in told.upper(), "say what becomes of the GPU, or what can be done without"

    def test_planning_loads_nothing_of_the_platform(self) -> None:
        """People without its package read plans, and write their files, as well."""
        kind = type(self.target)
        if self.options:
            return  # what it has to be told is checked with the plans above
        done = subprocess.run(
            [sys.executable, "-c", _PLAN, kind.__module__, kind.__qualname__, IMAGE],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stdout.strip(), f"planning imported {done.stdout.strip()}"

    def test_options_that_are_wrong_are_named(self) -> None:
        """By their place in a config."""
        with pytest.raises(PlanError) as caught:
            read_options(self.target, {"no_such_option": 1})
        assert "no_such_option" in str(caught.value)


class PlatformConformance:
    """Checks of what a target does on its platform; one that is empty is made for each of them.

    Attributes:
        target: The target under test.
        options: What it has to be told, by name.
        config: The config of the model that is deployed: it has a secret, and may ask for more.
        secrets: The values of the secrets of the model that is deployed.
        image: An image that the platform can get, or need not get.
        other_image: Another one.
    """

    target: Target
    options: Mapping[str, Any] = {}
    config: str = _CONFIG
    secrets: Mapping[str, str | None] = {"api-key": "s3cret-value"}  # a test class, never changed
    image: str = IMAGE
    other_image: str = OTHER_IMAGE

    def platform(self) -> AbstractContextManager[Platform]:
        """An empty platform, for the length of a block."""
        raise NotImplementedError

    def planned(self, image: str = "") -> Plan:
        """A plan of a model with a secret."""
        return _plan(self.target, self.options, parse_config(self.config), image or self.image)

    def test_applying_makes_everything_and_again_nothing(self) -> None:
        """Every resource is found as it was planned, and the deployment is told of."""
        plan = self.planned()
        with self.platform() as platform:
            made = apply(plan, platform, self.secrets)
            assert {one.action for one in made} == {Action.CREATE}
            again = apply(plan, platform, self.secrets)
            assert {one.action for one in again} == {Action.KEEP}, [one.key for one in again]
            status = platform.status(plan.deployment)
            assert status is not None
            assert (status.deployment, status.target) == (plan.deployment, plan.target)
            assert status.image == self.image
            assert plan.deployment in [one.deployment for one in platform.deployments()]

    def test_what_changed_is_changed(self) -> None:
        """Another image changes something, and a look at it beforehand says the same."""
        with self.platform() as platform:
            apply(self.planned(), platform, self.secrets)
            wanted = self.planned(self.other_image)
            foretold = compare(wanted, platform, self.secrets)
            done = apply(wanted, platform, self.secrets)
            assert [(one.key, one.action) for one in foretold] == [(one.key, one.action) for one in done]
            assert {one.action for one in done} > {Action.KEEP} or {one.action for one in done} == {
                Action.UPDATE
            }
            status = platform.status(wanted.deployment)
            assert status is not None
            assert status.image == self.other_image

    def test_it_goes_back(self) -> None:
        """To the image that ran before, where the platform can."""
        with self.platform() as platform:
            plan = self.planned()
            apply(plan, platform, self.secrets)
            apply(self.planned(self.other_image), platform, self.secrets)
            earlier = [one for one in platform.revisions(plan.deployment) if not one.current]
            if not earlier:
                pytest.skip("this platform keeps no revisions")
            assert earlier[-1].image == self.image
            platform.roll_back(plan.deployment, earlier[-1])
            status = platform.status(plan.deployment)
            assert status is not None
            assert status.image == self.image

    def test_destroying_leaves_nothing(self) -> None:
        """Everything that a plan made is found by its marks, and removed; a second time there is nothing."""
        plan = self.planned()
        with self.platform() as platform:
            apply(plan, platform, self.secrets)
            removed = destroy(plan.deployment, platform)
            assert set(removed) == plan.keys
            assert platform.owned(plan.deployment) == []
            assert platform.status(plan.deployment) is None
            with pytest.raises(NotDeployedError):
                destroy(plan.deployment, platform)

    def test_what_broke_off_is_gone_on_with(self) -> None:
        """After each of its steps: every try finds what those before it made, and makes one thing more."""
        plan = self.planned()
        keys = [resource.key for resource in plan.resources]
        with self.platform() as platform:
            for steps, key in enumerate(keys):
                said: list[str] = []
                with pytest.raises(DeployError, match="broke off"):
                    apply(plan, _BreaksOff(platform, min(steps, 1)), self.secrets, said.append)
                assert said == [f"Making {one}" for one in (*keys[max(steps - 1, 0) : steps], key)]
            done = apply(plan, platform, self.secrets)
            assert [one.key for one in done if one.action is not Action.KEEP] == keys[-1:]
            assert {one.action for one in apply(plan, platform, self.secrets)} == {Action.KEEP}

    def test_a_change_that_broke_off_is_gone_on_with(self) -> None:
        """After each of its steps, until all of it is as planned."""
        with self.platform() as platform:
            apply(self.planned(), platform, self.secrets)
            wanted = self.planned(self.other_image)
            _again(lambda breaking: apply(wanted, breaking, self.secrets), platform)
            assert {one.action for one in apply(wanted, platform, self.secrets)} == {Action.KEEP}
            status = platform.status(wanted.deployment)
            assert status is not None
            assert status.image == self.other_image

    def test_a_removal_that_broke_off_is_gone_on_with(self) -> None:
        """After each of its steps, until nothing is left."""
        plan = self.planned()
        with self.platform() as platform:
            apply(plan, platform, self.secrets)
            _again(lambda breaking: destroy(plan.deployment, breaking), platform)
            assert platform.owned(plan.deployment) == []
            assert platform.status(plan.deployment) is None

    def test_what_others_made_is_left_alone(self) -> None:
        """A deployment of another name owns nothing of this one, and may not take it over."""
        plan = self.planned()
        with self.platform() as platform:
            apply(plan, platform, self.secrets)
            assert platform.owned("another") == []
            theirs = Plan(plan.target, "another", plan.resources)
            with pytest.raises(NameTakenError):
                apply(theirs, platform, self.secrets)
            assert {one.action for one in compare(plan, platform, self.secrets)} == {Action.KEEP}


_MOST_TRIES = 50


def _again(do: Callable[[Any], object], platform: Platform) -> None:
    """Do something on a platform that breaks off, after one step, then after two, until it is done.

    One step at a time would not do: removing what goes along with another thing is a step without an effect.
    """
    tries = (_broke_off(do, platform, steps) for steps in range(1, _MOST_TRIES))
    assert not all(tries), f"it is not done after {_MOST_TRIES} tries"


def _broke_off(do: Callable[[Any], object], platform: Platform, steps: int) -> bool:
    breaking = _BreaksOff(platform, steps)
    try:
        do(breaking)
    except DeployError:
        assert breaking.broken, "it is refused, not broken off"
    return breaking.broken


class _BreaksOff:
    """A platform on which only so many resources can be made, changed or removed."""

    def __init__(self, platform: Platform, steps: int) -> None:
        self._platform = platform
        self._left = steps
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._platform, name)

    def create(self, resource: Resource) -> Mapping[str, Any]:
        self._step()
        return self._platform.create(resource)

    def update(self, resource: Resource, found: Found) -> Mapping[str, Any]:
        self._step()
        return self._platform.update(resource, found)

    def delete(self, found: Found) -> None:
        self._step()
        self._platform.delete(found)

    def _step(self) -> None:
        if not self._left:
            self.broken = True
            raise DeployError("the connection broke off")
        self._left -= 1

    def owned(self, deployment: str) -> Sequence[Found]:
        return self._platform.owned(deployment)


def _plan(target: Target, options: Mapping[str, Any], config: TrussConfig, image: str) -> Plan:
    return target.plan(Release("flowers", image, config), read_options(target, options))


def _text(plan: Plan) -> str:
    return "".join(as_json(resource.body) for resource in plan.resources)

"""The suite of targets, over all that come with Truss."""

import pytest

from truss.deploy import target_named, targets
from truss.deploy.registry import BUILT_IN
from truss.errors import DeployError
from truss.testing.targets import TargetConformance


def _suite(name):
    return type(f"Test_{name.replace('-', '_')}", (TargetConformance,), {"target": target_named(name)})


globals().update({suite.__name__: suite for suite in map(_suite, BUILT_IN)})


def test_every_built_in_target_has_its_own_name(monkeypatch):
    monkeypatch.setenv("TRUSS_PLUGINS", "none")
    assert [target.name for target in targets()] == list(BUILT_IN)


def test_a_name_that_is_no_target_is_refused_with_those_that_are():
    with pytest.raises(DeployError) as caught:
        target_named("cloud-nine")
    assert "kubernetes" in str(caught.value)

"""The suite of targets, over all that come with Truss."""

import json

import pytest
import yaml

from truss.cli import main
from truss.deploy import PermittedTarget, target_named, targets
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


@pytest.mark.parametrize(
    "name", [name for name in BUILT_IN if isinstance(target_named(name), PermittedTarget)]
)
def test_what_has_to_be_allowed_is_printed_as_a_file(name, capsys):
    file = target_named(name).permissions()
    assert main(["targets", name, "--permissions"]) == 0
    assert capsys.readouterr().out == file.text
    assert isinstance(yaml.safe_load(file.text), dict)
    assert main(["targets", name, "--permissions", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": file.path, "text": file.text}


@pytest.mark.parametrize("words", [[], ["compose"]])
def test_a_target_that_does_not_say_what_has_to_be_allowed_is_named(words, capsys):
    assert main(["targets", *words, "--permissions"]) == 1
    said = capsys.readouterr().err
    assert "".join(words) in said
    assert "ecs" in said

"""The right framework is found, and an object of none gets advice."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.svm import SVC

from truss.errors import UnsupportedObjectError
from truss.frameworks.registry import BUILT_IN, framework_for, frameworks

ADAPTER = """
class Adapter:
    name = {name!r}
    model_framework = "custom"
    summary = "objects that say so"

    def recognises(self, model):
        return getattr(model, "marked_for", None) == self.name

    def save(self, model, data_dir):
        raise NotImplementedError

    def answer(self, model, request):
        raise NotImplementedError
"""


def install(folder: Path, name: str, source: str) -> None:
    """Lay a package and its metadata into `folder`, as an installer does."""
    (folder / f"{name}_adapter.py").write_text(source)
    info = folder / f"{name}_adapter-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-adapter\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[truss.frameworks]\n{name} = {name}_adapter:Adapter\n")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A folder on the import path with two adapters of third parties, `alpha` and `beta`."""
    monkeypatch.delenv("TRUSS_PLUGINS", raising=False)
    for name in ("alpha", "beta"):
        install(tmp_path, name, ADAPTER.format(name=name))
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in list(sys.modules):
        if name.endswith("_adapter"):
            del sys.modules[name]


def answer(request):
    return request


def names() -> list[str]:
    return [framework.name for framework in frameworks()]


class Marked(LinearRegression):
    marked_for = "beta"


def test_the_built_in_frameworks_are_named_as_in_the_table(monkeypatch):
    monkeypatch.setenv("TRUSS_PLUGINS", "none")
    assert names() == list(BUILT_IN)
    assert names()[-1] == "callable"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (SVC(), "sklearn"),
        (torch.nn.Linear(1, 1), "torch"),
        (answer, "callable"),
        (len, "callable"),
    ],
)
def test_an_object_finds_its_framework(model, name):
    assert framework_for(model).name == name


def test_installed_adapters_are_asked_first(installed):
    assert names()[:2] == ["alpha", "beta"]
    assert framework_for(Marked()).name == "beta"
    assert framework_for(LinearRegression()).name == "sklearn"


@pytest.mark.parametrize(
    ("value", "expected"), [("none", []), ("", []), ("beta", ["beta"]), ("beta, alpha", ["alpha", "beta"])]
)
def test_the_environment_limits_installed_adapters(installed, monkeypatch, value, expected):
    monkeypatch.setenv("TRUSS_PLUGINS", value)
    assert names()[: -len(BUILT_IN)] == expected


def test_a_broken_adapter_is_left_out_with_a_warning(installed):
    install(installed, "gamma", "raise ImportError('no such library')")
    with pytest.warns(RuntimeWarning, match=r"gamma.*no such library.*TRUSS_PLUGINS"):
        assert names()[:2] == ["alpha", "beta"]


def test_an_adapter_cannot_take_the_name_of_a_built_in_one(installed):
    install(installed, "sklearn", ADAPTER.format(name="sklearn"))
    with pytest.warns(RuntimeWarning, match="taken by a built-in framework"):
        assert framework_for(SVC()).summary != "objects that say so"


class Forecaster:
    def forecast(self):
        return 1


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        (None, "this is None"),
        (SVC, "class SVC itself"),
        (Forecaster, "class Forecaster itself"),
        (ModuleType("weather"), "the module weather"),
        ("my_model/", "truss.load(path)"),
        (Path("my_model"), "truss.load(path)"),
        ([SVC(), SVC()], "list of 2: package each model by itself"),
        ({"a": SVC()}, "dict of 1"),
        (torch.nn.Linear(1, 1).state_dict(), "weights without their code"),
        (torch.zeros(2), "PyTorch"),
        (Forecaster(), "package a function that calls it"),
        (np.zeros(3), "package a function that calls it"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_an_object_of_no_framework_gets_advice(model, advice):
    with pytest.raises(UnsupportedObjectError) as caught:
        framework_for(model)
    text = str(caught.value)
    assert advice in text
    assert f"{type(model).__module__}.{type(model).__qualname__}" in text
    assert "docs/guides/writing-a-framework.md" in text
    for name in BUILT_IN:
        assert f"  {name}: " in text

"""What the adapter for callables saves, refuses and says."""

import asyncio
import inspect
import json
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.callable import async_model_class, model_class
from truss.frameworks.callable.adapter import CallableFramework

FRAMEWORK = CallableFramework()
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


def no_arguments() -> int:
    return 1


def two_arguments(request: Any, other: Any) -> Any:
    return request, other


class Doubler:
    def __call__(self, request: Any) -> Any:
        return [2 * item for item in request["inputs"]]


@pytest.mark.parametrize(
    "model",
    [Doubler, torch.nn.Linear(1, 1), "text", 3, ModuleType("weather")],
    ids=["class", "module of torch", "text", "number", "module"],
)
def test_classes_models_of_libraries_and_data_are_not_recognised(model):
    assert not FRAMEWORK.recognises(model)


@pytest.mark.parametrize(
    ("model", "name"),
    [(no_arguments, "no_arguments"), (two_arguments, "two_arguments"), (Doubler.__call__, "__call__")],
)
def test_a_function_that_cannot_take_a_request_is_refused(model, name, tmp_path):
    with pytest.raises(PackagingError, match=f"'{name}' cannot be called with a request") as caught:
        FRAMEWORK.save(model, tmp_path)
    assert "def answer(request)" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


def test_a_partial_that_leaves_one_argument_is_taken(tmp_path):
    FRAMEWORK.save(partial(two_arguments, other=1), tmp_path)
    assert (tmp_path / "model" / "function.cloudpickle").is_file()


def test_a_variable_that_cannot_be_saved_is_named_with_its_remedy(tmp_path):
    guard = threading.Lock()

    def answer(request: Any) -> Any:
        with guard:
            return request

    with pytest.raises(PackagingError) as caught:
        FRAMEWORK.save(answer, tmp_path)
    assert "the function 'answer' cannot be saved" in str(caught.value)
    assert "the closure variable 'guard' (a _thread.lock)" in str(caught.value)
    assert "truss.init" in caught.value.hint


def test_without_cloudpickle_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)
    with pytest.raises(MissingExtraError, match=r"truss\[callable\]"):
        FRAMEWORK.save(lambda request: request, tmp_path)


def test_code_saved_by_value_is_tied_to_the_version_of_python(tmp_path):
    saved = FRAMEWORK.save(lambda request: request, tmp_path)
    assert saved.model_metadata == {"code_python_version": HERE}
    assert f"bytecode of Python {HERE}" in saved.notes[0]


@pytest.mark.parametrize("module", [model_class, async_model_class])
def test_another_python_refuses_to_load_it(module, tmp_path):
    model = module.Model(
        data_dir=tmp_path, config={"model_metadata": {"code_python_version": "3.99"}}, secrets={}
    )
    with pytest.raises(RuntimeError, match=r"saved by Python 3\.99"):
        model.load()


def test_the_two_model_classes_differ_in_predict_only():
    """They are files of their own so that each reads well; nothing else may drift apart."""
    for name in ("__init__", "load", "preprocess", "postprocess", "_check_python"):
        one, other = getattr(model_class.Model, name), getattr(async_model_class.Model, name)
        assert inspect.getsource(one) == inspect.getsource(other)


class TestAnswer:
    def test_a_generator_gives_the_list_of_what_it_yields(self):
        assert FRAMEWORK.answer(lambda request: (2 * item for item in request), [1, 2]) == [2, 4]

    def test_a_coroutine_is_awaited_inside_a_running_loop_too(self):
        async def double(request: Any) -> Any:
            await asyncio.sleep(0)
            return 2 * request

        async def notebook() -> Any:
            return FRAMEWORK.answer(double, 4)

        assert FRAMEWORK.answer(double, 2) == 4
        assert asyncio.run(notebook()) == 8

    def test_what_a_coroutine_raises_arrives_as_it_is(self):
        async def fail(request: Any) -> Any:
            raise KeyError("inputs")

        with pytest.raises(KeyError, match="inputs"):
            FRAMEWORK.answer(fail, {})


class TestScript:
    """A script beside a module of its own: the script's code goes by value, the module's by reference."""

    MODULE = """
FACTOR = 3

def triple(item):
    return FACTOR * item

class Tripler:
    def __call__(self, request):
        return {"predictions": [triple(item) for item in request["inputs"]]}
"""
    SCRIPT = """
import json, sys
from pathlib import Path
import arithmetic
from arithmetic import Tripler, triple
from truss.frameworks.callable.adapter import CallableFramework

OFFSET = 100

class Adder:
    def __init__(self, amount):
        self.amount = amount

    def __call__(self, item):
        return item + self.amount

adder = Adder(OFFSET)

def own(request):
    return {"predictions": [adder(triple(item)) for item in request["inputs"]]}

def through_module(request):
    return {"predictions": [arithmetic.triple(item) for item in request["inputs"]]}

def imports_inside(request):
    import colorsys, arithmetic as a
    return {"predictions": [a.triple(item) for item in request["inputs"]]}

model = eval(sys.argv[1])
saved = CallableFramework().save(model, Path(sys.argv[2]))
modules = {getattr(item, "__module__", None) or item.__name__ for item in saved.pickled_objects}
print(json.dumps({
    "metadata": dict(saved.model_metadata),
    "modules": sorted(modules),
    "live": CallableFramework().answer(model, {"inputs": [1, 2]}),
}))
"""
    LOAD = """
import json, sys
from pathlib import Path
from truss.frameworks.callable.model_class import Model
model = Model(data_dir=Path(sys.argv[1]), config={"model_metadata": json.loads(sys.argv[2])}, secrets={})
model.load()
print(json.dumps(model.predict({"inputs": [1, 2]})))
"""

    def package(self, expression: str, folder: Path) -> Any:
        (folder / "arithmetic.py").write_text(self.MODULE)
        (folder / "script.py").write_text(self.SCRIPT)
        (folder / "data").mkdir()
        command = [sys.executable, "script.py", expression, str(folder / "data")]
        return json.loads(
            subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout
        )

    def load(self, folder: Path, metadata: Any, packages: Path | None) -> Any:
        command = [sys.executable, "-c", self.LOAD, str(folder / "data"), json.dumps(metadata)]
        environment = {"PYTHONPATH": str(packages)} if packages else {}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        return json.loads(done.stdout)

    @pytest.mark.parametrize(
        "expression", ["own", "through_module", "imports_inside", "Tripler()", "Tripler().__call__"]
    )
    def test_it_works_elsewhere_with_its_local_module_copied(self, expression, tmp_path):
        result = self.package(expression, tmp_path)
        packages = tmp_path / "packages"
        packages.mkdir()
        (tmp_path / "arithmetic.py").rename(packages / "arithmetic.py")
        assert "arithmetic" in result["modules"]
        assert self.load(tmp_path, result["metadata"], packages) == result["live"]

    def test_a_lambda_of_the_script_needs_no_module(self, tmp_path):
        result = self.package("lambda request: [adder(item) for item in request['inputs']]", tmp_path)
        assert "arithmetic" not in result["modules"]
        assert self.load(tmp_path, result["metadata"], None) == [101, 102]

    def test_code_of_a_module_is_not_tied_to_the_version_of_python(self, tmp_path):
        assert self.package("Tripler()", tmp_path)["metadata"] == {}

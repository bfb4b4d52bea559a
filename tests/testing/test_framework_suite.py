"""The suite for adapters notices adapters that are wrong, each in its own way."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from truss.frameworks.base import Saved
from truss.testing.frameworks import FrameworkConformance

MODEL_CLASS = '''
"""Adds a number."""

import json
from pathlib import Path
from typing import Any


class Model:
    """The number, and what happens around it."""

    def __init__(self, **kwargs: Any) -> None:
        self._path = Path(kwargs["data_dir"]) / "number.json"
        self.number = 0

    def load(self) -> None:
        """Read the number."""
        self.number = json.loads(self._path.read_text())

    def preprocess(self, request: Any) -> Any:
        """Change the request."""
        return request

    def predict(self, request: Any) -> Any:
        """Add the number to each input."""
        return {"predictions": [item + self.number for item in request["inputs"]]}

    def postprocess(self, answer: Any) -> Any:
        """Change the answer."""
        return answer
'''


class Adder:
    def __init__(self, number: int) -> None:
        self.number = number


class AdderFramework:
    """A right adapter; each test below derives one that is wrong."""

    name = "adder"
    model_framework = "custom"
    summary = "adders"

    def recognises(self, model: object) -> bool:
        return isinstance(model, Adder)

    def save(self, model: Any, data_dir: Path) -> Saved:
        (data_dir / "number.json").write_text(str(model.number))
        return Saved(model_class=MODEL_CLASS, requirements=("joblib",), batching="rows")

    def answer(self, model: Any, request: Any) -> Any:
        return {"predictions": [item + model.number for item in request["inputs"]]}


class RecognisesEverything(AdderFramework):
    def recognises(self, model: object) -> bool:
        return True


class ImportsToRecognise(AdderFramework):
    def recognises(self, model: object) -> bool:
        import joblib  # noqa: F401

        return isinstance(model, Adder)


class RecognisesNothing(AdderFramework):
    def recognises(self, model: object) -> bool:
        return False


class WritesBeside(AdderFramework):
    def save(self, model: Any, data_dir: Path) -> Saved:
        (data_dir.parent / "stray").write_text("")
        return super().save(model, data_dir)


class SavesAnotherNumber(AdderFramework):
    def save(self, model: Any, data_dir: Path) -> Saved:
        return super().save(Adder(model.number + 1), data_dir)


class SavesNothing(AdderFramework):
    def save(self, model: Any, data_dir: Path) -> Saved:
        saved = super().save(model, data_dir)
        (data_dir / "number.json").unlink()
        return saved


class LooksAtAllRows(AdderFramework):
    def answer(self, model: Any, request: Any) -> Any:
        return {"predictions": [item - max(request["inputs"]) for item in request["inputs"]]}


class TwoLineSummary(AdderFramework):
    summary = "adders\nand more"


def changed(**changes: Any) -> AdderFramework:
    """An adapter whose `Saved` differs from the right one."""

    class Changed(AdderFramework):
        def save(self, model: Any, data_dir: Path) -> Saved:
            return replace(super().save(model, data_dir), **changes)

    return Changed()


def edited(old: str, new: str) -> AdderFramework:
    """An adapter whose model class differs from the right one."""
    assert old in MODEL_CLASS
    return changed(model_class=MODEL_CLASS.replace(old, new))


class AdderConformance(FrameworkConformance):
    framework = AdderFramework()
    paths = (Path(__file__).parents[2],)  # where a fresh process finds this module

    def make_model(self) -> Any:
        return Adder(10)

    def make_request(self) -> Any:
        return {"inputs": [1, 2, 3]}


WRONG = [
    (TwoLineSummary(), "test_describes_itself", "more than one line"),
    (RecognisesEverything(), "test_recognises_its_model_and_no_other_object", "recognises None"),
    (RecognisesNothing(), "test_recognises_its_model_and_no_other_object", "does not recognise the model"),
    (ImportsToRecognise(), "test_recognising_imports_no_library", "imported joblib"),
    (WritesBeside(), "test_saves_below_the_data_directory_only", "beside the data directory"),
    (
        changed(pickle_files=(Path("no.pickle"),)),
        "test_saves_below_the_data_directory_only",
        "was not written",
    ),
    (changed(model_metadata={"a": (1, 2)}), "test_metadata_is_plain", "changes on its way"),
    (
        changed(requirements=("no-such-thing",)),
        "test_requirements_are_installed_distributions",
        "no-such-thing",
    ),
    (
        edited("class Model", "class Other"),
        "test_model_class_is_plain_typed_and_documented",
        "no class called Model",
    ),
    (
        edited("import json", "import truss, json"),
        "test_model_class_is_plain_typed_and_documented",
        "imports Truss",
    ),
    (
        edited("import json", "import numpy, json"),
        "test_model_class_is_plain_typed_and_documented",
        "requirements lack",
    ),
    (
        edited("def load(self) -> None", "def load(self)"),
        "test_model_class_is_plain_typed_and_documented",
        "declare",
    ),
    (edited('"""Read the number."""', ""), "test_model_class_is_plain_typed_and_documented", "no docstring"),
    (edited("def postprocess", "def after"), "test_model_class_is_plain_typed_and_documented", "lacks"),
    (SavesAnotherNumber(), "test_fresh_process_answers_as_the_live_object", "12 is not 11"),
    (SavesNothing(), "test_fresh_process_answers_as_the_live_object", "FileNotFoundError"),
    (
        edited("self.number = json", "import truss.errors; self.number = json"),
        "test_fresh_process_answers_as_the_live_object",
        "must not import truss",
    ),
    (LooksAtAllRows(), "test_joined_rows_answer_as_separate_rows", "is not"),
]


class TestRight(AdderConformance):
    """The adapter that the wrong ones derive from passes."""


@pytest.mark.parametrize(
    ("framework", "check", "message"), WRONG, ids=lambda value: value if isinstance(value, str) else ""
)
def test_a_wrong_adapter_fails_the_check_that_is_meant_for_it(framework, check, message, tmp_path):
    suite = AdderConformance()
    suite.framework = framework
    method = getattr(suite, check)
    with pytest.raises(AssertionError) as caught:
        method(tmp_path) if "tmp_path" in method.__func__.__code__.co_varnames else method()
    assert message in str(caught.value)


def test_numbers_are_compared_with_a_tolerance_and_nan_equals_itself(tmp_path):
    class Scaled(AdderFramework):
        def answer(self, model: Any, request: Any) -> Any:
            rows = request["inputs"]
            return {"predictions": [item * (1 + 1e-13 * len(rows)) if item else math.nan for item in rows]}

    suite = AdderConformance()
    suite.framework = Scaled()
    suite.make_request = lambda: {"inputs": [0, 1, 2]}
    suite.test_joined_rows_answer_as_separate_rows(tmp_path)

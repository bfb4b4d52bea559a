"""The suite that every framework adapter must pass.

Derive a class whose name starts with `Test` in a test module, and pytest runs the checks::

    class TestMyFramework(FrameworkConformance):
        framework = MyFramework()

        def make_model(self):
            return mylib.train(...)

        def make_request(self):
            return {"inputs": [[1.0], [2.0]]}
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from math import isclose, isnan
from pathlib import Path
from typing import Any

from truss.config import Signature
from truss.frameworks.base import Framework, Saved
from truss.model.compare import tolerance_of
from truss.model.fit import misfit
from truss.packaging.stated import name_in
from truss.testing import run_model_class

MODEL_METHODS = ("load", "preprocess", "predict", "postprocess")
"""What a generated model class must offer besides its constructor."""

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

_NEVER_MODELS: tuple[object, ...] = (
    None,
    object(),
    object,
    "a string",
    1,
    1.5,
    b"bytes",
    [1],
    {"a": 1},
    (1, 2),
)

_RECOGNISE_NOTHING = """
import importlib, sys
module, name, packages = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
sys.path[:0] = sys.argv[4:]
before = set(sys.modules)
framework = getattr(importlib.import_module(module), name)()
assert not framework.recognises(object())
print(",".join(sorted({name.partition(".")[0] for name in set(sys.modules) - before} & set(packages))))
"""


class FrameworkConformance:
    """Checks of one adapter, as pytest test methods. Override what is below.

    Attributes:
        framework: The adapter under test.
        strangers: Objects of other libraries, which the adapter must not recognise.
        paths: Folders that a fresh process needs on its import path, such as that of local modules.
        relative_tolerance: How far numbers may be from each other when rows are joined, where the
            number of rows changes the order of additions.
    """

    framework: Framework
    strangers: tuple[object, ...] = ()
    paths: tuple[Path, ...] = ()
    relative_tolerance: float = 1e-9

    def make_model(self) -> Any:
        """A small model, ready to answer."""
        raise NotImplementedError

    def make_request(self) -> Any:
        """A request for it, `{"inputs": [...]}` with at least two rows, in JSON's types."""
        raise NotImplementedError

    def test_describes_itself(self) -> None:
        """Name, config value and summary are one line each."""
        for text in (self.framework.name, self.framework.model_framework, self.framework.summary):
            assert text.strip() == text, f"{text!r} has blanks around it"
            assert text, "the name, the model framework and the summary must not be empty"
            assert "\n" not in text, f"{text!r} is more than one line"

    def test_recognises_its_model_and_no_other_object(self) -> None:
        """It recognises what `make_model` makes, and neither strangers nor plain values nor a class."""
        model = self.make_model()
        assert self.framework.recognises(model), "the adapter does not recognise the model of its own suite"
        for stranger in (*_NEVER_MODELS, *self.strangers, type(model)):
            assert not self.framework.recognises(stranger), f"the adapter recognises {stranger!r}"

    def test_recognising_imports_no_library(self, tmp_path: Path) -> None:
        """In a process that has not imported the library, asking about an object does not import it."""
        saved = self._save(tmp_path)
        kind = type(self.framework)
        # The adapter's own package may come with the library, in one distribution.
        packages = _packages_of(saved.requirements) - {kind.__module__.partition(".")[0]}
        arguments = [kind.__module__, kind.__qualname__, ",".join(packages), *map(str, self.paths)]
        loaded = _python(["-c", _RECOGNISE_NOTHING, *arguments], "")
        assert not loaded.strip(), f"`recognises` imported {loaded.strip()}"

    def test_saves_below_the_data_directory_only(self, tmp_path: Path) -> None:
        """Files appear below the data directory and nowhere beside it."""
        saved = self._save(tmp_path)
        data_dir = tmp_path / "data"
        assert [item.name for item in tmp_path.iterdir()] == ["data"], (
            "files were written beside the data directory"
        )
        for path in saved.pickle_files:
            assert path.is_file(), f"{path} is named as a pickle file and was not written"
            assert path.is_relative_to(data_dir), f"{path} is not below the data directory"

    def test_metadata_is_plain(self, tmp_path: Path) -> None:
        """The metadata survives a config file: strings, numbers, booleans, null, lists, mappings."""
        metadata = dict(self._save(tmp_path).model_metadata)
        assert json.loads(json.dumps(metadata)) == metadata, "the metadata changes on its way through a file"

    def test_requirements_are_installed_distributions(self, tmp_path: Path) -> None:
        """Each requirement is the bare name of a distribution that is installed here."""
        unknown = [name for name in self._save(tmp_path).requirements if not _is_installed(name)]
        assert not unknown, f"no distributions called {unknown} are installed"

    def test_model_class_is_plain_typed_and_documented(self, tmp_path: Path) -> None:
        """The source compiles, is typed and documented, and imports its own requirements only."""
        saved = self._save(tmp_path)
        tree = ast.parse(saved.model_class)
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        assert "Model" in classes, "the source defines no class called Model"
        assert ast.get_docstring(classes["Model"]), "the class Model has no docstring"
        functions = {node.name: node for node in classes["Model"].body if isinstance(node, _FUNCTIONS)}
        missing = {"__init__", *MODEL_METHODS} - set(functions)
        assert not missing, f"the class Model lacks {sorted(missing)}"
        for name, function in functions.items():
            assert function.returns is not None, f"Model.{name} does not declare what it returns"
            assert name.startswith("_") or ast.get_docstring(function), f"Model.{name} has no docstring"
        assert "truss" not in _packages(_imports(ast.walk(tree))), "the model class imports Truss"
        # An import inside a function may be of a package that only some models need.
        # What is stated need not be here: `mlflow` is there as `mlflow-skinny`.
        stated = [
            name for name in map(name_in, (*saved.stated, *saved.stated_if_needed)) if _is_installed(name)
        ]
        declared = _packages_of([*saved.requirements, *stated])
        undeclared = _packages(_imports(tree.body)) - set(sys.stdlib_module_names) - declared
        assert not undeclared, f"the model class imports {sorted(undeclared)}, which its requirements lack"

    def test_fresh_process_answers_as_the_live_object(self, tmp_path: Path) -> None:
        """A process without Truss answers from the saved files as the live object does, and as exactly."""
        model, request = self.make_model(), self.make_request()
        live = self.framework.answer(model, request)
        saved = self._save(tmp_path, model)
        (fresh,) = self._ask_fresh_process(saved, tmp_path, [request])
        assert_same(live, fresh, tolerance_of(live), "answer")

    def test_joined_rows_answer_as_separate_rows(self, tmp_path: Path) -> None:
        """If rows may be joined, an answer for several rows is the answers for each, one after another."""
        model = self.make_model()
        if self._save(tmp_path, model).batching != "rows":
            return
        request = self.make_request()
        rows = request["inputs"]
        assert len(rows) > 1, "the suite needs a request of at least two rows"
        joined = self.framework.answer(model, request)
        separate = [self.framework.answer(model, {**request, "inputs": [row]}) for row in rows]
        for key, value in joined.items():
            parts = [item for answer in separate for item in _plain(answer[key])]
            assert_same(parts, value, self.relative_tolerance, f"answer.{key}")

    def test_a_row_that_lacks_a_value_is_refused(self, tmp_path: Path) -> None:
        """Where the signature says how long rows are, a shorter one raises, and is told why."""
        model = self.make_model()
        signature = self._save(tmp_path, model).signature
        if not signature:
            return
        for row in short_rows(self.make_request()["inputs"][0], signature):
            request, complaint = {"inputs": [row]}, None
            try:
                answer = self.framework.answer(model, request)
            except Exception as error:  # noqa: BLE001 - whatever it is, the client is told what was wrong
                complaint = str(error)
            assert complaint is not None, f"{row!r} lacks a value, and is answered with {answer!r}"
            assert misfit(request, signature, complaint), f"no fault is found with {row!r}"

    def _save(self, folder: Path, model: object = None) -> Saved:
        data_dir = folder / "data"
        data_dir.mkdir()
        return self.framework.save(self.make_model() if model is None else model, data_dir)

    def _ask_fresh_process(self, saved: Saved, folder: Path, requests: list[Any]) -> list[Any]:
        model_file = folder / "model.py"
        model_file.write_text(saved.model_class, encoding="utf-8")
        task = {
            "model_file": str(model_file),
            "data_dir": str(folder / "data"),
            "config": {"model_metadata": dict(saved.model_metadata), "model_type": saved.model_type},
            "paths": [str(path) for path in self.paths],
            "requests": requests,
        }
        answers: list[Any] = json.loads(
            _python([run_model_class.__file__], json.dumps(task)).splitlines()[-1]
        )
        return answers


def short_rows(row: Any, signature: Signature) -> list[Any]:
    """A row without its last value, where that leaves fewer than the signature says; else none."""
    if isinstance(row, dict):
        kept = [column.name for column in signature.columns][:-1]
        return [{name: row[name] for name in kept if name in row}] if kept else []
    shape = signature.tensors[0].shape or [] if len(signature.tensors) == 1 else []
    has_length = bool(signature.columns) or (len(shape) > 1 and shape[1] is not None)
    return [list(row[:-1])] if has_length and isinstance(row, list) and len(row) > 1 else []


def _python(arguments: list[str], stdin: str) -> str:
    """Standard output of a new interpreter, which sees what is installed and `PYTHONPATH`."""
    done = subprocess.run(
        [sys.executable, *arguments], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"a fresh process failed:\n{done.stderr}"
    return done.stdout


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def _imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """The modules that import statements among `nodes` name."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _packages(modules: Iterable[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def _packages_of(requirements: Iterable[str]) -> set[str]:
    """The top-level packages and modules that come with installed distributions."""
    return {package for name in requirements for package in _top_level(distribution(name))}


def _top_level(installed: Distribution) -> set[str]:
    declared = (installed.read_text("top_level.txt") or "").split()
    files = (path for path in installed.files or () if path.suffix in (".py", ".so"))
    return {*declared, *(path.parts[0].partition(".")[0] for path in files)}


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else value


def assert_same(expected: Any, actual: Any, tolerance: float, place: str) -> None:
    """Fail unless two answers agree, numbers within a relative tolerance; `place` is what they are called."""
    expected, actual = _plain(expected), _plain(actual)
    if isinstance(expected, Mapping):
        assert isinstance(actual, Mapping), f"{place}: {actual!r} is no mapping"
        assert set(expected) == set(actual), f"{place}: the keys are {sorted(actual)}, not {sorted(expected)}"
        for key, item in expected.items():
            assert_same(item, actual[key], tolerance, f"{place}.{key}")
    elif isinstance(expected, (list, tuple)):
        assert isinstance(actual, (list, tuple)), f"{place}: {actual!r} is no list"
        assert len(expected) == len(actual), f"{place}: {len(actual)} items, not {len(expected)}"
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            assert_same(one, other, tolerance, f"{place}[{index}]")
    elif isinstance(expected, float) and isinstance(actual, (int, float)):
        same = isclose(expected, actual, rel_tol=tolerance, abs_tol=1e-12) or (
            isnan(expected) and isnan(actual)
        )
        assert same, f"{place}: {actual!r} is not {expected!r}"
    else:
        assert expected == actual, f"{place}: {actual!r} is not {expected!r}"

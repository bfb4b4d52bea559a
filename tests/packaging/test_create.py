"""From a live object to a folder: what is written, what is refused, what is left behind."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

import truss
from truss.errors import (
    ExamplesError,
    GoldenMismatchError,
    PackagingError,
    TargetDirectoryError,
    UnsupportedObjectError,
)

ROWS, CLASSES = load_iris(return_X_y=True)
REQUEST = {"inputs": ROWS[:3].tolist()}


@pytest.fixture(scope="module")
def model():
    return LogisticRegression(max_iter=500).fit(ROWS, CLASSES)


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file())


def test_a_truss_is_a_folder_of_plain_files(model, tmp_path):
    handle = truss.create(model, tmp_path / "iris", name="Iris", examples=REQUEST)
    assert tree(handle.truss_dir) == [
        ".gitattributes", ".gitignore", "checksums.xxh128", "config.yaml", "data/model/model.joblib",
        "examples.yaml", "model/__init__.py", "model/model.py",
    ]  # fmt: skip
    config = handle.spec.config
    assert (config.model_name, config.model_framework, config.model_type) == (
        "Iris",
        "sklearn",
        "LogisticRegression",
    )
    assert config.python_version == f"py{sys.version_info.major}{sys.version_info.minor}"
    assert config.runtime.batching.mode == "rows"
    names = [line.partition("==")[0] for line in config.requirements]
    assert names == ["joblib", "numpy", "scikit-learn"]
    assert "truss" not in (handle.truss_dir / "model" / "model.py").read_text()


def test_mk_truss_is_create_under_its_first_name(model, tmp_path):
    assert truss.mk_truss(model, target_directory=tmp_path / "a").predict(REQUEST) == truss.create(
        model, tmp_path / "b"
    ).predict(REQUEST)


def test_without_a_target_it_goes_below_the_users_own_models(model, tmp_path, monkeypatch):
    monkeypatch.setenv("TRUSS_HOME", str(tmp_path))
    folder = truss.create(model).truss_dir
    assert folder.parent == tmp_path / "models"
    assert folder.name.startswith("sklearn-")


def test_the_folder_may_move_and_answers_the_same(model, tmp_path):
    made = truss.create(model, tmp_path / "here")
    moved = shutil.move(made.truss_dir, tmp_path / "there")
    np.testing.assert_array_equal(
        truss.load(moved).predict(REQUEST)["predictions"], model.predict(REQUEST["inputs"])
    )


@pytest.mark.parametrize(
    "given",
    [
        REQUEST,
        ROWS[:3],
        ROWS[:3].tolist(),
        [REQUEST],
        [{"name": "example-1", "input": REQUEST}],
        [truss.Example("example-1", REQUEST)],
        truss.Example("example-1", REQUEST),
    ],
)
def test_examples_may_be_given_in_the_form_at_hand(model, tmp_path, given):
    handle = truss.create(model, tmp_path / "iris", examples=given)
    (example,) = handle.examples()
    assert (example.name, example.input) == ("example-1", REQUEST)
    assert example.expected["predictions"] == [0, 0, 0]
    assert handle.check_examples() == {}


def test_packaging_that_changes_the_answer_is_an_error_that_shows_it(tmp_path):
    class Drifting:
        """Answers differently once it was pickled."""

        shift = 0

        def __call__(self, request):
            return {"predictions": [value + self.shift for value in request["inputs"]]}

        def __reduce__(self):
            return make_drifted, ()

    def make_drifted():
        made = Drifting()
        made.shift = 5
        return made

    with pytest.raises(GoldenMismatchError, match=r"predictions\[0\]: expected 1, got 6"):
        truss.create(Drifting(), tmp_path / "drift", examples={"inputs": [1]})
    assert list(tmp_path.iterdir()) == []
    assert truss.create(Drifting(), tmp_path / "drift", examples={"inputs": [1]}, check=False)


def test_a_folder_in_use_is_refused_and_untouched(model, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(TargetDirectoryError, match="not empty, and no Truss"):
            truss.create(model, tmp_path / "full", overwrite=overwrite)
    assert tree(tmp_path) == ["full/thesis.txt"]
    with pytest.raises(TargetDirectoryError, match="is a file"):
        truss.create(model, tmp_path / "full" / "thesis.txt")


def test_a_truss_is_replaced_only_when_told_so(model, tmp_path):
    truss.create(model, tmp_path / "iris", name="first")
    with pytest.raises(TargetDirectoryError, match="a Truss already"):
        truss.create(model, tmp_path / "iris", name="second")
    assert truss.load(tmp_path / "iris").spec.config.model_name == "first"
    truss.create(model, tmp_path / "iris", name="second", overwrite=True)
    assert truss.load(tmp_path / "iris").spec.config.model_name == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["iris"]


def test_a_failed_replacement_leaves_the_old_truss(model, tmp_path):
    truss.create(model, tmp_path / "iris", name="first")
    with pytest.raises(PackagingError):
        truss.create(lambda: None, tmp_path / "iris", overwrite=True)
    assert truss.load(tmp_path / "iris").spec.config.model_name == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["iris"]


def test_an_empty_folder_is_filled_where_it_is(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert truss.create(model, ".").truss_dir == tmp_path
    assert (tmp_path / "config.yaml").is_file()


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"model": object()}, UnsupportedObjectError, "no framework recognises"),
        ({"model": LogisticRegression()}, PackagingError, "not fitted"),
        ({"data_files": ["nothing-*.bin"]}, PackagingError, "no data file at 'nothing-*.bin'"),
        ({"bundled_packages": ["nowhere"]}, PackagingError, "no package at 'nowhere'"),
        ({"requirements_file": "none.txt"}, PackagingError, "requirements file cannot be read"),
        (
            {"examples": [truss.Example("a", 1), truss.Example("a", 2)]},
            ExamplesError,
            "two examples are named 'a'",
        ),
        ({"examples": {"inputs": [["text", "in", "wrong", "type"]]}}, ExamplesError, "could not convert"),
        ({"data_files": ["given/model"]}, PackagingError, "there is a 'model' in data/ already"),
    ],
)
def test_what_goes_wrong_is_said_and_leaves_nothing(model, tmp_path, monkeypatch, arguments, error, text):
    (tmp_path / "given" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        truss.create(**{"model": model, "target_directory": tmp_path / "new" / "iris", **arguments})
    assert text in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["given"]


def test_a_folder_that_cannot_be_made_is_named(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetDirectoryError, match="cannot be written"):
        truss.create(model, tmp_path / "file" / "below")


def test_data_and_packages_go_along(model, tmp_path):
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "labels.txt").write_text("setosa\n")
    (tmp_path / "words.py").write_text("WORD = 1\n")
    (tmp_path / "needs.txt").write_text("# by hand\nnumpy==1.0  # old\n\nscipy\n")
    handle = truss.create(
        model,
        tmp_path / "iris",
        data_files=[tmp_path / "extra", str(tmp_path / "wor*.py")],
        bundled_packages=[tmp_path / "words.py"],
        requirements_file=tmp_path / "needs.txt",
    )
    assert {"data/extra/labels.txt", "data/words.py", "packages/words.py"} <= set(tree(handle.truss_dir))
    assert handle.spec.requirements == ["numpy==1.0", "scipy"]


def test_large_data_files_are_marked_for_git_lfs(model, tmp_path):
    big = tmp_path / "big model.bin"
    big.write_bytes(bytes(2 << 20))
    handle = truss.create(model, tmp_path / "iris", data_files=[big])
    attributes = (handle.truss_dir / ".gitattributes").read_text()
    assert "data/big[[:space:]]model.bin filter=lfs" in attributes
    assert "model.joblib filter" not in attributes
    subprocess.run(["git", "init", "-q", handle.truss_dir], check=True)
    files = ["data/big model.bin", "data/model/model.joblib"]
    command = ["git", "-C", handle.truss_dir, "check-attr", "filter", *files]
    checked = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert checked.splitlines() == [
        "data/big model.bin: filter: lfs",
        "data/model/model.joblib: filter: unspecified",
    ]


def test_modules_of_ones_own_go_along(tmp_path, monkeypatch):
    work = tmp_path / "work"
    (work / "features").mkdir(parents=True)
    (work / "features" / "__init__.py").write_text("from features.scale import double\n")
    (work / "features" / "scale.py").write_text(
        "import constants\nimport msgspec\n\ndef double(rows):\n    return rows * constants.FACTOR\n"
    )
    (work / "constants.py").write_text("FACTOR = 2\n")
    script = f"""
import sys
sys.path.insert(0, {str(work)!r})
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from features import double
import truss
rows, classes = load_iris(return_X_y=True)
model = make_pipeline(FunctionTransformer(double), LogisticRegression(max_iter=500)).fit(rows, classes)
truss.create(model, {str(tmp_path / "iris")!r}, examples=rows[:2])
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    shutil.rmtree(work)
    handle = truss.load(tmp_path / "iris")
    assert {"packages/features/scale.py", "packages/constants.py"} <= set(tree(handle.truss_dir))
    assert "msgspec" in [line.partition("==")[0] for line in handle.spec.requirements]
    assert handle.check_examples() == {}


def test_code_of_the_session_goes_along_by_value(tmp_path):
    script = f"""
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
import truss

class Log(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self
    def transform(self, X):
        return np.log1p(X)

rows, classes = load_iris(return_X_y=True)
model = make_pipeline(Log(), LogisticRegression(max_iter=500)).fit(rows, classes)
truss.create(model, {str(tmp_path / "iris")!r}, examples=rows[:2])
"""
    subprocess.run([sys.executable, "-c", script], check=True)
    handle = truss.load(tmp_path / "iris")
    assert handle.check_examples() == {}
    assert "cloudpickle" in [line.partition("==")[0] for line in handle.spec.requirements]


def test_notes_of_the_framework_are_shown(tmp_path, capsys):
    truss.create(lambda request: request, tmp_path / "f")
    shown = capsys.readouterr()
    assert "note: " in shown.err
    assert "bytecode of Python" in shown.err
    assert shown.out == ""


def test_functions_with_local_state_and_imported_modules_work(tmp_path):
    weights = np.array([1.0, 2.0, 3.0, 4.0])

    def score(request):
        return {"predictions": (np.asarray(request["inputs"]) @ weights).tolist()}

    handle = truss.create(score, tmp_path / "f", examples={"inputs": [[1, 0, 0, 1]]})
    assert handle.predict({"inputs": [[1, 1, 1, 1]]}) == {"predictions": [10.0]}
    assert {"cloudpickle", "numpy"} == {line.partition("==")[0] for line in handle.spec.requirements}
    assert make_pipeline(FunctionTransformer()) is not None

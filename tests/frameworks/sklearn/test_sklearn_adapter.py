"""What the scikit-learn adapter saves, refuses and says."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.datasets import load_digits, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction import DictVectorizer
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.manifold import TSNE
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, LocalOutlierFactor, NearestNeighbors
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, Normalizer, StandardScaler
from sklearn.svm import SVC

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.sklearn import model_class
from truss.frameworks.sklearn.adapter import SklearnFramework

IRIS = load_iris()
FRAMEWORK = SklearnFramework()


class Mean(ClassifierMixin, BaseEstimator):
    """Keeps its state under names of its own, as many estimators written at home do."""

    def fit(self, rows: Any, y: Any) -> "Mean":
        self.mean = float(np.mean(y))
        return self

    def predict(self, rows: Any) -> Any:
        return np.full(len(rows), self.mean)


class Pick(TransformerMixin, BaseEstimator):
    """A column of a DataFrame; it keeps nothing of what it was fitted on."""

    def __init__(self, name: str) -> None:
        self.name = name

    def fit(self, _rows: Any, _target: Any = None) -> "Pick":
        return self

    def transform(self, rows: Any) -> Any:
        return rows[[self.name]]


class Holder(TransformerMixin, BaseEstimator):
    def __init__(self, extra: Any = None) -> None:
        self.extra = extra

    def fit(self, rows: Any, y: Any = None) -> "Holder":
        self.fitted_ = True
        return self

    def transform(self, rows: Any) -> Any:
        return rows


def save(model: Any, folder: Path) -> Any:
    return FRAMEWORK.save(model, folder)


def load(saved: Any, folder: Path) -> Any:
    model = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata}, secrets={})
    model.load()
    return model


@pytest.mark.parametrize(
    ("model", "has_probabilities"),
    [
        (LogisticRegression(max_iter=500), True),
        (SVC(), False),
        (SGDClassifier(loss="hinge"), False),
        (SGDClassifier(loss="log_loss"), True),
        (make_pipeline(StandardScaler(), SVC()), False),
        (GridSearchCV(LogisticRegression(max_iter=500), {"C": [1.0]}, cv=2), True),
        (LinearRegression(), False),
        (Mean(), False),
    ],
    ids=lambda value: repr(value) if isinstance(value, BaseEstimator) else "",
)
def test_probabilities_are_answered_by_estimators_that_have_them(model, has_probabilities, tmp_path):
    saved = save(model.fit(IRIS.data, IRIS.target), tmp_path)
    answer = load(saved, tmp_path).predict({"inputs": IRIS.data[:2].tolist()})
    assert saved.model_metadata["supports_predict_proba"] is has_probabilities
    assert set(answer) == ({"predictions", "probabilities"} if has_probabilities else {"predictions"})


def test_the_class_of_each_probability_is_recorded(tmp_path):
    labels = IRIS.target_names[IRIS.target]
    saved = save(LogisticRegression(max_iter=500).fit(IRIS.data, labels), tmp_path)
    assert saved.model_metadata["classes"] == ["setosa", "versicolor", "virginica"]


@pytest.mark.parametrize(
    "model",
    [
        LinearRegression(),
        make_pipeline(StandardScaler(), SVC()),
        GridSearchCV(SVC(), {"C": [1]}),
        CountVectorizer(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_an_estimator_that_is_not_fitted_is_refused(model, tmp_path):
    with pytest.raises(PackagingError, match=f"{type(model).__name__} is not fitted") as caught:
        save(model, tmp_path)
    assert "fit first" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_estimator_that_learns_nothing_needs_no_fitting(tmp_path):
    saved = save(Normalizer(), tmp_path)
    assert load(saved, tmp_path).predict({"inputs": [[3, 4]]}) == {"predictions": [[0.6, 0.8]]}


def test_an_estimator_that_keeps_its_state_under_other_names_is_taken_as_it_is(tmp_path):
    saved = save(Mean().fit(IRIS.data, IRIS.target), tmp_path)
    assert load(saved, tmp_path).predict({"inputs": [[1, 2, 3, 4]]}) == {"predictions": [1.0]}


@pytest.mark.parametrize(
    ("model", "problem", "remedy"),
    [
        (DBSCAN(), "only for the rows it was fitted on", "labels_"),
        (AgglomerativeClustering(), "only for the rows it was fitted on", "labels_"),
        (TSNE(perplexity=5), "only for the rows it was fitted on", "predicts new rows"),
        (LocalOutlierFactor(), "only for the rows it was fitted on", "predicts new rows"),
        (NearestNeighbors(), "neither `predict` nor `transform`", "package a function"),
        (GridSearchCV(SVC(), {"C": [1]}, refit=False), "refit=False", "refit=True"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else "",
)
def test_an_estimator_that_cannot_answer_for_new_rows_is_refused(model, problem, remedy, tmp_path):
    with pytest.raises(PackagingError) as caught:
        save(model.fit(IRIS.data, IRIS.target), tmp_path)
    assert problem in str(caught.value)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(5),
        HistGradientBoostingClassifier(max_iter=3),
        KNeighborsClassifier(),
        SVC(),
        MLPClassifier(max_iter=5),
        LogisticRegression(max_iter=20),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_a_model_mapped_from_its_file_answers_the_same(model, tmp_path, monkeypatch):
    rows, labels = load_digits(return_X_y=True)
    model.fit(rows[:300], labels[:300])
    saved = save(model, tmp_path)
    monkeypatch.setattr(model_class, "MAP_FROM_BYTES", 0)
    request = {"inputs": rows[300:350].tolist()}
    assert load(saved, tmp_path).predict(request) == FRAMEWORK.answer(model, request)


def test_arrays_are_stored_raw_so_that_they_can_be_mapped(tmp_path, monkeypatch):
    saved = save(KNeighborsClassifier(algorithm="brute").fit(*load_digits(return_X_y=True)), tmp_path)
    monkeypatch.setattr(model_class, "MAP_FROM_BYTES", 0)
    rows = load(saved, tmp_path).model._fit_X
    assert isinstance(rows, np.memmap) or isinstance(rows.base, np.memmap)


def test_what_was_pickled_by_reference_is_handed_on(tmp_path):
    model = make_pipeline(FunctionTransformer(np.log1p), SVC()).fit(IRIS.data, IRIS.target)
    references = save(model, tmp_path).pickled_objects
    assert {Pipeline, FunctionTransformer, SVC, np.log1p} <= set(references)


class TestInputs:
    def records_model(self) -> Any:
        table = pd.DataFrame(IRIS.data[:, :2], columns=["length", "width"])
        return LogisticRegression(max_iter=500).fit(table, IRIS.target)

    def ask(self, rows: Any, model: Any = None) -> Any:
        return FRAMEWORK.answer(model or self.records_model(), {"inputs": rows})["predictions"]

    @pytest.mark.filterwarnings("error:X does not have valid feature names")
    @pytest.mark.parametrize(
        "rows",
        [
            [{"length": 5.0, "width": 3.5}, {"width": 2.8, "length": 6.9}],
            [[5.0, 3.5], [6.9, 2.8]],
            np.array([[5.0, 3.5], [6.9, 2.8]]),
            pd.DataFrame({"length": [5.0, 6.9], "width": [3.5, 2.8]}),
            [{"length": 5.0, "width": 3.5, "id": "a"}, {"length": 6.9, "width": 2.8}],
        ],
        ids=["records", "lists", "array", "frame", "more keys"],
    )
    def test_rows_come_in_any_form_with_the_same_answer(self, rows):
        assert self.ask(rows) == [0, 2]

    def test_a_record_that_lacks_a_feature_is_refused_by_name(self):
        with pytest.raises(ValueError, match=r"lack .*'width'.*null"):
            self.ask([{"length": 5.0, "width": 3.5}, {"length": 6.9}])

    @pytest.mark.parametrize("order", [1, -1])
    def test_records_beside_lists_are_refused(self, order):
        with pytest.raises(ValueError, match="lack"):
            self.ask([{"length": 5.0, "width": 3.5}, [6.9, 2.8]][::order])

    def test_a_single_row_without_its_list_is_refused(self):
        with pytest.raises(ValueError, match="list of 2 values"):
            self.ask([5.0, 3.5])

    def test_records_reach_an_estimator_that_was_fitted_on_them(self):
        model = make_pipeline(DictVectorizer(), LogisticRegression()).fit(
            [{"city": "Bern"}, {"city": "Rom"}], [0, 1]
        )
        assert self.ask([{"city": "Rom"}, {"city": "Bern"}], model) == [1, 0]

    def test_records_become_a_frame_for_a_step_of_ones_own_that_keeps_no_names(self, tmp_path):
        table = pd.DataFrame(IRIS.data[:, :2], columns=["length", "width"])
        model = make_pipeline(Pick("width"), LinearRegression()).fit(table, IRIS.target)
        records = [{"length": 5.0, "width": 3.5}, {"width": 2.8, "length": 6.9}]
        expected = model.predict(pd.DataFrame(records)).tolist()
        assert self.ask(records, model) == expected
        saved = save(model, tmp_path)
        assert "pandas" in saved.requirements
        config = {"model_metadata": saved.model_metadata}
        copy = model_class.Model(data_dir=tmp_path, config=config, secrets={})
        copy.load()
        assert copy.predict({"inputs": records})["predictions"] == expected

    def test_texts_stay_a_list_of_strings(self):
        model = make_pipeline(CountVectorizer(), LogisticRegression()).fit(["good", "bad bad"], [1, 0])
        assert self.ask(["bad", "good good"], model) == [0, 1]

    def test_lists_of_tokens_of_unequal_length_stay_lists(self):
        model = make_pipeline(CountVectorizer(analyzer=tuple), LogisticRegression())
        model.fit([["good"], ["bad", "bad"]], [1, 0])
        assert self.ask([["bad"], ["good", "good"]], model) == [0, 1]

    def test_numbers_beside_text_stay_numbers(self):
        seen = FunctionTransformer(lambda rows: [[type(item).__name__ for item in row] for row in rows])
        assert self.ask([[1.5, "red"]], seen) == [["float", "str"]]


class TestCodeOfThisSession:
    SCRIPT = """
import sys
from pathlib import Path
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from truss.frameworks.sklearn.adapter import SklearnFramework
import json

class Halve(TransformerMixin, BaseEstimator):
    def fit(self, rows, y=None):
        self.fitted_ = True
        return self

    def transform(self, rows):
        return rows / 2

model = make_pipeline(Halve(), LogisticRegression(max_iter=500)).fit(*load_iris(return_X_y=True))
saved = SklearnFramework().save(model, Path(sys.argv[1]))
request = {"inputs": load_iris().data[:3].tolist()}
print(json.dumps([dict(saved.model_metadata), saved.requirements, [str(p) for p in saved.pickle_files],
                  SklearnFramework().answer(model, request)]))
"""

    def test_a_transformer_defined_in_a_script_works_in_another_process(self, tmp_path):
        done = subprocess.run(
            [sys.executable, "-c", self.SCRIPT, str(tmp_path)], capture_output=True, text=True, check=True
        )
        metadata, requirements, pickle_files, live = json.loads(done.stdout)
        model = model_class.Model(data_dir=tmp_path, config={"model_metadata": metadata}, secrets={})
        model.load()
        assert model.predict({"inputs": IRIS.data[:3].tolist()}) == live
        assert "cloudpickle" in requirements
        assert pickle_files == [str(tmp_path / "model" / "model.joblib")]
        assert metadata["code_python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"

    def test_it_is_tied_to_the_version_of_python(self, tmp_path):
        saved = save(FunctionTransformer(lambda rows: rows), tmp_path)
        assert any("bytecode" in note for note in saved.notes)
        metadata = {**saved.model_metadata, "code_python_version": "3.99"}
        model = model_class.Model(data_dir=tmp_path, config={"model_metadata": metadata}, secrets={})
        with pytest.raises(RuntimeError, match=r"Python 3\.99"):
            model.load()

    def test_without_cloudpickle_the_extra_is_named(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "cloudpickle", None)
        with pytest.raises(MissingExtraError, match=r"truss\[callable\]"):
            save(FunctionTransformer(lambda rows: rows), tmp_path)


def test_a_part_that_cannot_be_pickled_is_named(tmp_path):
    model = make_pipeline(Holder({"guard": threading.Lock()}), SVC()).fit(IRIS.data, IRIS.target)
    with pytest.raises(PackagingError) as caught:
        save(model, tmp_path)
    for part in ("this Pipeline", "'extra'", "'guard'", "_thread.lock"):
        assert part in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_stays_an_error_of_the_system(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Permission"):
        save(LinearRegression().fit(IRIS.data, IRIS.target), tmp_path)


def test_the_file_is_one_that_joblib_reads(tmp_path):
    save(LinearRegression().fit(IRIS.data, IRIS.target), tmp_path)
    assert isinstance(joblib.load(tmp_path / "model" / "model.joblib"), LinearRegression)

"""What the LightGBM adapter answers beside the library itself, what it refuses and says."""

from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

import truss
from truss.errors import PackagingError
from truss.frameworks.lightgbm import model_class
from truss.frameworks.lightgbm.adapter import LightgbmFramework
from truss.frameworks.registry import framework_for
from truss.testing.server import running_server

FRAMEWORK = LightgbmFramework()
IRIS = load_iris(as_frame=True)
CANCER = load_breast_cancer()
DIABETES = load_diabetes()
QUIET = {"n_estimators": 8, "verbose": -1}


class Louder(lightgbm.LGBMRegressor):
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        return super().predict(*args, **kwargs) * 10


class Renamed(lightgbm.LGBMRegressor):
    """A name of one's own, and nothing else."""


def packaged(model: Any, folder: Path) -> model_class.Model:
    saved = FRAMEWORK.save(model, folder)
    copy = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata})
    copy.load()
    return copy


def booster(objective: Any, labels: Any = CANCER.target, data: Any = CANCER.data, **parameters: Any) -> Any:
    settings = {"objective": objective, "verbose": -1, **parameters}
    return lightgbm.train(settings, lightgbm.Dataset(data, labels), 5)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lightgbm.LGBMClassifier(), "lightgbm"),
        (lightgbm.LGBMRanker(), "lightgbm"),
        (Renamed(), "lightgbm"),
        (Louder(), "sklearn"),
        (make_pipeline(SimpleImputer(), lightgbm.LGBMClassifier()), "sklearn"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_models_without_code_of_their_own_are_for_this_framework(model, name):
    assert framework_for(model).name == name


@pytest.mark.parametrize(
    "labels",
    [CANCER.target, CANCER.target * 2 + 5, CANCER.target == 1, CANCER.target_names[CANCER.target]],
    ids=["zero and one", "numbers", "truths", "names"],
)
def test_two_classes_are_answered_as_the_estimator_answers(labels, tmp_path):
    model = lightgbm.LGBMClassifier(**QUIET).fit(CANCER.data, labels)
    answer = packaged(model, tmp_path).predict({"inputs": CANCER.data.tolist()})
    assert answer["predictions"] == model.predict(CANCER.data).tolist()
    assert {type(label) for label in answer["predictions"]} == {type(labels.tolist()[0])}
    assert answer["probabilities"] == model.predict_proba(CANCER.data).tolist()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"objective": "multiclassova"},
        {"boosting_type": "dart"},
        {"boosting_type": "rf", "subsample": 0.5, "subsample_freq": 1},
        {"linear_tree": True},
        {"class_weight": "balanced"},
    ],
    ids=lambda parameters: next(iter(parameters), "plain"),
)
def test_several_classes_are_answered_as_the_estimator_answers(parameters, tmp_path):
    model = lightgbm.LGBMClassifier(**QUIET, **parameters).fit(IRIS.data, IRIS.target_names[IRIS.target])
    answer = packaged(model, tmp_path).predict({"inputs": IRIS.data.to_numpy().tolist()})
    assert answer["predictions"] == model.predict(IRIS.data).tolist()
    assert answer["probabilities"] == model.predict_proba(IRIS.data).tolist()


@pytest.mark.parametrize("objective", ["regression", "poisson", "quantile", "cross_entropy"])
def test_numbers_are_answered_as_the_estimator_answers(objective, tmp_path):
    target = DIABETES.target / DIABETES.target.max()
    model = lightgbm.LGBMRegressor(**QUIET, objective=objective).fit(DIABETES.data, target)
    answer = packaged(model, tmp_path).predict({"inputs": DIABETES.data.tolist()})
    assert answer == {"predictions": model.predict(DIABETES.data).tolist()}


def test_the_best_iteration_answers(tmp_path):
    model = booster("regression", DIABETES.target, DIABETES.data)
    all_rounds = model.predict(DIABETES.data)
    model.best_iteration = 2
    copy = packaged(model, tmp_path)
    expected = model.predict(DIABETES.data)
    assert not np.array_equal(expected, all_rounds)
    assert copy.predict({"inputs": DIABETES.data.tolist()}) == {"predictions": expected.tolist()}
    assert copy.booster.current_iteration() == 2


class TestBooster:
    def test_two_classes(self, tmp_path):
        model = booster("binary")
        answer = packaged(model, tmp_path).predict({"inputs": CANCER.data.tolist()})
        of_the_second = model.predict(CANCER.data)
        assert answer["predictions"] == (of_the_second > 0.5).astype(int).tolist()
        assert answer["probabilities"] == np.c_[1 - of_the_second, of_the_second].tolist()

    def test_several_classes(self, tmp_path):
        model = booster("multiclass", IRIS.target, IRIS.data, num_class=3)
        answer = packaged(model, tmp_path).predict({"inputs": IRIS.data.to_numpy().tolist()})
        assert answer["predictions"] == model.predict(IRIS.data).argmax(axis=1).tolist()
        assert answer["probabilities"] == model.predict(IRIS.data).tolist()

    def test_numbers(self, tmp_path):
        model = booster("regression")
        expected = {"predictions": model.predict(CANCER.data).tolist()}
        assert packaged(model, tmp_path).predict({"inputs": CANCER.data.tolist()}) == expected

    def test_that_it_knows_no_labels_is_said(self, tmp_path):
        assert any("labels" in note for note in FRAMEWORK.save(booster("binary"), tmp_path).notes)

    def test_one_that_was_read_from_a_file_is_packaged_too(self, tmp_path):
        booster("binary").save_model(tmp_path / "given.txt")
        read = lightgbm.Booster(model_file=tmp_path / "given.txt")
        assert framework_for(read).name == "lightgbm"
        answer = packaged(read, tmp_path).predict({"inputs": CANCER.data.tolist()})
        assert np.array(answer["probabilities"])[:, 1].tolist() == read.predict(CANCER.data).tolist()


class TestCategories:
    def table(self, *, ordered: bool = False) -> pd.DataFrame:
        random = np.random.default_rng(0)
        colours = ["red", "grün", "blue"]
        return pd.DataFrame(
            {
                "main colour": pd.Categorical(random.choice(colours, 300), colours, ordered=ordered),
                "size": random.normal(size=300),
                "shop": pd.Categorical(random.choice([10, 3, 7], 300)),
                "same": pd.Categorical(["k"] * 300),
            }
        )

    def model(self, **options: Any) -> lightgbm.LGBMRegressor:
        table = self.table(**options)
        value = table["main colour"].map({"red": 5, "grün": 0, "blue": 9}).astype(float)
        return lightgbm.LGBMRegressor(**QUIET).fit(table, value + table["shop"].astype(int))

    @pytest.mark.parametrize("source", ["trained", "read from a file"])
    def test_they_are_given_by_name(self, source, tmp_path):
        model, table = self.model(), self.table()
        expected = {"predictions": model.predict(table).tolist()}
        assert len(set(expected["predictions"])) > 5
        if source == "trained":
            copy = packaged(model, tmp_path)
        else:
            model.booster_.save_model(tmp_path / "given.txt")
            copy = packaged(lightgbm.Booster(model_file=tmp_path / "given.txt"), tmp_path)
        assert copy.predict({"inputs": table.to_dict("records")}) == expected
        assert copy.predict({"inputs": table.to_numpy(dtype=object).tolist()}) == expected

    def test_unknown_ones_are_missing_values_as_in_the_library(self):
        model, table = self.model(), self.table()[:1]
        table["main colour"] = pd.Categorical(["pink"])
        expected = model.predict(table).tolist()
        for value in ("pink", None):
            rows = [{**table.to_dict("records")[0], "main colour": value}]
            assert FRAMEWORK.answer(model, {"inputs": rows})["predictions"] == expected

    def test_ordered_ones_are_refused(self, tmp_path):
        with pytest.raises(PackagingError, match=r"does not say which columns.*'red'") as caught:
            FRAMEWORK.save(self.model(ordered=True), tmp_path)
        assert "unordered" in str(caught.value)
        assert list(tmp_path.iterdir()) == []


class TestInputs:
    def model(self) -> Any:
        table = IRIS.data.iloc[:, :2].set_axis(["sepal length", "width"], axis=1)
        return lightgbm.LGBMClassifier(n_estimators=20, verbose=-1).fit(table, IRIS.target)

    @pytest.mark.parametrize(
        "rows",
        [
            [[5.0, 3.5], [6.9, 2.8]],
            [{"width": 3.5, "sepal length": 5.0, "id": "a"}, {"sepal_length": 6.9, "width": 2.8}],
            np.array([[5.0, 3.5], [6.9, 2.8]]),
        ],
        ids=["lists", "records", "array"],
    )
    def test_rows_come_in_any_form_with_the_same_answer(self, rows):
        assert FRAMEWORK.answer(self.model(), {"inputs": rows})["predictions"] == [0, 2]

    def test_null_is_a_missing_value(self):
        model = self.model()
        expected = model.predict_proba(pd.DataFrame([[np.nan, 3.5]])).tolist()
        assert FRAMEWORK.answer(model, {"inputs": [[None, 3.5]]})["probabilities"] == expected

    def test_no_rows_have_no_answers(self):
        assert FRAMEWORK.answer(self.model(), {"inputs": []}) == {"predictions": [], "probabilities": []}

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([{"sepal length": 5.0}], r"lacks \['width'\].*null"),
            ([[5.0]], r"2 values, or a record with names: \['sepal_length', 'width'\]"),
            ([5.0, 3.5], r"list of 2 values"),
            ([["long", 3.5]], "'long'"),
        ],
    )
    def test_rows_that_do_not_fit_are_refused(self, rows, message):
        with pytest.raises(ValueError, match=message):
            FRAMEWORK.answer(self.model(), {"inputs": rows})


def test_an_estimator_that_is_not_fitted_is_refused(tmp_path):
    with pytest.raises(PackagingError, match="LGBMClassifier is not fitted") as caught:
        FRAMEWORK.save(lightgbm.LGBMClassifier(), tmp_path)
    assert "fit first" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_classifier_that_answers_raw_scores_is_refused(tmp_path):
    def objective(true: Any, raw: Any) -> Any:
        return 1 / (1 + np.exp(-raw)) - true, np.full(len(true), 0.25)

    model = lightgbm.LGBMClassifier(**QUIET, objective=objective).fit(CANCER.data, CANCER.target)
    with pytest.raises(PackagingError, match="raw scores"):
        FRAMEWORK.save(model, tmp_path)


def test_labels_without_a_form_in_json_are_refused(tmp_path):
    days = pd.to_datetime(["2024-01-01", "2024-01-02"]).to_numpy()[CANCER.target]
    model = lightgbm.LGBMClassifier(**QUIET).fit(CANCER.data, days.astype("datetime64[D]"))
    with pytest.raises(PackagingError, match=r"its classes are labelled with values like.*2024"):
        FRAMEWORK.save(model, tmp_path)


def test_it_serves_over_http(tmp_path):
    model = lightgbm.LGBMClassifier(**QUIET).fit(CANCER.data, CANCER.target_names[CANCER.target])
    target = tmp_path / "cancer"
    rows = CANCER.data[:2].tolist()
    truss.create(model, target, examples=[{"inputs": rows}])
    requirements = [line.strip(" -") for line in (target / "config.yaml").read_text().splitlines()]
    assert f"lightgbm=={lightgbm.__version__}" in requirements
    assert not [line for line in requirements if line.startswith(("scikit-learn", "pandas"))]
    with running_server(target) as server:
        response = server.predict({"inputs": rows})
    assert response.status == 200
    assert response.json() == {
        "predictions": model.predict(rows).tolist(),
        "probabilities": model.predict_proba(rows).tolist(),
    }


def test_a_pipeline_serves_over_http(tmp_path):
    model = make_pipeline(SimpleImputer(), lightgbm.LGBMClassifier(**QUIET)).fit(CANCER.data, CANCER.target)
    target = tmp_path / "pipeline"
    rows = CANCER.data[:2].tolist()
    truss.create(model, target, examples=[{"inputs": rows}])
    assert f"lightgbm=={lightgbm.__version__}" in (target / "config.yaml").read_text()
    with running_server(target) as server:
        answer = server.predict({"inputs": rows}).json()
    assert answer["predictions"] == model.predict(rows).tolist()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows), rtol=1e-12)

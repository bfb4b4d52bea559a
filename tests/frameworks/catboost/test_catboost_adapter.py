"""What the CatBoost adapter answers beside the library itself, what it refuses and says."""

from pathlib import Path
from typing import Any

import catboost
import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

import truss
from truss.errors import PackagingError
from truss.frameworks.catboost import model_class
from truss.frameworks.catboost.adapter import CatboostFramework
from truss.frameworks.registry import framework_for
from truss.testing.server import running_server

FRAMEWORK = CatboostFramework()
IRIS = load_iris(as_frame=True)
CANCER = load_breast_cancer()
DIABETES = load_diabetes()
QUIET = {"iterations": 8, "depth": 3, "verbose": 0, "allow_writing_files": False}


class Louder(catboost.CatBoostRegressor):
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        return super().predict(*args, **kwargs) * 10


class Renamed(catboost.CatBoostRegressor):
    """A name of one's own, and nothing else."""


class LogLoss:
    """An objective of one's own."""

    def calc_ders_range(self, raw: Any, target: Any, weights: Any) -> Any:
        chance = 1 / (1 + np.exp(-np.array(raw)))
        return list(zip(np.array(target) - chance, -chance * (1 - chance), strict=True))


def packaged(model: Any, folder: Path) -> model_class.Model:
    saved = FRAMEWORK.save(model, folder)
    copy = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata})
    copy.load()
    return copy


def cancer(labels: Any = CANCER.target, **parameters: Any) -> Any:
    return catboost.CatBoostClassifier(**QUIET, **parameters).fit(CANCER.data, labels)


@pytest.mark.parametrize(
    "model",
    [
        catboost.CatBoost(),
        catboost.CatBoostClassifier(),
        catboost.CatBoostRegressor(),
        catboost.CatBoostRanker(),
        Renamed(),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_without_code_of_their_own_are_for_this_framework(model):
    assert framework_for(model).name == "catboost"


def test_a_model_with_code_of_its_own_is_not():
    assert not FRAMEWORK.recognises(Louder())


@pytest.mark.parametrize(
    "labels",
    [
        CANCER.target,
        CANCER.target * 2 + 5,
        CANCER.target == 1,
        CANCER.target + 0.5,
        CANCER.target_names[CANCER.target],
        CANCER.target.astype(str),
    ],
    ids=["zero and one", "numbers", "truths", "fractions", "names", "digits"],
)
def test_two_classes_are_answered_as_the_estimator_answers(labels, tmp_path):
    model = cancer(labels)
    answer = packaged(model, tmp_path).predict({"inputs": CANCER.data.tolist()})
    assert answer["predictions"] == model.predict(CANCER.data).tolist()
    assert {type(label) for label in answer["predictions"]} == {type(labels.tolist()[0])}
    assert answer["probabilities"] == model.predict_proba(CANCER.data).tolist()


def test_the_threshold_of_a_probability_is_kept(tmp_path):
    model = cancer()
    before = model.predict(CANCER.data).tolist()
    model.set_probability_threshold(0.9)
    answer = packaged(model, tmp_path).predict({"inputs": CANCER.data.tolist()})
    assert before != answer["predictions"] == model.predict(CANCER.data).tolist()


def test_an_objective_of_ones_own_has_classes_and_probabilities(tmp_path):
    model = cancer(loss_function=LogLoss(), eval_metric="Logloss")
    answer = packaged(model, tmp_path).predict({"inputs": CANCER.data.tolist()})
    assert answer["predictions"] == model.predict(CANCER.data).tolist()
    assert answer["probabilities"] == model.predict_proba(CANCER.data).tolist()


@pytest.mark.parametrize("loss", ["MultiClass", "MultiClassOneVsAll"])
def test_several_classes_are_answered_as_the_estimator_answers(loss, tmp_path):
    model = catboost.CatBoostClassifier(**QUIET, loss_function=loss)
    model.fit(IRIS.data, IRIS.target_names[IRIS.target])
    answer = packaged(model, tmp_path).predict({"inputs": IRIS.data.to_numpy().tolist()})
    assert answer["predictions"] == model.predict(IRIS.data).ravel().tolist()
    assert answer["probabilities"] == model.predict_proba(IRIS.data).tolist()


def test_several_labels_per_row_are_answered_as_the_estimator_answers(tmp_path):
    labels = np.c_[IRIS.target == 0, IRIS.target > 0].astype(int)
    model = catboost.CatBoostClassifier(**QUIET, loss_function="MultiLogloss").fit(IRIS.data, labels)
    answer = packaged(model, tmp_path).predict({"inputs": IRIS.data.to_numpy().tolist()})
    assert answer["predictions"] == model.predict(IRIS.data).tolist()
    assert answer["probabilities"] == model.predict_proba(IRIS.data).tolist()


@pytest.mark.parametrize(
    "loss", ["RMSE", "MAE", "Poisson", "Tweedie:variance_power=1.5", "RMSEWithUncertainty"]
)
def test_numbers_are_answered_as_the_estimator_answers(loss, tmp_path):
    model = catboost.CatBoostRegressor(**QUIET, loss_function=loss).fit(DIABETES.data, DIABETES.target)
    answer = packaged(model, tmp_path).predict({"inputs": DIABETES.data.tolist()})
    assert answer == {"predictions": model.predict(DIABETES.data).tolist()}


def test_the_best_model_answers(tmp_path):
    model = catboost.CatBoostRegressor(iterations=80, learning_rate=0.9, verbose=0, allow_writing_files=False)
    model.fit(DIABETES.data[::2], DIABETES.target[::2], eval_set=(DIABETES.data[1::2], DIABETES.target[1::2]))
    copy = packaged(model, tmp_path)
    assert copy.model.tree_count_ == model.best_iteration_ + 1 < 80
    expected = {"predictions": model.predict(DIABETES.data).tolist()}
    assert copy.predict({"inputs": DIABETES.data.tolist()}) == expected


class TestPlainCatBoost:
    @pytest.mark.parametrize("loss", ["Logloss", "CrossEntropy"])
    def test_classes_are_answered_and_never_raw_values(self, loss, tmp_path):
        model = catboost.CatBoost({**QUIET, "loss_function": loss}).fit(CANCER.data, CANCER.target)
        answer = packaged(model, tmp_path).predict({"inputs": CANCER.data.tolist()})
        raw = model.predict(CANCER.data)
        assert answer["predictions"] == (raw > 0).astype(int).tolist()
        np.testing.assert_allclose(np.array(answer["probabilities"])[:, 1], 1 / (1 + np.exp(-raw)), 1e-12)

    def test_that_it_answers_otherwise_than_predict_is_said(self, tmp_path):
        model = catboost.CatBoost({**QUIET, "loss_function": "Logloss"}).fit(CANCER.data, CANCER.target)
        assert any("raw values" in note for note in FRAMEWORK.save(model, tmp_path).notes)

    def test_numbers_stay_numbers(self, tmp_path):
        model = catboost.CatBoost({**QUIET, "loss_function": "RMSE"}).fit(DIABETES.data, DIABETES.target)
        saved = FRAMEWORK.save(model, tmp_path)
        assert saved.notes == ()
        expected = {"predictions": model.predict(DIABETES.data).tolist()}
        assert FRAMEWORK.answer(model, {"inputs": DIABETES.data.tolist()}) == expected


class TestCategories:
    def table(self) -> pd.DataFrame:
        random = np.random.default_rng(0)
        table = pd.DataFrame(
            {
                "main colour": random.choice(["red", "grün", "blue"], 300),
                "size": random.normal(size=300),
                "shop": random.choice([10, 3, 7], 300),
            }
        )
        table.loc[::9, "size"] = np.nan
        return table

    def model(self) -> Any:
        table = self.table()
        value = table["main colour"].map({"red": 5, "grün": 0, "blue": 9}) + table["shop"]
        model = catboost.CatBoostRegressor(**QUIET, cat_features=["main colour", "shop"])
        return model.fit(table, value)

    def test_they_are_given_by_name_and_missing_numbers_as_null(self, tmp_path):
        model, table = self.model(), self.table()
        copy = packaged(model, tmp_path)
        expected = {"predictions": model.predict(table).tolist()}
        assert len(set(expected["predictions"])) > 5
        rows = table.astype(object)
        rows = rows.where(rows.notna(), None)
        assert copy.predict({"inputs": rows.to_dict("records")}) == expected
        assert copy.predict({"inputs": rows.to_numpy().tolist()}) == expected

    def test_one_that_training_never_saw_is_answered_as_in_the_library(self):
        model, table = self.model(), self.table()[:1].assign(**{"main colour": "pink"})
        answer = FRAMEWORK.answer(model, {"inputs": [["pink", None, int(table["shop"].iloc[0])]]})
        assert answer["predictions"] == model.predict(table).tolist()

    def test_null_is_refused_by_name(self):
        with pytest.raises(ValueError, match=r"'main colour' is a category and cannot be null"):
            FRAMEWORK.answer(self.model(), {"inputs": [[None, 0.0, 3]]})


def test_texts_are_answered_as_the_estimator_answers(tmp_path):
    table = pd.DataFrame({"review": ["a good film", "a dull, bad film"] * 50, "length": range(100)})
    model = catboost.CatBoostClassifier(**QUIET, text_features=["review"]).fit(table, [1, 0] * 50)
    answer = packaged(model, tmp_path).predict({"inputs": table.to_dict("records")})
    assert answer["predictions"] == [1, 0] * 50
    assert answer["probabilities"] == model.predict_proba(table).tolist()


class TestInputs:
    def model(self) -> Any:
        table = IRIS.data.iloc[:, :2].set_axis(["length", "width"], axis=1)
        return catboost.CatBoostClassifier(**{**QUIET, "iterations": 40}).fit(table, IRIS.target)

    @pytest.mark.parametrize(
        "rows",
        [
            [[5.0, 3.5], [6.9, 2.8]],
            [{"width": 3.5, "length": 5.0, "id": "a"}, {"length": 6.9, "width": 2.8}],
            np.array([[5.0, 3.5], [6.9, 2.8]]),
        ],
        ids=["lists", "records", "array"],
    )
    def test_rows_come_in_any_form_with_the_same_answer(self, rows):
        assert FRAMEWORK.answer(self.model(), {"inputs": rows})["predictions"] == [0, 2]

    def test_no_rows_have_no_answers(self):
        assert FRAMEWORK.answer(self.model(), {"inputs": []}) == {"predictions": [], "probabilities": []}

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([{"length": 5.0}], r"lacks \['width'\].*null"),
            ([[5.0]], r"2 values, or a record with names: \['length', 'width'\]"),
            ([5.0, 3.5], r"list of 2 values"),
        ],
    )
    def test_rows_that_do_not_fit_are_refused(self, rows, message):
        with pytest.raises(ValueError, match=message):
            FRAMEWORK.answer(self.model(), {"inputs": rows})

    def test_text_in_place_of_a_number_is_refused(self):
        with pytest.raises(catboost.CatBoostError, match="long"):
            FRAMEWORK.answer(self.model(), {"inputs": [["long", 3.5]]})


def test_a_model_that_is_not_fitted_is_refused(tmp_path):
    with pytest.raises(PackagingError, match="CatBoostClassifier is not fitted") as caught:
        FRAMEWORK.save(catboost.CatBoostClassifier(), tmp_path)
    assert "fit first" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_one_that_the_estimator_reads(tmp_path):
    model = cancer()
    FRAMEWORK.save(model, tmp_path)
    again = catboost.CatBoostClassifier().load_model(tmp_path / "model" / "model.cbm")
    np.testing.assert_array_equal(again.predict_proba(CANCER.data), model.predict_proba(CANCER.data))


def test_it_serves_over_http(tmp_path):
    model = cancer(CANCER.target_names[CANCER.target])
    target = tmp_path / "cancer"
    rows = CANCER.data[:2].tolist()
    truss.create(model, target, examples=[{"inputs": rows}])
    requirements = [line.strip(" -") for line in (target / "config.yaml").read_text().splitlines()]
    assert f"catboost=={catboost.__version__}" in requirements
    assert not [line for line in requirements if line.startswith(("scikit-learn", "pandas"))]
    with running_server(target) as server:
        response = server.predict({"inputs": rows})
    assert response.status == 200
    assert response.json() == {
        "predictions": model.predict(rows).tolist(),
        "probabilities": model.predict_proba(rows).tolist(),
    }

"""What the XGBoost adapter answers beside the library itself, what it refuses and says."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

import truss
from truss.errors import PackagingError
from truss.frameworks.registry import framework_for
from truss.frameworks.xgboost import model_class
from truss.frameworks.xgboost.adapter import XgboostFramework
from truss.testing.server import running_server

FRAMEWORK = XgboostFramework()
IRIS = load_iris(as_frame=True)
CANCER = load_breast_cancer()
DIABETES = load_diabetes()
TREES = {"n_estimators": 8, "max_depth": 3}


class Louder(xgboost.XGBRegressor):
    def predict(self, *args: Any, **kwargs: Any) -> Any:
        return super().predict(*args, **kwargs) * 10


class Renamed(xgboost.XGBRegressor):
    """A name of one's own, and nothing else."""


def packaged(model: Any, folder: Path) -> model_class.Model:
    saved = FRAMEWORK.save(model, folder)
    copy = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata})
    copy.load()
    return copy


def cancer(**parameters: Any) -> xgboost.XGBClassifier:
    return xgboost.XGBClassifier(**TREES, **parameters).fit(CANCER.data, CANCER.target)


def booster(objective: str, labels: Any = CANCER.target, data: Any = CANCER.data, **parameters: Any) -> Any:
    return xgboost.train({"objective": objective, **parameters}, xgboost.DMatrix(data, labels), 5)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (xgboost.XGBClassifier(), "xgboost"),
        (xgboost.XGBRanker(), "xgboost"),
        (xgboost.XGBRFRegressor(), "xgboost"),
        (xgboost.Booster(), "xgboost"),
        (Renamed(), "xgboost"),
        (Louder(), "sklearn"),
        (make_pipeline(SimpleImputer(), xgboost.XGBClassifier()), "sklearn"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_models_without_code_of_their_own_are_for_this_framework(model, name):
    assert framework_for(model).name == name


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"booster": "dart", "rate_drop": 0.5},
        {"booster": "gblinear"},
        {"base_score": 0.9},
        {"scale_pos_weight": 9.0},
        {"missing": 0.0},
        {"early_stopping_rounds": 1},
        {"objective": lambda true, raw: (1 / (1 + np.exp(-raw)) - true, np.full(len(true), 0.25))},
    ],
    ids=lambda parameters: next(iter(parameters), "plain"),
)
def test_two_classes_are_answered_as_the_estimator_answers(parameters, tmp_path):
    settings = {"n_estimators": 8} if parameters.get("booster") == "gblinear" else TREES
    model = xgboost.XGBClassifier(**settings, **parameters)
    model.fit(CANCER.data[::2], CANCER.target[::2], eval_set=[(CANCER.data, CANCER.target)], verbose=False)
    answer = packaged(model, tmp_path).predict({"inputs": CANCER.data.tolist()})
    assert answer["predictions"] == model.predict(CANCER.data).tolist()
    assert answer["probabilities"] == model.predict_proba(CANCER.data).tolist()


@pytest.mark.parametrize("kind", [xgboost.XGBClassifier, xgboost.XGBRFClassifier])
@pytest.mark.parametrize("objective", ["multi:softprob", "multi:softmax"])
def test_several_classes_are_answered_as_the_estimator_answers(kind, objective, tmp_path):
    model = kind(**TREES, objective=objective).fit(IRIS.data, IRIS.target)
    answer = packaged(model, tmp_path).predict({"inputs": IRIS.data.to_numpy().tolist()})
    assert answer["predictions"] == model.predict(IRIS.data).tolist()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(IRIS.data), rtol=1e-6)


def test_several_labels_per_row_are_answered_as_the_estimator_answers(tmp_path):
    labels = np.c_[IRIS.target == 0, IRIS.target > 0].astype(int)
    model = xgboost.XGBClassifier(**TREES).fit(IRIS.data, labels)
    answer = packaged(model, tmp_path).predict({"inputs": IRIS.data.to_numpy().tolist()})
    assert answer["predictions"] == model.predict(IRIS.data).tolist()
    assert answer["probabilities"] == model.predict_proba(IRIS.data).tolist()


@pytest.mark.parametrize(
    "model",
    [
        xgboost.XGBRegressor(**TREES),
        xgboost.XGBRegressor(**TREES, objective="reg:absoluteerror", base_score=100.0),
        xgboost.XGBRegressor(**TREES, objective="count:poisson"),
        xgboost.XGBRegressor(**TREES, early_stopping_rounds=1, learning_rate=1.0),
        xgboost.XGBRFRegressor(n_estimators=8),
        Renamed(**TREES),
    ],
    ids=lambda model: model.objective,
)
def test_numbers_are_answered_as_the_estimator_answers(model, tmp_path):
    data, target = DIABETES.data, DIABETES.target
    model.fit(data[::2], target[::2], eval_set=[(data, target)], verbose=False)
    answer = packaged(model, tmp_path).predict({"inputs": data.tolist()})
    assert answer == {"predictions": model.predict(data).tolist()}


class TestBooster:
    ROWS = xgboost.DMatrix(CANCER.data)

    def ask(self, model: Any, folder: Path, data: Any = CANCER.data) -> Any:
        return packaged(model, folder).predict({"inputs": data.tolist()})

    def test_two_classes(self, tmp_path):
        model = booster("binary:logistic")
        answer = self.ask(model, tmp_path)
        of_the_second = model.predict(self.ROWS)
        assert answer["predictions"] == (of_the_second > 0.5).astype(int).tolist()
        assert answer["probabilities"] == np.c_[1 - of_the_second, of_the_second].tolist()

    def test_raw_scores_become_probabilities(self, tmp_path):
        model = booster("binary:logitraw")
        answer = self.ask(model, tmp_path)
        scores = model.predict(self.ROWS)
        assert answer["predictions"] == (scores > 0).astype(int).tolist()
        np.testing.assert_allclose(np.array(answer["probabilities"])[:, 1], 1 / (1 + np.exp(-scores)), 1e-6)

    def test_classes_without_probabilities(self, tmp_path):
        model = booster("binary:hinge")
        assert self.ask(model, tmp_path) == {"predictions": model.predict(self.ROWS).astype(int).tolist()}

    def test_classes_answered_by_number_have_probabilities_too(self, tmp_path):
        model = booster("multi:softmax", IRIS.target, IRIS.data, num_class=3)
        answer = self.ask(model, tmp_path, IRIS.data.to_numpy())
        assert answer["predictions"] == model.predict(xgboost.DMatrix(IRIS.data)).astype(int).tolist()
        np.testing.assert_allclose(np.sum(answer["probabilities"], axis=1), 1, rtol=1e-6)

    def test_the_probability_of_a_regression_stays_a_number(self, tmp_path):
        model = booster("reg:logistic")
        assert self.ask(model, tmp_path) == {"predictions": model.predict(self.ROWS).tolist()}

    def test_that_it_knows_no_labels_is_said(self, tmp_path):
        assert any("labels" in note for note in FRAMEWORK.save(booster("binary:logistic"), tmp_path).notes)

    def test_that_it_uses_rounds_past_the_best_is_said(self, tmp_path):
        model = booster("reg:squarederror")
        model.set_attr(best_iteration="1")
        assert any("booster[: 2]" in note for note in FRAMEWORK.save(model, tmp_path).notes)

    def test_of_one_cut_to_its_best_rounds_nothing_is_said(self, tmp_path):
        model = booster("reg:squarederror")[:2]
        model.set_attr(best_iteration="1")
        assert FRAMEWORK.save(model, tmp_path).notes == ()


class TestCategories:
    COLOURS = ("red", "green", "blue")

    def table(self) -> pd.DataFrame:
        random = np.random.default_rng(0)
        return pd.DataFrame(
            {
                "colour": pd.Categorical(random.choice(self.COLOURS, 200), categories=self.COLOURS),
                "size": random.normal(size=200),
                "shop": pd.Categorical(random.choice([10, 3, 7], 200)),
            }
        )

    def model(self, **parameters: Any) -> xgboost.XGBRegressor:
        table = self.table()
        target = table.colour.map({"red": 5, "green": 0, "blue": 9}).astype(float) + table.shop.astype(int)
        return xgboost.XGBRegressor(n_estimators=5, enable_categorical=True, **parameters).fit(table, target)

    @pytest.mark.parametrize("kind", ["gbtree", "dart"])
    def test_they_are_given_by_name(self, kind, tmp_path):
        model, table = self.model(booster=kind), self.table()
        copy = packaged(model, tmp_path)
        expected = {"predictions": model.predict(table).tolist()}
        assert len(set(expected["predictions"])) > 5
        assert copy.predict({"inputs": table.to_dict("records")}) == expected
        assert copy.predict({"inputs": table.to_numpy(dtype=object).tolist()}) == expected

    def test_an_unknown_one_is_null(self):
        known, unknown = self.table()[:1], self.table()[:1]
        unknown["colour"] = unknown.colour.cat.set_categories(["red"]).where([False])
        model = self.model()
        row = {**known.to_dict("records")[0], "colour": None}
        assert FRAMEWORK.answer(model, {"inputs": [row]})["predictions"] == model.predict(unknown).tolist()

    def test_one_that_training_never_saw_is_refused(self):
        with pytest.raises(ValueError, match=r"'pink' is no category of 'colour'.*'red'"):
            FRAMEWORK.answer(self.model(), {"inputs": [["pink", 0.0, 3]]})

    def test_without_names_they_are_given_by_code(self, tmp_path):
        codes = np.arange(30).reshape(-1, 1) % 3
        model = xgboost.XGBRegressor(n_estimators=3, feature_types=["c"], enable_categorical=True)
        model.fit(codes, codes.ravel() == 1)
        saved = FRAMEWORK.save(model, tmp_path)
        assert any("codes" in note for note in saved.notes)
        answer = FRAMEWORK.answer(model, {"inputs": [[0], [1], [2]]})
        np.testing.assert_array_equal(answer["predictions"], model.predict(codes[:3]))

    def test_names_that_the_library_cuts_are_refused(self, tmp_path):
        table = pd.DataFrame({"colour": pd.Categorical(["weiß", "grün", "rot"] * 9)})
        model = xgboost.XGBRegressor(n_estimators=1, enable_categorical=True).fit(table, np.arange(27))
        with pytest.raises(PackagingError, match=r"'colour'.*non-ASCII") as caught:
            FRAMEWORK.save(model, tmp_path)
        assert "OrdinalEncoder" in str(caught.value)
        assert list(tmp_path.iterdir()) == []


class TestInputs:
    def model(self) -> Any:
        table = IRIS.data.iloc[:, :2].set_axis(["length", "width"], axis=1)
        return xgboost.XGBClassifier(**TREES).fit(table, IRIS.target)

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

    def test_null_is_a_missing_value(self):
        model = self.model()
        expected = model.predict_proba(np.array([[np.nan, 3.5]]))
        answer = FRAMEWORK.answer(model, {"inputs": [[None, 3.5]]})
        np.testing.assert_array_equal(answer["probabilities"], expected)

    def test_no_rows_have_no_answers(self):
        assert FRAMEWORK.answer(self.model(), {"inputs": []}) == {"predictions": [], "probabilities": []}

    @pytest.mark.parametrize(
        ("rows", "message"),
        [
            ([{"length": 5.0}], r"lacks \['width'\].*null"),
            ([[5.0]], r"2 values, or a record with names: \['length', 'width'\]"),
            ([5.0, 3.5], r"list of 2 values"),
            ([["long", 3.5]], "'long'"),
        ],
    )
    def test_rows_that_do_not_fit_are_refused(self, rows, message):
        with pytest.raises(ValueError, match=message):
            FRAMEWORK.answer(self.model(), {"inputs": rows})


@pytest.mark.parametrize("model", [xgboost.XGBClassifier(), xgboost.Booster()], ids=["estimator", "booster"])
def test_a_model_that_is_not_trained_is_refused(model, tmp_path):
    with pytest.raises(PackagingError, match="cannot answer requests"):
        FRAMEWORK.save(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_one_that_the_estimator_reads(tmp_path):
    model = cancer()
    FRAMEWORK.save(model, tmp_path)
    again = xgboost.XGBClassifier()
    again.load_model(tmp_path / "model" / "model.ubj")
    np.testing.assert_array_equal(again.predict_proba(CANCER.data), model.predict_proba(CANCER.data))


def test_it_serves_over_http(tmp_path):
    model = cancer()
    target = tmp_path / "cancer"
    rows = CANCER.data[:2].tolist()
    truss.create(model, target, examples=[{"inputs": rows}])
    requirements = [line.strip(" -") for line in (target / "config.yaml").read_text().splitlines()]
    assert f"xgboost-cpu=={xgboost.__version__}" in requirements
    assert not [line for line in requirements if line.startswith(("scikit-learn", "pandas"))]
    with running_server(target) as server:
        response = server.predict({"inputs": rows})
    assert response.status == 200
    assert response.json() == FRAMEWORK.answer(model, {"inputs": rows})


def test_a_pipeline_serves_over_http(tmp_path):
    model = make_pipeline(SimpleImputer(), xgboost.XGBClassifier(**TREES)).fit(CANCER.data, CANCER.target)
    target = tmp_path / "pipeline"
    rows = CANCER.data[:2].tolist()
    truss.create(model, target, examples=[{"inputs": rows}])
    assert f"xgboost-cpu=={xgboost.__version__}" in (target / "config.yaml").read_text()
    with running_server(target) as server:
        answer = server.predict({"inputs": rows}).json()
    assert answer["predictions"] == model.predict(rows).tolist()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(rows), rtol=1e-6)

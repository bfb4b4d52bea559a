"""What the statsmodels adapter saves, leaves out, refuses and says."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import statsmodels
import statsmodels.api as sm
import statsmodels.formula.api as smf
from sklearn.datasets import load_diabetes

import truss
from truss.errors import PackagingError
from truss.frameworks.registry import framework_for
from truss.frameworks.statsmodels import model_class
from truss.frameworks.statsmodels.adapter import StatsmodelsFramework
from truss.testing.server import running_server

FRAMEWORK = StatsmodelsFramework()
TABLE = load_diabetes(as_frame=True).frame
MATRIX = sm.add_constant(TABLE[["bmi", "bp"]])
ROWS = [[0.05, 0.02], [-0.01, 0.0]]


def linear() -> Any:
    return sm.OLS(TABLE.target, MATRIX).fit()


def series() -> Any:
    return sm.tsa.ExponentialSmoothing(TABLE.target[:60].to_numpy()).fit()


def load(saved: Any, folder: Path) -> Any:
    model = model_class.Model(data_dir=folder, config={"model_metadata": saved.model_metadata})
    model.load()
    return model


def doubled(values: Any) -> Any:
    return values * 2


def test_results_are_for_this_framework():
    assert framework_for(linear()).name == "statsmodels"


@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, *row] for row in ROWS],
        ROWS,
        [{"const": 1.0, "bmi": bmi, "bp": bp} for bmi, bp in ROWS],
        [{"bp": bp, "bmi": bmi} for bmi, bp in ROWS],
    ],
    ids=["with the constant", "without it", "records with it", "records without it"],
)
def test_rows_come_in_any_form_with_the_same_answer(rows):
    fitted = linear()
    expected = fitted.predict([[1.0, *row] for row in ROWS])
    assert FRAMEWORK.answer(fitted, {"inputs": rows}) == {"predictions": expected.tolist()}


def test_a_model_without_a_constant_gets_none():
    fitted = sm.OLS(TABLE.target, TABLE[["bmi", "bp"]]).fit()
    assert FRAMEWORK.answer(fitted, {"inputs": ROWS})["predictions"] == fitted.predict(ROWS).tolist()


def test_a_formula_asks_for_the_columns_that_it_names(tmp_path):
    saved = FRAMEWORK.save(smf.ols("target ~ np.exp(bmi) + C(sex > 0)", TABLE).fit(), tmp_path)
    assert saved.model_metadata["features"] == ["sex", "bmi"]


def test_training_data_are_left_out_where_predictions_do_not_need_them(tmp_path):
    fitted = linear()
    saved = FRAMEWORK.save(fitted, tmp_path)
    (path,) = saved.pickle_files
    assert path.stat().st_size < len(pickle.dumps(fitted)) / 10
    assert load(saved, tmp_path).predict({"inputs": ROWS}) == FRAMEWORK.answer(fitted, {"inputs": ROWS})
    assert fitted.model.exog is not None, "the object in the session keeps its data"
    assert saved.notes == ()


@pytest.mark.parametrize("make", [lambda: smf.ols("target ~ bmi", TABLE).fit(), series])
def test_it_is_said_where_training_data_go_along(make, tmp_path):
    assert any("training data are saved" in note for note in FRAMEWORK.save(make(), tmp_path).notes)


def test_values_per_row_are_passed_on():
    family = sm.families.Poisson()
    fitted = sm.GLM(TABLE.target, MATRIX, family=family, exposure=np.full(len(TABLE), 2.0)).fit()
    ask = {"inputs": ROWS, "exposure": [1.0, 4.0]}
    expected = fitted.predict([[1.0, *row] for row in ROWS], exposure=np.array([1.0, 4.0]))
    assert FRAMEWORK.answer(fitted, ask)["predictions"] == expected.tolist()


def test_rows_are_joined_where_each_is_answered_by_itself(tmp_path):
    assert FRAMEWORK.save(linear(), tmp_path).batching == "rows"


def test_rows_that_touch_their_neighbours_are_not_joined(tmp_path):
    saved = FRAMEWORK.save(smf.ols("target ~ np.cumsum(bmi)", TABLE).fit(), tmp_path)
    assert saved.batching == "none"
    assert "depended on the other rows" in saved.notes[-1]


def test_a_forecast_looks_as_far_as_it_is_asked():
    fitted = series()
    assert FRAMEWORK.answer(fitted, {"steps": 3}) == {"predictions": fitted.forecast(3).tolist()}


def refused(results: Any, folder: Path) -> str:
    """What saving the results says, of which nothing may be left."""
    with pytest.raises(PackagingError) as caught:
        FRAMEWORK.save(results, folder)
    assert list(folder.iterdir()) == []
    assert caught.value.hint
    return str(caught.value)


def test_a_formula_with_a_function_of_ones_own_is_refused(tmp_path):
    fitted = smf.ols("target ~ doubled(bmi)", TABLE).fit()
    text = refused(fitted, tmp_path)
    assert "doubled" in text
    assert "as a column before the fit" in text


def test_results_without_their_columns_are_refused(tmp_path):
    fitted = linear()
    fitted.remove_data()
    assert "before `remove_data`" in refused(fitted, tmp_path)


def test_results_that_need_more_than_rows_are_refused(tmp_path):
    fitted = sm.tsa.VAR(TABLE[["bmi", "bp"]][:50].to_numpy()).fit(2)
    assert "package a function" in refused(fitted, tmp_path)


@pytest.mark.parametrize(
    ("make", "request_", "error", "message"),
    [
        (linear, {"inputs": [[1.0]]}, ValueError, r"3 values \['const', 'bmi', 'bp'\].*have 1"),
        (linear, {"inputs": [{"bmi": 1.0}]}, ValueError, r"records lack \['bp'\]"),
        (linear, {"inputs": [{"bmi": 1.0, "bp": 1.0}, [1.0, 1.0]]}, TypeError, "all records or all lists"),
        (series, {"inputs": [[1.0]]}, ValueError, r'"steps": 3'),
    ],
)
def test_a_request_that_does_not_fit_is_refused(make, request_, error, message):
    with pytest.raises(error, match=message):
        FRAMEWORK.answer(make(), request_)


def test_it_serves_over_http(tmp_path):
    fitted = linear()
    target = tmp_path / "linear"
    truss.create(fitted, target, examples=[{"inputs": ROWS}])
    config = (target / "config.yaml").read_text()
    assert f"statsmodels=={statsmodels.__version__}" in config
    assert "cloudpickle" not in config
    with running_server(target) as server:
        response = server.predict({"inputs": ROWS})
    assert response.status == 200
    np.testing.assert_allclose(
        response.json()["predictions"],
        FRAMEWORK.answer(fitted, {"inputs": ROWS})["predictions"],
        rtol=1e-12,
    )

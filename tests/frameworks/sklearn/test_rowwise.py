"""Rows are joined only where each row's answer does not depend on its neighbours."""

import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_digits, load_iris
from sklearn.decomposition import NMF
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # makes IterativeImputer importable
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import IterativeImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, scale
from sklearn.svm import SVC
from sklearn.utils import all_estimators

from truss.frameworks.sklearn.adapter import SklearnFramework
from truss.frameworks.sklearn.rowwise import reason_against_joining

# Estimators that need other estimators as arguments, or data of another kind than a table of numbers.
FEWEST_COVERED = 110


class Centre(TransformerMixin, BaseEstimator):
    def fit(self, rows: Any, y: Any = None) -> "Centre":
        self.n_features_in_ = np.shape(rows)[1]
        return self

    def transform(self, rows: Any) -> Any:
        return rows - np.mean(rows, axis=0)


def centre(rows: Any) -> Any:
    return rows - np.mean(rows, axis=0)


def split_words(text: str) -> list[str]:
    return text.split()


DIGITS, LABELS = load_digits(return_X_y=True)


@pytest.mark.parametrize(
    "model",
    [
        RandomForestClassifier(20, random_state=0),
        SVC(random_state=0),
        KNeighborsClassifier(),
        GradientBoostingClassifier(n_estimators=5, random_state=0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_joined_rows_are_equal_bit_for_bit_where_no_matrix_product_is_involved(model):
    model.fit(DIGITS[:400], LABELS[:400])
    assert answers_together(model) == answers_one_by_one(model)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(max_iter=100),
        MLPClassifier((20,), max_iter=20, random_state=0),
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
        make_pipeline(StandardScaler(), Ridge()),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_joined_rows_differ_in_the_last_bits_at_most_where_one_is(model):
    model.fit(DIGITS[:400], LABELS[:400])
    together, one_by_one = answers_together(model), answers_one_by_one(model)
    np.testing.assert_allclose(together["predictions"], one_by_one["predictions"], rtol=1e-12)
    if "probabilities" in together:
        np.testing.assert_allclose(together["probabilities"], one_by_one["probabilities"], rtol=1e-12)


def answers_together(model: Any) -> dict[str, Any]:
    assert reason_against_joining(model) is None
    return SklearnFramework().answer(model, {"inputs": DIGITS[400:450].tolist()})


def answers_one_by_one(model: Any) -> dict[str, Any]:
    answers = [SklearnFramework().answer(model, {"inputs": [row]}) for row in DIGITS[400:450].tolist()]
    return {key: [item for answer in answers for item in answer[key]] for key in answers[0]}


def test_every_estimator_of_the_library_that_is_joined_answers_row_by_row():
    tried = {name: agree for name, kind in all_estimators() if (agree := _joined_agrees(kind)) is not None}
    assert [name for name, agree in tried.items() if not agree] == []
    assert len(tried) >= FEWEST_COVERED


def _joined_agrees(kind: Any) -> bool | None:
    """Whether joined rows are answered as separate ones, or not joined; None when it cannot be tried."""
    iris = load_iris()
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = kind().fit(iris.data[::2], iris.target[::2])
            compute = getattr(model, "predict", None) or model.transform
            together = _dense(compute(iris.data[1:21:2]))
            one_by_one = [_dense(compute(iris.data[i : i + 1])) for i in range(1, 21, 2)]
        except (TypeError, ValueError, AttributeError, ImportError, LookupError):
            return None
    if reason_against_joining(model) is not None:
        return True
    joined_shape = {part.shape for part in one_by_one} == {(1, *together.shape[1:])}
    return joined_shape and np.allclose(together, np.concatenate(one_by_one), rtol=1e-9, atol=1e-12)


def _dense(values: Any) -> Any:
    return values.toarray() if hasattr(values, "toarray") else np.asarray(values)


@pytest.mark.parametrize(
    ("model", "named"),
    [
        (NMF(2), "NMF"),
        (DummyClassifier(strategy="stratified"), "DummyClassifier"),
        (IterativeImputer(sample_posterior=True), "IterativeImputer"),
        (make_pipeline(StandardScaler(), NMF(2)), "NMF"),
        (make_pipeline(FunctionTransformer(centre), Ridge()), "func"),
        (make_pipeline(FunctionTransformer(np.cumsum), Ridge()), "func"),
        (make_pipeline(FunctionTransformer(scale), Ridge()), "func"),
        (
            TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=lambda y: y / y.max()),
            "inverse_func",
        ),
        (make_pipeline(Centre(), Ridge()), "Centre"),
        (GridSearchCV(make_pipeline(Centre(), Ridge()), {}), "Centre"),
        (SVC(kernel=lambda one, other: one @ other.T), "kernel"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseEstimator) else value,
)
def test_estimators_that_look_at_the_whole_batch_are_not_joined(model, named):
    assert named in reason_against_joining(model)


def test_an_estimator_that_a_search_put_in_place_of_another_counts():
    iris = load_iris()
    pipeline = make_pipeline(StandardScaler(), Ridge())
    search = GridSearchCV(pipeline, {"standardscaler": [Centre()]}, cv=2).fit(iris.data, iris.target)
    assert "Centre" in reason_against_joining(search)


@pytest.mark.parametrize(
    "model",
    [
        DummyClassifier(),
        FunctionTransformer(np.log1p),
        FunctionTransformer(),
        TransformedTargetRegressor(Ridge(), func=np.log, inverse_func=np.exp),
        KernelRidge(kernel=rbf_kernel),
        GaussianProcessRegressor(RBF() + WhiteKernel()),
        TfidfVectorizer(tokenizer=split_words),
        KNeighborsClassifier(metric=lambda one, other: abs(one - other).max()),
        GridSearchCV(Ridge(), {}, scoring=lambda model, rows, y: 0.0),
    ],
    ids=lambda model: type(model).__name__,
)
def test_functions_that_see_one_item_at_a_time_do_not_stand_in_the_way(model):
    assert reason_against_joining(model) is None

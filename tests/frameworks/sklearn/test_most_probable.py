"""Classes read off the probabilities are those that `predict` gives, at the borders between classes too."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_iris, make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from truss.frameworks.sklearn.adapter import SklearnFramework
from truss.frameworks.sklearn.most_probable import _KNOWN, predicts_most_probable

DATA = {"iris": load_iris(return_X_y=True), "cancer": load_breast_cancer(return_X_y=True)}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "BernoulliNB": {"binarize": 2.0},
    "CalibratedClassifierCV": {"estimator": LogisticRegression(max_iter=50)},
    "QuadraticDiscriminantAnalysis": {"reg_param": 0.1},
    "VotingClassifier": {
        "estimators": [("a", GaussianNB()), ("b", DecisionTreeClassifier(max_depth=2))],
        "voting": "soft",
    },
}
KINDS = {name: kind for name, kind in all_estimators("classifier") if name in _KNOWN}


def borders(model: Any, rows: np.ndarray) -> np.ndarray:
    """Rows that lie, as near as float64 can tell, where one class changes to another."""
    classes = model.predict(rows)
    lows, highs = rows[:-1].copy(), rows[1:].copy()
    differing = classes[:-1] != classes[1:]
    lows, highs, here = lows[differing], highs[differing], classes[:-1][differing]
    for _ in range(60):
        middles = (lows + highs) / 2
        same = model.predict(middles) == here
        lows[same], highs[~same] = middles[same], middles[~same]
    return np.concatenate([lows, highs])


def answers_agree(model: Any, rows: np.ndarray) -> None:
    answer = SklearnFramework().answer(model, {"inputs": rows.tolist()})
    assert answer["predictions"] == model.predict(rows).tolist()
    assert answer["probabilities"] == model.predict_proba(rows).tolist()


def test_each_known_class_exists():
    assert set(KINDS) == _KNOWN


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", sorted(KINDS))
def test_known_classifiers_answer_as_predict_does(name, data):
    features, classes = DATA[data]
    generator = np.random.default_rng(0)
    order = generator.permutation(len(features))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = KINDS[name](**ARGUMENTS.get(name, {})).fit(features[order], classes[order])
    assert predicts_most_probable(model)
    mixed = features[order] * generator.uniform(0.9, 1.1, features.shape)
    answers_agree(model, mixed)
    at_borders = borders(model, mixed[:40])
    assert len(at_borders)
    answers_agree(model, at_borders)


def test_pipelines_and_searches_are_what_is_in_them():
    features, classes = DATA["iris"]
    search = GridSearchCV(make_pipeline(StandardScaler(), LogisticRegression()), {}, cv=2)
    assert predicts_most_probable(search.fit(features, classes))
    answers_agree(search, features)


def test_one_call_computes_both(monkeypatch):
    features, classes = DATA["iris"]
    model = RandomForestClassifier(5).fit(features, classes)
    calls = []
    whole = RandomForestClassifier.predict_proba
    monkeypatch.setattr(
        RandomForestClassifier, "predict_proba", lambda self, rows: calls.append(1) or whole(self, rows)
    )
    SklearnFramework().answer(model, {"inputs": [[9.0, 1.0, 9.0, 9.0]]})
    assert len(calls) == 1


class Stubborn(LogisticRegression):
    def predict(self, rows: Any) -> Any:
        return np.zeros(len(rows), int)


@pytest.mark.parametrize(
    "model", [Stubborn(), FixedThresholdClassifier(LogisticRegression(max_iter=5000), threshold=0.9)]
)
def test_others_are_asked_for_both(model):
    features, classes = DATA["cancer"]
    assert not predicts_most_probable(model.fit(features, classes))
    answers_agree(model, features)


def test_several_outputs(tmp_path: Path):
    features, labels = make_multilabel_classification(random_state=0)
    model = RandomForestClassifier(3).fit(features, labels)
    assert not predicts_most_probable(model)
    saved = SklearnFramework().save(model, tmp_path)
    assert "predicts_most_probable" not in saved.model_metadata

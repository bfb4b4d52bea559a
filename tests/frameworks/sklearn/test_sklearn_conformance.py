"""The shared suite, over the kinds of estimators people train."""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import RandomForestClassifier, StackingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeRegressor

from truss.frameworks.sklearn.adapter import SklearnFramework
from truss.testing.environments import OwnEnvironment, ServedAlone

TEXTS = ["a warm and kind film", "dull, slow, dreadful", "kind people, warm light", "slow and dull again"]


def answer(request: Any) -> Any:
    return request


class SklearnConformance(ServedAlone):
    framework = SklearnFramework()
    strangers = (answer, np.zeros(3), pd.DataFrame({"a": [1]}), load_iris())

    def make_request(self) -> Any:
        return {"inputs": load_iris().data[::30].tolist()}


class TestForest(OwnEnvironment, SklearnConformance):
    def make_model(self) -> Any:
        return RandomForestClassifier(10, random_state=0).fit(*load_iris(return_X_y=True))


class TestSearchOverPipeline(SklearnConformance):
    def make_model(self) -> Any:
        pipeline = make_pipeline(StandardScaler(), SVC(random_state=0))
        return GridSearchCV(pipeline, {"svc__C": [0.1, 1.0]}, cv=2).fit(*load_iris(return_X_y=True))


class TestStringLabels(SklearnConformance):
    def make_model(self) -> Any:
        iris = load_iris()
        return LogisticRegression(max_iter=500).fit(iris.data, iris.target_names[iris.target])


class TestRegressorsStacked(SklearnConformance):
    def make_request(self) -> Any:
        return {"inputs": load_diabetes().data[::100].tolist()}

    def make_model(self) -> Any:
        parts = [("linear", LinearRegression()), ("tree", DecisionTreeRegressor(random_state=0, max_depth=3))]
        return StackingRegressor(parts, cv=2).fit(*load_diabetes(return_X_y=True))


class TestSeveralOutputs(SklearnConformance):
    def make_model(self) -> Any:
        features, species = load_iris(return_X_y=True)
        return RandomForestClassifier(5, random_state=0).fit(features, np.c_[species, species == 1])


class TestRecordsOfMixedColumns(SklearnConformance):
    def make_request(self) -> Any:
        return {
            "inputs": [
                {"petal": 1.4, "colour": "blue", "id": 17},
                {"colour": "violet", "petal": 4.7},
                {"petal": 5.9, "colour": "green"},
            ]
        }

    def make_model(self) -> Any:
        iris = load_iris()
        table = pd.DataFrame(
            {"colour": np.array(["blue", "violet", "white"])[iris.target], "petal": iris.data[:, 2]}
        )
        columns = ColumnTransformer(
            [
                ("colour", OneHotEncoder(handle_unknown="ignore"), ["colour"]),
                ("petal", StandardScaler(), ["petal"]),
            ]
        )
        return make_pipeline(columns, LogisticRegression()).fit(table, iris.target)


class TestTexts(SklearnConformance):
    def make_request(self) -> Any:
        return {"inputs": ["a kind film", "dull again and slow"]}

    def make_model(self) -> Any:
        return make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(TEXTS, [1, 0, 1, 0])


class TestTextsToSparseVectors(SklearnConformance):
    def make_request(self) -> Any:
        return {"inputs": ["a kind film", "dull again and slow"]}

    def make_model(self) -> Any:
        return TfidfVectorizer().fit(TEXTS)


class TestClusters(SklearnConformance):
    def make_model(self) -> Any:
        return KMeans(3, random_state=0, n_init=1).fit(load_iris().data)

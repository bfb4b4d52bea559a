"""The shared suite, over the kinds of models that CatBoost trains."""

from typing import Any

import catboost
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from truss.frameworks.catboost.adapter import CatboostFramework
from truss.testing.environments import OwnEnvironment, ServedAlone

IRIS = load_iris(as_frame=True)
QUIET = {"iterations": 5, "depth": 3, "verbose": 0, "allow_writing_files": False}


def flowers() -> pd.DataFrame:
    """Irises with a colour in place of a length, and some values unknown."""
    table = IRIS.data.copy()
    table.loc[::7, "petal width (cm)"] = np.nan
    colours = np.array(["violet", "blue", "weiß"])[(IRIS.target + np.arange(150) % 2) % 3]
    return table.assign(colour=colours).drop(columns="petal length (cm)")


class CatboostConformance(ServedAlone):
    framework = CatboostFramework()
    strangers = (
        LogisticRegression(),
        make_pipeline(StandardScaler(), catboost.CatBoostClassifier()),
        catboost.Pool(np.zeros((1, 1))),
        np.zeros(3),
    )

    def make_request(self) -> Any:
        return {"inputs": IRIS.data[::30].to_numpy().tolist()}


class TestTwoClasses(OwnEnvironment, CatboostConformance):
    def make_model(self) -> Any:
        return catboost.CatBoostClassifier(**QUIET).fit(*load_breast_cancer(return_X_y=True))

    def make_request(self) -> Any:
        return {"inputs": load_breast_cancer().data[::100].tolist()}


class TestNamedClasses(CatboostConformance):
    def make_model(self) -> Any:
        return catboost.CatBoostClassifier(**QUIET).fit(IRIS.data, IRIS.target_names[IRIS.target])


class TestRecordsWithCategoriesAndMissingValues(CatboostConformance):
    def make_model(self) -> Any:
        return catboost.CatBoostClassifier(**QUIET, cat_features=["colour"]).fit(flowers(), IRIS.target)

    def make_request(self) -> Any:
        rows = flowers()[::30].astype(object)
        return {"inputs": rows.where(rows.notna(), None).to_dict("records")}


class TestRegressor(CatboostConformance):
    def make_model(self) -> Any:
        return catboost.CatBoostRegressor(**QUIET).fit(*load_diabetes(return_X_y=True))

    def make_request(self) -> Any:
        return {"inputs": load_diabetes().data[::100].tolist()}


class TestSeveralOutputs(CatboostConformance):
    def make_model(self) -> Any:
        model = catboost.CatBoostRegressor(**QUIET, loss_function="MultiRMSE")
        return model.fit(IRIS.data, np.c_[IRIS.target, IRIS.target * 2.0])


class TestRanker(CatboostConformance):
    def make_model(self) -> Any:
        return catboost.CatBoostRanker(**QUIET).fit(IRIS.data, IRIS.target, group_id=np.arange(150) // 30)


class TestPlainCatBoost(CatboostConformance):
    def make_model(self) -> Any:
        return catboost.CatBoost({**QUIET, "loss_function": "MultiClass"}).fit(IRIS.data, IRIS.target)

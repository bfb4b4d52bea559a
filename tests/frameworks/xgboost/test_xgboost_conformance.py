"""The shared suite, over the kinds of models that XGBoost trains."""

from typing import Any

import numpy as np
import pandas as pd
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from truss.frameworks.xgboost.adapter import XgboostFramework
from truss.testing.environments import OwnEnvironment, ServedAlone

IRIS = load_iris(as_frame=True)


def flowers() -> pd.DataFrame:
    """Irises with a colour in place of a length, and some values unknown."""
    table = IRIS.data.rename(columns=lambda name: name.removesuffix(" (cm)"))
    table.loc[::7, "petal width"] = np.nan
    colours = np.array(["violet", "blue", "white"])[(IRIS.target + np.arange(150) % 2) % 3]
    return table.assign(colour=pd.Categorical(colours)).drop(columns="petal length")


class XgboostConformance(ServedAlone):
    framework = XgboostFramework()
    strangers = (
        LogisticRegression(),
        make_pipeline(StandardScaler(), xgboost.XGBClassifier()),
        xgboost.DMatrix(np.zeros((1, 1))),
        np.zeros(3),
    )

    def make_request(self) -> Any:
        return {"inputs": IRIS.data[::30].to_numpy().tolist()}


class TestTwoClasses(XgboostConformance):
    def make_model(self) -> Any:
        return xgboost.XGBClassifier(n_estimators=5).fit(*load_breast_cancer(return_X_y=True))

    def make_request(self) -> Any:
        return {"inputs": load_breast_cancer().data[::100].tolist()}


class TestSeveralClasses(OwnEnvironment, XgboostConformance):
    def make_model(self) -> Any:
        return xgboost.XGBClassifier(n_estimators=4).fit(IRIS.data, IRIS.target)


class TestForest(XgboostConformance):
    def make_model(self) -> Any:
        return xgboost.XGBRFClassifier(n_estimators=4).fit(IRIS.data, IRIS.target)


class TestRecordsWithCategoriesAndMissingValues(XgboostConformance):
    def make_model(self) -> Any:
        return xgboost.XGBClassifier(n_estimators=4, enable_categorical=True).fit(flowers(), IRIS.target)

    def make_request(self) -> Any:
        rows = flowers()[::30].astype(object)
        return {"inputs": rows.where(rows.notna(), None).to_dict("records")}


class TestRegressor(XgboostConformance):
    def make_model(self) -> Any:
        return xgboost.XGBRegressor(n_estimators=5).fit(*load_diabetes(return_X_y=True))

    def make_request(self) -> Any:
        return {"inputs": load_diabetes().data[::100].tolist()}


class TestLinearRegressor(TestRegressor):
    def make_model(self) -> Any:
        model = xgboost.XGBRegressor(booster="gblinear", n_estimators=5)
        return model.fit(*load_diabetes(return_X_y=True))


class TestSeveralOutputs(XgboostConformance):
    def make_model(self) -> Any:
        return xgboost.XGBRegressor(n_estimators=3).fit(IRIS.data, np.c_[IRIS.target, IRIS.target * 2.0])


class TestRanker(XgboostConformance):
    def make_model(self) -> Any:
        model = xgboost.XGBRanker(n_estimators=3)
        return model.fit(IRIS.data, IRIS.target, qid=np.arange(150) // 30)


class TestBooster(XgboostConformance):
    def make_model(self) -> Any:
        parameters = {"objective": "multi:softprob", "num_class": 3, "booster": "dart", "rate_drop": 0.5}
        return xgboost.train(parameters, xgboost.DMatrix(IRIS.data, IRIS.target), 4)

"""The shared suite, over the kinds of models that LightGBM trains."""

from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from truss.frameworks.lightgbm.adapter import LightgbmFramework
from truss.testing.environments import OwnEnvironment, ServedAlone

IRIS = load_iris(as_frame=True)
QUIET = {"n_estimators": 5, "verbose": -1}


def flowers() -> pd.DataFrame:
    """Irises with a colour in place of a length, and some values unknown."""
    table = IRIS.data.copy()
    table.loc[::7, "petal width (cm)"] = np.nan
    colours = np.array(["violet", "blue", "weiß"])[(IRIS.target + np.arange(150) % 2) % 3]
    return table.assign(colour=pd.Categorical(colours)).drop(columns="petal length (cm)")


class LightgbmConformance(ServedAlone):
    framework = LightgbmFramework()
    strangers = (
        LogisticRegression(),
        make_pipeline(StandardScaler(), lightgbm.LGBMClassifier()),
        lightgbm.Dataset(np.zeros((1, 1))),
        np.zeros(3),
    )

    def make_request(self) -> Any:
        return {"inputs": IRIS.data[::30].to_numpy().tolist()}


class TestTwoClasses(OwnEnvironment, LightgbmConformance):
    def make_model(self) -> Any:
        return lightgbm.LGBMClassifier(**QUIET).fit(*load_breast_cancer(return_X_y=True))

    def make_request(self) -> Any:
        return {"inputs": load_breast_cancer().data[::100].tolist()}


class TestNamedClasses(LightgbmConformance):
    def make_model(self) -> Any:
        return lightgbm.LGBMClassifier(**QUIET).fit(IRIS.data, IRIS.target_names[IRIS.target])


class TestRecordsWithCategoriesAndMissingValues(LightgbmConformance):
    def make_model(self) -> Any:
        return lightgbm.LGBMClassifier(**QUIET).fit(flowers(), IRIS.target)

    def make_request(self) -> Any:
        rows = flowers()[::30].astype(object)
        return {"inputs": rows.where(rows.notna(), None).to_dict("records")}


class TestRegressor(LightgbmConformance):
    def make_model(self) -> Any:
        return lightgbm.LGBMRegressor(**QUIET).fit(*load_diabetes(return_X_y=True))

    def make_request(self) -> Any:
        return {"inputs": load_diabetes().data[::100].tolist()}


class TestRanker(LightgbmConformance):
    def make_model(self) -> Any:
        return lightgbm.LGBMRanker(**QUIET).fit(IRIS.data, IRIS.target, group=[30] * 5)


class TestBooster(LightgbmConformance):
    def make_model(self) -> Any:
        parameters = {"objective": "multiclass", "num_class": 3, "verbose": -1}
        return lightgbm.train(parameters, lightgbm.Dataset(IRIS.data, IRIS.target), 4)

"""The shared suite, over the kinds of models people fit with statsmodels."""

from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression

from truss.frameworks.statsmodels.adapter import StatsmodelsFramework
from truss.testing.environments import OwnEnvironment, ServedAlone

TABLE = load_diabetes(as_frame=True).frame
MATRIX = sm.add_constant(TABLE[["bmi", "bp"]])


class StatsmodelsConformance(ServedAlone):
    framework = StatsmodelsFramework()
    strangers = (np.zeros(3), pd.DataFrame({"a": [1]}), LinearRegression(), sm.OLS(TABLE.target, MATRIX))

    def make_request(self) -> Any:
        return {"inputs": [[0.05, 0.02], [-0.01, 0.0]]}


class TestLeastSquares(OwnEnvironment, StatsmodelsConformance):
    def make_model(self) -> Any:
        return sm.OLS(TABLE.target, MATRIX).fit()


class TestLogit(StatsmodelsConformance):
    def make_model(self) -> Any:
        return sm.Logit(TABLE.target > 140, MATRIX).fit(disp=0)


class TestSeveralClasses(StatsmodelsConformance):
    def make_model(self) -> Any:
        return sm.MNLogit(pd.cut(TABLE.target, 3).cat.codes, MATRIX).fit(disp=0)


class TestPoisson(StatsmodelsConformance):
    def make_model(self) -> Any:
        family = sm.families.Poisson()
        return sm.GLM(TABLE.target, MATRIX, family=family, offset=np.zeros(len(TABLE))).fit()

    def make_request(self) -> Any:
        return {"inputs": [[0.05, 0.02], [-0.01, 0.0]], "offset": 0.5}


class TestFormula(StatsmodelsConformance):
    def make_model(self) -> Any:
        return smf.ols("target ~ np.exp(bmi) + center(bp) + C(sex > 0)", TABLE).fit()

    def make_request(self) -> Any:
        return {"inputs": [{"bmi": 0.05, "bp": 0.02, "sex": 1.0}, {"bp": 0.0, "sex": -1.0, "bmi": -0.01}]}


class TestSeasonalSeries(StatsmodelsConformance):
    def make_model(self) -> Any:
        return sm.tsa.SARIMAX(TABLE.target[:60].to_numpy(), order=(1, 0, 0)).fit(disp=0)

    def make_request(self) -> Any:
        return {"steps": 3}


class TestSeriesWithExogenousVariables(StatsmodelsConformance):
    def make_model(self) -> Any:
        series, exog = TABLE.target[:60].to_numpy(), TABLE[["bmi"]][:60].to_numpy()
        return sm.tsa.SARIMAX(series, exog=exog, order=(1, 0, 0)).fit(disp=0)

    def make_request(self) -> Any:
        return {"inputs": [[0.01], [0.02]]}

"""The shared suite over estimators of libraries that build on scikit-learn, alone and among its own."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from category_encoders import TargetEncoder
from imblearn.ensemble import BalancedRandomForestClassifier
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import make_pipeline as make_sampling_pipeline
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import truss
from truss.config import read_config
from truss.frameworks.sklearn.adapter import SklearnFramework
from truss.testing.environments import ServedAlone

IRIS = load_iris()
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
RECORDS = [
    {"colour": "blue", "petal": 1.4},
    {"colour": "white", "petal": 4.7},
    {"colour": None, "petal": 5.9},
    {"colour": "unheard of", "petal": 5.1},
]


def table() -> pd.DataFrame:
    colours = np.array(["blue", "violet", "white"])[IRIS.target]
    return pd.DataFrame({"colour": colours, "petal": IRIS.data[:, 2]})


class TestForestOfImbalancedLearn(ServedAlone):
    framework = SklearnFramework()

    def make_model(self) -> Any:
        return BalancedRandomForestClassifier(5, random_state=0).fit(CANCER, MALIGNANT)

    def make_request(self) -> Any:
        return {"inputs": CANCER[::100].tolist()}


class TestPipelineOfImbalancedLearn(TestForestOfImbalancedLearn):
    """The sampler is for training only; rows that are asked about pass it by."""

    def make_model(self) -> Any:
        steps = [RandomOverSampler(random_state=0), StandardScaler(), LogisticRegression()]
        return make_sampling_pipeline(*steps).fit(CANCER, MALIGNANT)


class TestEncoderOfCategories(ServedAlone):
    """A table of texts and numbers, with values that training never saw."""

    framework = SklearnFramework()

    def make_model(self) -> Any:
        encoder = TargetEncoder(cols=["colour"])
        return make_pipeline(encoder, LogisticRegression()).fit(table(), IRIS.target == 2)

    def make_request(self) -> Any:
        return {"inputs": RECORDS}


def test_the_library_is_pinned_and_its_rows_are_not_joined(tmp_path: Path, capsys: Any) -> None:
    model = TestEncoderOfCategories().make_model()
    handle = truss.create(model, tmp_path / "made", examples={"inputs": RECORDS})
    expected = model.predict(pd.DataFrame(RECORDS)).tolist()
    assert handle.predict({"inputs": RECORDS})["predictions"] == expected
    config = read_config(tmp_path / "made")
    names = {line.partition("==")[0] for line in config.requirements}
    # pandas may keep texts in arrays of pyarrow, which are then in the pickle.
    assert names - {"pyarrow"} == {"category-encoders", "joblib", "numpy", "pandas", "scikit-learn"}
    assert config.runtime.batching.mode == "none"
    assert "category_encoders" in capsys.readouterr().err

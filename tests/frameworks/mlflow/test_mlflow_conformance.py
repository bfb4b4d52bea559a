"""The shared suite, over flavours and signatures of MLflow's models."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import mlflow_own_code
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow.models import ModelSignature, infer_signature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from sklearn.datasets import load_digits, load_iris
from sklearn.linear_model import LinearRegression, LogisticRegression
from xgboost import XGBRegressor

from truss.frameworks.mlflow.adapter import MlflowFramework
from truss.frameworks.mlflow.folder import MlflowFolder
from truss.testing.environments import OwnEnvironment, ServedAlone

IRIS, TARGET = load_iris(as_frame=True, return_X_y=True)
DIGITS = load_digits()
# Stated, so that they are not searched for.
REQUIREMENTS = ["numpy"]
OF_ESTIMATORS = ["scikit-learn", "skops"]


class MlflowConformance(ServedAlone):
    framework = MlflowFramework()
    strangers = (np.zeros(3), pd.DataFrame({"a": [1]}), LinearRegression(), Path())
    relative_tolerance = 1e-6

    @pytest.fixture(autouse=True)
    def _saved(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.folder = tmp_path_factory.mktemp("saved") / "model"

    def make_model(self) -> Any:
        if not self.folder.exists():
            self.save_model(self.folder)
        return MlflowFolder(self.folder)

    def save_model(self, folder: Path) -> None:
        raise NotImplementedError


class TestColumns(OwnEnvironment, MlflowConformance):
    def save_model(self, folder: Path) -> None:
        model = LogisticRegression(max_iter=500).fit(IRIS, TARGET)
        signature = infer_signature(IRIS, model.predict(IRIS))
        mlflow.sklearn.save_model(model, folder, signature=signature, pip_requirements=OF_ESTIMATORS)

    def make_request(self) -> Any:
        return {"inputs": IRIS.iloc[[0, 60, 120]].to_dict("records")}


class TestProbabilitiesOfRowsWithoutNames(MlflowConformance):
    def save_model(self, folder: Path) -> None:
        mlflow.sklearn.save_model(
            LogisticRegression(max_iter=500).fit(IRIS.to_numpy(), TARGET),
            folder,
            signature=ModelSignature(Schema([ColSpec(DataType.double)] * 4)),
            pyfunc_predict_fn="predict_proba",
            pip_requirements=OF_ESTIMATORS,
        )

    def make_request(self) -> Any:
        return {"inputs": IRIS.iloc[[0, 60, 120]].to_numpy().tolist()}


class TestTensor(MlflowConformance):
    def save_model(self, folder: Path) -> None:
        torch.manual_seed(0)
        mlflow.pytorch.save_model(
            torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)),
            folder,
            serialization_format="pickle",  # a traced program would take the number of rows of its example
            signature=ModelSignature(Schema([TensorSpec(np.dtype("float32"), (-1, 8, 8))])),
            pip_requirements=["torch"],
        )

    def make_request(self) -> Any:
        return {"inputs": DIGITS.images[:3].tolist()}


class TestBoosting(MlflowConformance):
    """A library's own format, without a signature."""

    def save_model(self, folder: Path) -> None:
        model = XGBRegressor(n_estimators=5).fit(IRIS, TARGET)
        mlflow.xgboost.save_model(model, folder, pip_requirements=["scikit-learn", "xgboost"])

    def make_request(self) -> Any:
        return {"inputs": IRIS.iloc[[0, 60, 120]].to_dict("records")}


class TestOwnCode(MlflowConformance):
    def save_model(self, folder: Path) -> None:
        columns = Schema(
            [
                ColSpec(DataType.long, "count"),
                ColSpec(DataType.float, "weight"),
                ColSpec(DataType.string, "who"),
            ]
        )
        factor = ParamSchema([ParamSpec("factor", DataType.double, 1.0)])
        mlflow.pyfunc.save_model(
            folder,
            python_model=mlflow_own_code.Summary(),
            signature=ModelSignature(columns, params=factor),
            code_paths=[mlflow_own_code.__file__],
            pip_requirements=REQUIREMENTS,
        )

    def make_request(self) -> Any:
        rows = [{"count": 2, "weight": 0.5, "who": "Ada"}, {"who": "Max", "weight": 1, "count": 3}]
        return {"inputs": rows, "params": {"factor": 2.0}}


class TestSeries(MlflowConformance):
    def save_model(self, folder: Path) -> None:
        mlflow.pyfunc.save_model(
            folder,
            python_model=mlflow_own_code.Total(),
            code_paths=[mlflow_own_code.__file__],
            pip_requirements=REQUIREMENTS,
        )

    def make_request(self) -> Any:
        return {"inputs": [[0.1, 0.2], [1, 2]]}


class TestNamedTensors(MlflowConformance):
    def save_model(self, folder: Path) -> None:
        points = [TensorSpec(np.dtype("float64"), (-1, 2), name) for name in ("one", "other")]
        mlflow.pyfunc.save_model(
            folder,
            python_model=mlflow_own_code.Distance(),
            code_paths=[mlflow_own_code.__file__],
            signature=ModelSignature(Schema(points)),
            pip_requirements=REQUIREMENTS,
        )

    def make_request(self) -> Any:
        return {"inputs": [{"one": [0.0, 1.0], "other": [1, 1]}, {"one": [2.0, 2.0], "other": [0, 0]}]}


class TestLoggedModel(MlflowConformance):
    """The object that MLflow loads, which remembers its address and not its folder."""

    @pytest.fixture(autouse=True)
    def _store(self, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        folder = tmp_path_factory.mktemp("tracking")
        monkeypatch.chdir(folder)  # where the store lays artifacts
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder / 'mlflow.db'}")

    def make_model(self) -> Any:
        model = LinearRegression().fit(IRIS, TARGET)
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(IRIS, model.predict(IRIS)),
            pip_requirements=OF_ESTIMATORS,
        )
        return mlflow.pyfunc.load_model(logged.model_uri)

    def make_request(self) -> Any:
        return {"inputs": IRIS.iloc[[0, 60, 120]].to_numpy().tolist()}


class TestMoreStatedThanNeeded(MlflowConformance):
    """With the requirements that MLflow finds where much is installed."""

    def save_model(self, folder: Path) -> None:
        model = LogisticRegression(max_iter=500).fit(IRIS, TARGET)
        signature = infer_signature(IRIS, model.predict(IRIS))
        names = ("mlflow-skinny", "pandas", "psutil", "pytest", "scikit-learn", "skops", "torch")
        pins = [f"{name}=={version(name).partition('+')[0]}" for name in names]
        mlflow.sklearn.save_model(model, folder, signature=signature, pip_requirements=pins)

    def make_request(self) -> Any:
        return {"inputs": IRIS.iloc[[0, 60, 120]].to_dict("records")}


class TestNeverLogged(MlflowConformance):
    """The object that MLflow loads from a folder, which remembers none."""

    def make_model(self) -> Any:
        return mlflow.pyfunc.load_model(str(super().make_model().path))

    def save_model(self, folder: Path) -> None:
        model = LinearRegression().fit(IRIS, TARGET)
        signature = infer_signature(IRIS, model.predict(IRIS))
        mlflow.sklearn.save_model(model, folder, signature=signature, pip_requirements=OF_ESTIMATORS)

    def make_request(self) -> Any:
        return {"inputs": IRIS.iloc[[0, 60, 120]].to_numpy().tolist()}


class TestNeverSaved(MlflowConformance):
    """An object of a class of one's own."""

    paths = (Path(mlflow_own_code.__file__).parent,)

    def make_model(self) -> Any:
        return mlflow_own_code.Total()

    def make_request(self) -> Any:
        return {"inputs": [[0.1, 0.2], [1, 2]]}

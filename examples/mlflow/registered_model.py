"""Register a model with MLflow, package it by its address, and ask the packaged copy.

Run it with `python examples/mlflow/registered_model.py`.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

import mlflow
from mlflow.models import infer_signature
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge

import truss


def main() -> None:
    patients = load_diabetes(as_frame=True)
    table = patients.data[["bmi", "bp"]]
    model = Ridge().fit(table, patients.target)

    with TemporaryDirectory() as folder:
        mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
        mlflow.create_experiment("patients", artifact_location=Path(folder, "artifacts").as_uri())
        mlflow.set_experiment("patients")
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(table, model.predict(table)),
            registered_model_name="progression",
            pip_requirements=["scikit-learn", "skops"],
        )

        request = {"inputs": [{"bmi": 0.06, "bp": 0.02}, {"bmi": -0.05, "bp": -0.03}]}
        scaf = truss.mk_truss_from_mlflow_uri(
            "models:/progression/1", Path(folder) / "progression", examples=[request]
        )
        print(scaf.server_predict(request))


if __name__ == "__main__":
    main()

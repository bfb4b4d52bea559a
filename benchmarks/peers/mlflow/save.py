"""Save the model of one workload as MLflow saves models: `save.py WORKLOAD FOLDER`."""

import base64
import os
import sys

import joblib
import mlflow
import numpy as np
from bench_models import folder, load_model


class PythonModel(mlflow.pyfunc.PythonModel):
    """A workload's function as MLflow calls one."""

    def __init__(self, workload):
        self.workload = workload
        self.model = None

    def load_context(self, context):
        """Load the model once, in the server."""
        self.model = load_model(self.workload)

    def predict(self, context, model_input, params=None):
        """One answer per item."""
        items = list(model_input)
        if self.workload == "tensor-binary":
            bodies = b"".join(base64.b64decode(str(item)) for item in items)
            items = np.frombuffer(bodies, np.float32).reshape(len(items), 3, 224, 224)
        return [answer.tolist() if hasattr(answer, "tolist") else answer for answer in self.model(items)]


if __name__ == "__main__":
    name, target = sys.argv[1:]
    os.environ.setdefault("BENCH_WORKLOAD", name)
    if name == "logreg":
        model = joblib.load(folder() / "logreg.joblib")
        mlflow.sklearn.save_model(model, target, pip_requirements=[], skops_trusted_types=None)
    else:
        mlflow.pyfunc.save_model(target, python_model=PythonModel(name), pip_requirements=[])

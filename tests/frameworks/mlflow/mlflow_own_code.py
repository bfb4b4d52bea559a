"""Models of one's own, in a file that MLflow keeps beside them."""

import mlflow.pyfunc
import pandas as pd


class Summary(mlflow.pyfunc.PythonModel):
    """A table in, a table out, with a parameter."""

    def predict(self, context, model_input, params=None):
        total = model_input.select_dtypes("number").sum(axis=1) * (params or {})["factor"]
        return pd.DataFrame({"total": total, "who": model_input["who"]})


class Distance(mlflow.pyfunc.PythonModel):
    """Several arrays in, several out."""

    def predict(self, context, model_input, params=None):
        difference = model_input["one"] - model_input["other"]
        return {"squared": (difference**2).sum(axis=1), "difference": difference}


class Total(mlflow.pyfunc.PythonModel):
    """A table in, a series of single precision out."""

    def predict(self, context, model_input, params=None):
        return model_input.sum(axis=1).astype("float32")


class Words(mlflow.pyfunc.PythonModel):
    """Numbers in, words of a file out."""

    def load_context(self, context):
        with open(context.artifacts["words"]) as file:  # noqa: PTH123
            self.words = file.read().split()
        self.ending = context.model_config["ending"]

    def predict(self, context, model_input, params=None):
        return [self.words[number] + self.ending for number in model_input.iloc[:, 0]]

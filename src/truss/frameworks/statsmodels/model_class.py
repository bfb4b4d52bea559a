"""Serves results that statsmodels fitted.

A regression takes `{"inputs": rows}`: lists of values, or records (dicts) with the names that it was fitted
with; a column of ones that was added for the constant may be left out. The answer is
`{"predictions": [...]}`, what `predict` gives for each row. `"offset"` and `"exposure"`, one value per row,
are passed on where the model has them.

A time series takes `{"steps": 12}`, or `{"inputs": rows}` with its exogenous variables, one row per step.
The answer is `{"predictions": [...]}`, one entry per step after the last that it was fitted on.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


class Model:
    """The results of a fit, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._path = Path(kwargs["data_dir"]) / "model" / "results.pickle"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.results: Any = None

    def load(self) -> None:
        """Read the results from their file; called once, before the first request."""
        self._check_python()
        self.results = _read(self._path)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the results see it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer with a prediction per row, or per step into the future."""
        if self._metadata["method"] == "forecast":
            values = self._forecast(request)
        else:
            options = {
                name: np.asarray(request[name]) for name in self._metadata["options"] if name in request
            }
            values = self.results.predict(self._table(request["inputs"]), **options)
        return {"predictions": np.asarray(values).tolist()}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _forecast(self, request: dict[str, Any]) -> Any:
        if not self._metadata["features"]:
            if "steps" not in request:
                raise ValueError('the request says how many steps to look ahead, e.g. {"steps": 3}')
            return self.results.forecast(int(request["steps"]))
        table = self._table(request["inputs"])
        return self.results.forecast(len(table), exog=np.asarray(table))

    def _table(self, rows: Any) -> Any:
        """The rows as the model was fitted: a table with names for a formula, else an array."""
        names: list[str] = self._metadata["features"]
        constant = self._metadata["constant"]
        if any(isinstance(row, dict) for row in rows):
            rows = [_values(row, names, constant) for row in rows]
        table = pd.DataFrame(rows)
        if constant is not None and table.shape[1] == len(names) - 1:
            table.insert(constant, "constant", 1.0)
        if len(table) and table.shape[1] != len(names):
            raise ValueError(
                f"each row has the {len(names)} values {names}; the request's have {table.shape[1]}"
            )
        return table.set_axis(names, axis=1) if self._metadata["is_formula"] else table.to_numpy(dtype=float)

    def _check_python(self) -> None:
        """Code that was saved by value is bytecode, which only the Python version that wrote it can run."""
        saved_with = self._metadata.get("code_python_version")
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        if saved_with not in (None, running):
            raise RuntimeError(
                f"this model holds code that was saved by Python {saved_with} and cannot run on Python "
                f"{running}: serve it with Python {saved_with}, or package it again with Python {running}"
            )


def _read(path: Path) -> Any:
    """The results in a file.

    A formula finds the names that it uses (`np`, say) in the module of the function that calls this one.
    """
    with path.open("rb") as file:
        return pickle.load(file)


def _values(row: Any, names: list[str], constant: int | None) -> list[Any]:
    """A record's values in the order of the names; the constant is 1 where it is not given."""
    if not isinstance(row, dict):
        raise TypeError("rows are either all records or all lists")
    if constant is not None:
        row = {names[constant]: 1.0, **row}
    missing = [name for name in names if name not in row]
    if missing:
        raise ValueError(f"records lack {missing}")
    return [row[name] for name in names]

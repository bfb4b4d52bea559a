"""Serves an XGBoost model.

A request is `{"inputs": rows}`: lists of values in the order of the features, or records (dicts) with
their names; null is a missing value. The answer is `{"predictions": [...]}`, one per row, and for
classifiers `"probabilities"`, one list per row in the order of the classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xgboost


class Model:
    """The booster, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._path = Path(kwargs["data_dir"]) / "model" / "model.ubj"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.booster: Any = None

    def load(self) -> None:
        """Read the booster from its file; called once, before the first request."""
        self.booster = xgboost.Booster(model_file=self._path)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the booster sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}` with a class (or a number) per row."""
        values = self._values(self._table(request["inputs"]))
        task = self._metadata["task"]
        if task == "values":
            return {"predictions": values.tolist()}
        if task == "labels":  # several yes-or-no answers per row
            chosen = (values > 0.5).astype(int).tolist()
            return {"predictions": chosen, "probabilities": values.tolist()}
        if values.ndim == 1:  # of the second of two classes
            chosen = (values > 0.5).astype(int)
            values = np.column_stack([1 - values, values])
        else:
            chosen = values.argmax(axis=1)
        answer = {"predictions": [self._metadata["classes"][index] for index in chosen]}
        if self._metadata["supports_predict_proba"]:
            answer["probabilities"] = values.tolist()
        return answer

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _values(self, table: Any) -> Any:
        """What the booster computes: probabilities for a classifier, predictions for others."""
        link = self._metadata["link"]  # how raw scores become probabilities, where they are what it gives
        missing = self._metadata["missing"]
        options = {"iteration_range": tuple(self._metadata["iteration_range"])}
        missing = np.nan if missing is None else missing
        if self._metadata["linear"]:
            data = xgboost.DMatrix(table, missing=missing)
            values = self.booster.predict(data, output_margin=bool(link), validate_features=False, **options)
        else:
            kind = "margin" if link else "value"
            values = self.booster.inplace_predict(table, predict_type=kind, missing=missing, **options)
        if link == "sigmoid":
            return 1 / (1 + np.exp(-values))
        if link == "softmax":
            powers = np.exp(values - values.max(axis=1, keepdims=True))
            return powers / powers.sum(axis=1, keepdims=True)
        return values

    def _table(self, rows: Any) -> Any:
        """An array with a row per input and a column per feature; categories as their numbers."""
        names: list[str] = self._metadata["features"]
        rows = [_values_of(row, names) for row in rows]
        for name, categories in self._metadata["categories"].items():
            _encode(rows, names.index(name), name, categories)
        return np.array(rows, dtype=np.float32).reshape(len(rows), len(names))


def _values_of(row: Any, names: list[str]) -> list[Any]:
    """A row's values in the order of the features."""
    if isinstance(row, dict):
        missing = [name for name in names if name not in row]
        if missing:
            raise ValueError(f"a record lacks {missing}; write null where a value is unknown")
        return [row[name] for name in names]
    if not hasattr(row, "__len__") or len(row) != len(names):
        raise ValueError(f"each input is a list of {len(names)} values, or a record with names: {names}")
    return list(row)


def _encode(rows: list[list[Any]], column: int, name: str, categories: list[Any]) -> None:
    """Put the number of its category in place of each value of a column; a missing value stays so."""
    numbers = {category: number for number, category in enumerate(categories)}
    for row in rows:
        value = row[column]
        if value is None or value != value:  # null, or not a number
            row[column] = np.nan
        elif value in numbers:
            row[column] = numbers[value]
        else:
            raise ValueError(f"{value!r} is no category of '{name}', which has {categories}")

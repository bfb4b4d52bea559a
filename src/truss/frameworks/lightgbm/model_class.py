"""Serves a LightGBM model.

A request is `{"inputs": rows}`: lists of values in the order of the features, or records (dicts) with
their names; null is a missing value, and so is a category that training did not have. The answer is
`{"predictions": [...]}`, one per row, and for classifiers `"probabilities"`, one list per row in the order
of the classes.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np


class Model:
    """The booster, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._path = Path(kwargs["data_dir"]) / "model" / "model.txt"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.booster: Any = None

    def load(self) -> None:
        """Read the booster from its file; called once, before the first request."""
        if not _has_all_trees(self._path):
            raise ValueError(f"{self._path.name} is cut off: its trees have no end")
        self.booster = lightgbm.Booster(model_file=self._path)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the booster sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}` with a class (or a number) per row."""
        table = self._table(request["inputs"])
        values = self.booster.predict(table) if len(table) else np.empty(0)
        if not self._metadata["supports_predict_proba"]:
            return {"predictions": values.tolist()}
        if values.ndim == 1:  # of the second of two classes
            values = np.column_stack([1 - values, values])
        labels = self._metadata["classes"]
        return {
            "predictions": [labels[index] for index in values.argmax(axis=1)],
            "probabilities": values.tolist(),
        }

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _table(self, rows: Any) -> Any:
        """An array with a row per input and a column per feature; categories as their numbers."""
        names: list[str] = self._metadata["features"]
        rows = [_values_of(row, names) for row in rows]
        for name, categories in self._metadata["categories"].items():
            column = names.index(name)
            numbers = {category: number for number, category in enumerate(categories)}
            for row in rows:
                row[column] = numbers.get(row[column], np.nan)
        return np.array(rows, dtype=np.float64).reshape(len(rows), len(names))


def _values_of(row: Any, names: list[str]) -> list[Any]:
    """A row's values in the order of the features."""
    if isinstance(row, dict):
        # LightGBM writes the blanks in names as underscores.
        record = {str(name).replace(" ", "_"): value for name, value in row.items()}
        missing = [name for name in names if name not in record]
        if missing:
            raise ValueError(f"a record lacks {missing}; write null where a value is unknown")
        return [record[name] for name in names]
    if not hasattr(row, "__len__") or len(row) != len(names):
        raise ValueError(f"each input is a list of {len(names)} values, or a record with names: {names}")
    return list(row)


def _has_all_trees(path: Path) -> bool:
    """Whether the line that ends the trees is there: LightGBM ends the process where it meets half a tree."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.rfind(b"\nend of trees") >= 0

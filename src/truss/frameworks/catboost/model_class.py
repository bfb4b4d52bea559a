"""Serves a CatBoost model.

A request is `{"inputs": rows}`: lists of values in the order of the features, or records (dicts) with
their names. Categories are texts or whole numbers, as in training; null is a missing number. The answer
is `{"predictions": [...]}`, one per row, and for classifiers `"probabilities"`, one list per row in the
order of the classes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import catboost


class Model:
    """The CatBoost model, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._path = Path(kwargs["data_dir"]) / "model" / "model.cbm"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.model: Any = None

    def load(self) -> None:
        """Read the model from its file; called once, before the first request."""
        self.model = catboost.CatBoost()
        self.model.load_model(self._path)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the model sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}` with a class (or a number) per row."""
        rows = [_values_of(row, self._metadata["features"]) for row in request["inputs"]]
        answer = {"predictions": self._compute(rows, self._metadata["prediction_type"])}
        if self._metadata["supports_predict_proba"]:
            answer["probabilities"] = self._compute(rows, "Probability")
        return answer

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _compute(self, rows: list[list[Any]], prediction_type: str) -> list[Any]:
        """One item per row: a class, a number, or a list of them."""
        if not rows:
            return []
        self._check_categories(rows)
        pool = catboost.Pool(
            rows,
            cat_features=self.model.get_cat_feature_indices(),
            text_features=self.model.get_text_feature_indices(),
            embedding_features=self.model.get_embedding_feature_indices(),
        )
        values = self.model.predict(pool, prediction_type=prediction_type)
        # One class out of several comes as a column.
        plain: list[Any] = (values[:, 0] if values.ndim == 2 and values.shape[1] == 1 else values).tolist()
        return plain

    def _check_categories(self, rows: list[list[Any]]) -> None:
        """CatBoost has no missing categories."""
        for column in self.model.get_cat_feature_indices():
            if any(row[column] is None for row in rows):
                raise ValueError(
                    f"'{self._metadata['features'][column]}' is a category and cannot be null: give the text "
                    "that stood for unknown values in training"
                )


def _values_of(row: Any, names: list[str]) -> list[Any]:
    """A row's values in the order of the features."""
    if isinstance(row, dict):
        missing = [name for name in names if name not in row]
        if missing:
            raise ValueError(f"a record lacks {missing}; write null where a number is unknown")
        return [row[name] for name in names]
    if not hasattr(row, "__len__") or len(row) != len(names):
        raise ValueError(f"each input is a list of {len(names)} values, or a record with names: {names}")
    return list(row)

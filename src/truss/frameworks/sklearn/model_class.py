"""Serves a scikit-learn estimator.

A request is `{"inputs": rows}`; the answer is `{"predictions": [...]}`, one per row, and for
classifiers that estimate them `"probabilities"`, one list per row in the order of the classes.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import joblib
import numpy as np

with contextlib.suppress(ImportError):  # an estimator may be nobody's but its own; loading it tells
    import sklearn  # noqa: F401  # here, so that several workers share what it brings along

# Larger models are mapped from their file, so that several processes share one copy in memory.
MAP_FROM_BYTES = 64 * 2**20

# Probabilities closer than this may have been put in another order by rounding.
CLOSE = 1e-6


class Model:
    """The estimator, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._path = Path(kwargs["data_dir"]) / "model" / "model.joblib"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.model: Any = None

    def load(self) -> None:
        """Read the estimator from its file; called once, before the first request."""
        self._check_python()
        mapped = self._path.stat().st_size >= MAP_FROM_BYTES
        self.model = joblib.load(self._path, mmap_mode="r" if mapped else None)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the estimator sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}`: lists of values, records (dicts), or texts, as it was fitted."""
        table = self._table(request["inputs"])
        if self._metadata.get("predicts_most_probable"):
            probabilities = self.model.predict_proba(table)
            classes = self._most_probable(probabilities, table)
            return {"predictions": classes.tolist(), "probabilities": probabilities.tolist()}
        compute = getattr(self.model, self._metadata["method"])
        answer = {"predictions": _plain(compute(table))}
        if self._metadata["supports_predict_proba"]:
            answer["probabilities"] = _by_row(self.model.predict_proba(table))
        return answer

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _table(self, rows: Any) -> Any:
        """The rows in the form in which the estimator was fitted."""
        if self._metadata["named_features"]:
            return _frame(rows, list(self.model.feature_names_in_))
        if self._metadata.get("records_as_frame") and _are_records(rows):
            import pandas as pd

            return pd.DataFrame(rows)
        if isinstance(rows, list) and rows and isinstance(rows[0], (list, tuple)):
            return _array(rows)
        return rows

    def _most_probable(self, probabilities: Any, table: Any) -> Any:
        """What `predict` answers, without computing all of it again.

        It is asked where the two highest probabilities of a row are too close to tell which it would choose.
        """
        second, first = np.partition(probabilities, -2, axis=1)[:, -2:].T
        if not (first - second > CLOSE).all():
            return self.model.predict(table)
        return self.model.classes_.take(probabilities.argmax(axis=1))

    def _check_python(self) -> None:
        """Code that was saved by value is bytecode, which only the Python version that wrote it can run."""
        saved_with = self._metadata.get("code_python_version")
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        if saved_with not in (None, running):
            raise RuntimeError(
                f"this model holds code that was saved by Python {saved_with} and cannot run on Python "
                f"{running}: serve it with Python {saved_with}, or package it again with Python {running}"
            )


def _are_records(rows: Any) -> bool:
    return isinstance(rows, list) and bool(rows) and all(isinstance(row, dict) for row in rows)


def _array(rows: list[Any]) -> Any:
    """A two-dimensional array; rows of unequal length (tokens, say) stay lists."""
    try:
        array = np.array(rows)
    except ValueError:
        return rows
    # NumPy would turn the numbers of a mixed row into text.
    return np.array(rows, dtype=object) if array.dtype.kind == "U" else array


def _frame(rows: Any, names: list[str]) -> Any:
    """A DataFrame with the columns that the estimator was fitted on, in their order."""
    import pandas as pd

    if isinstance(rows, pd.DataFrame):
        return rows
    if any(isinstance(row, dict) for row in rows):
        missing = {name for row in rows for name in names if name not in row}
        if missing:
            raise ValueError(f"records lack {sorted(missing)}; write null where a value is unknown")
        rows = [[row[name] for name in names] for row in rows]
    elif len(rows) and len(names) > 1 and not hasattr(rows[0], "__len__"):
        raise ValueError(f"each input is a list of {len(names)} values, or a record with names")
    return pd.DataFrame(rows, columns=names)


def _plain(values: Any) -> list[Any]:
    """Lists and numbers, one item per row, out of what the estimator returned."""
    if isinstance(values, list):
        return values
    if hasattr(values, "toarray"):  # a sparse matrix
        values = values.toarray()
    plain: list[Any] = np.asarray(values).tolist()
    return plain


def _by_row(probabilities: Any) -> list[Any]:
    """One item per row, also of an estimator with several outputs, which returns one array for each."""
    if isinstance(probabilities, list):
        return [[output.tolist() for output in row] for row in zip(*probabilities, strict=True)]
    return _plain(probabilities)

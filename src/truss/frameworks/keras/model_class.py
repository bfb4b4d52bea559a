"""Serves a Keras model on the backend that it was packaged with.

A request is `{"inputs": rows}`, one entry per row; for a model with several inputs each row is a record,
`{"inputs": [{"a": ..., "b": ...}, ...]}`. The answer is `{"predictions": [...]}`, one entry per row; of a
model with several outputs, each is a record under the outputs' names.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np


class Model:
    """The Keras model, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._folder = Path(kwargs["data_dir"]) / "model"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.model: Any = None

    def load(self) -> None:
        """Read the model from its file; called once, before the first request."""
        self._check_python()
        # Keras reads its backend when it is imported, once in the life of a process.
        os.environ["KERAS_BACKEND"] = self._metadata["backend"]
        import keras

        if keras.config.backend() != self._metadata["backend"]:
            raise RuntimeError(
                f"this model runs on the Keras backend {self._metadata['backend']}, and this process already "
                f"uses {keras.config.backend()}: load the model in a process of its own"
            )
        self.model = keras.saving.load_model(
            self._folder / "model.keras",
            custom_objects=self._custom_objects(),
            compile=False,
            safe_mode=not self._metadata["holds_bytecode"],
        )

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the model sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}` with one prediction per row."""
        outputs = self.compute(self._columns(request["inputs"]))
        columns = {name: _plain(values) for name, values in outputs.items()}
        if list(columns) == ["predictions"]:
            return columns
        return {
            "predictions": [
                dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)
            ]
        }

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def compute(self, columns: dict[str, Any]) -> dict[str, Any]:
        """The outputs by name for the inputs by name, as arrays with one entry per row each."""
        count = len(next(iter(columns.values())))
        if self._metadata["pads_rows"]:
            columns = {name: _padded(values) for name, values in columns.items()}
        outputs = self.model.predict_on_batch(_arranged(columns, self._metadata["input_structure"]))
        if isinstance(outputs, (list, tuple)):
            outputs = dict(zip(self._output_names(len(outputs)), outputs, strict=True))
        elif not isinstance(outputs, dict):
            outputs = {"predictions": outputs}
        return {name: values[:count] for name, values in outputs.items()}

    def _columns(self, rows: Any) -> dict[str, Any]:
        """One array per input, by name."""
        inputs = self._metadata["inputs"]
        has_records = isinstance(rows, list) and len(rows) > 0 and isinstance(rows[0], dict)
        if not inputs:  # the model's own code knows what it takes
            names = list(rows[0]) if has_records else ["inputs"]
            inputs = [{"name": name, "dtype": None, "shape": None} for name in names]
        names = [item["name"] for item in inputs]
        if has_records:
            return {item["name"]: _array(_values(rows, item["name"]), item) for item in inputs}
        if len(names) > 1:
            raise ValueError(f"each row is a record with the keys {names}")
        return {names[0]: _array(rows, inputs[0])}

    def _output_names(self, count: int) -> list[str]:
        return self._metadata["outputs"] or [f"output_{index}" for index in range(count)]

    def _custom_objects(self) -> dict[str, Any]:
        """The layers and functions that are not Keras' own, by the names that the model's file uses."""
        path = self._folder / "custom_objects.cloudpickle"
        if not path.exists():
            return {}
        import cloudpickle

        with path.open("rb") as file:
            objects: dict[str, Any] = cloudpickle.load(file)
        return objects

    def _check_python(self) -> None:
        """Code that was saved by value is bytecode, which only the Python version that wrote it can run."""
        saved_with = self._metadata.get("code_python_version")
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        if saved_with not in (None, running):
            raise RuntimeError(
                f"this model holds code that was saved by Python {saved_with} and cannot run on Python "
                f"{running}: serve it with Python {saved_with}, or package it again with Python {running}"
            )


def _values(rows: list[dict[str, Any]], name: str) -> list[Any]:
    lacking = [index for index, row in enumerate(rows) if name not in row]
    if lacking:
        raise ValueError(f"row {lacking[0]} lacks the input '{name}'")
    return [row[name] for row in rows]


def _array(values: Any, expected: dict[str, Any]) -> Any:
    """The values as an array of the input's type and shape (null marks an axis of any length)."""
    name, dtype, shape = expected["name"], expected["dtype"], expected["shape"]
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"the rows of '{name}' differ in length") from None
    if array.ndim == 0:
        raise ValueError(f"'{name}' is a list with one entry per row")
    if shape is not None:
        row = array.shape[1:]
        if len(row) != len(shape) or any(
            size not in (None, length) for size, length in zip(shape, row, strict=True)
        ):
            wanted = tuple("any" if size is None else size for size in shape)
            raise ValueError(f"each row of '{name}' has the shape {wanted}; the request's have {row}")
    if array.dtype.kind == "O" and any(value is None for value in array.flat):
        raise ValueError(f"'{name}' takes no null")
    if dtype is None:
        return array.astype("float32") if array.dtype == "float64" else array
    if array.dtype.kind == "f" and np.dtype(dtype).kind in "iu" and not np.all(np.mod(array, 1) == 0):
        raise ValueError(f"'{name}' takes whole numbers ({dtype})")
    return array.astype(dtype, copy=False)


def _arranged(columns: dict[str, Any], structure: str) -> Any:
    """The inputs as the model takes them: one array, a list of arrays, or arrays by name."""
    if structure == "dict" or (structure == "unknown" and list(columns) != ["inputs"]):
        return columns
    values = list(columns.values())
    return values if structure == "list" else values[0]


def _padded(values: Any) -> Any:
    """The rows, and the last one again up to the next power of two.

    JAX compiles the model for each number of rows that it meets; so it meets few of them.
    """
    count = len(values)
    missing = (1 << max(count - 1, 0).bit_length()) - count
    return np.concatenate([values, np.repeat(values[-1:], missing, axis=0)]) if missing else values


def _plain(values: Any) -> list[Any]:
    """Lists and numbers; 16-bit formats that NumPy lacks become 32-bit first."""
    array = np.asarray(values)
    plain: list[Any] = (array.astype("float32") if array.dtype.kind == "V" else array).tolist()
    return plain

"""Serves a SavedModel of TensorFlow by one of its signatures, on the GPU where there is one.

A request holds the signature's inputs in one of these forms:

- `{"inputs": rows}`: one entry per row, for a signature with one input;
- `{"inputs": [{"a": ..., "b": ...}, ...]}`: one record per row, for a signature with several inputs;
- `{"a": ..., "b": ...}`: each input whole, under its name.

The answer is `{"predictions": [...]}`. An entry of a signature with several outputs is a record, under the
outputs' names. A signature whose first axis does not count rows takes and gives its inputs and outputs whole:
the predictions of several outputs are then one record. Bytes that are no text stand as `{"b64": "..."}`.
"""

from __future__ import annotations

import base64
import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf


class Model:
    """The signature's function, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._folder = Path(kwargs["data_dir"]) / "model"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.model: Any = None
        self.function: Any = None

    def load(self) -> None:
        """Read the SavedModel from its folder; called once, before the first request."""
        for gpu in tf.config.list_physical_devices("GPU"):
            # Other processes may be on it; a process that has used it already has settled this.
            with contextlib.suppress(RuntimeError):
                tf.config.experimental.set_memory_growth(gpu, True)
        self.model = tf.saved_model.load(str(self._folder))  # its variables live as long as it does
        self.function = self.model.signatures[self._metadata["signature"]]

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the model sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer with the signature's outputs."""
        given = by_name(request, [item["name"] for item in self._metadata["inputs"]])
        outputs = self.compute({item["name"]: given[item["name"]] for item in self._metadata["inputs"]})
        columns = {name: plain(values) for name, values in outputs.items()}
        if len(columns) == 1:
            return {"predictions": next(iter(columns.values()))}
        if not self._metadata["by_row"]:
            return {"predictions": columns}
        rows = zip(*columns.values(), strict=True)
        return {"predictions": [dict(zip(columns, row, strict=True)) for row in rows]}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def compute(self, values: dict[str, Any]) -> dict[str, Any]:
        """The outputs by name, as arrays of NumPy, for the inputs by name."""
        inputs = {item["name"]: tensor(values[item["name"]], item) for item in self._metadata["inputs"]}
        outputs = self.function(**inputs)
        return {name: outputs[name].numpy() for name in self._metadata["outputs"]}


def by_name(request: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """What the request gives for each input."""
    if all(name in request for name in names):
        return request
    if "inputs" not in request:
        raise ValueError(f"the request lacks the inputs {[name for name in names if name not in request]}")
    rows = request["inputs"]
    if not (isinstance(rows, list) and rows and isinstance(rows[0], dict) and not is_bytes(rows[0])):
        if len(names) > 1:
            raise ValueError(f"each row is a record with the keys {names}")
        return {names[0]: rows}
    for index, row in enumerate(rows):
        missing = [name for name in names if not isinstance(row, dict) or name not in row]
        if missing:
            raise ValueError(f"row {index} lacks the inputs {missing}")
    return {name: [row[name] for row in rows] for name in names}


def tensor(values: Any, expected: dict[str, Any]) -> tf.Tensor:
    """The values as a tensor of the input's type and shape (null: any length, or any shape at all)."""
    name, shape = expected["name"], expected["shape"]
    dtype = tf.as_dtype(expected["dtype"])
    try:
        array = np.asarray(strings(values), dtype=object) if dtype == tf.string else np.asarray(values)
    except ValueError:
        raise ValueError(f"the rows of input '{name}' differ in length") from None
    if shape is not None:
        if array.shape == (0,):  # no rows, whatever the length of a row
            array = np.zeros([0, *(size or 0 for size in shape[1:])], dtype=array.dtype)
        fits = array.ndim == len(shape) and all(
            size in (None, length) for size, length in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = tuple("any" if size is None else size for size in shape)
            raise ValueError(f"input '{name}' has the shape {array.shape}; the model takes {wanted}")
    if dtype == tf.string:
        if not all(isinstance(value, (str, bytes)) for value in array.flat):
            raise ValueError(f"input '{name}' takes texts, all lists of one length")
        return tf.constant(array, dtype=tf.string)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"input '{name}' takes numbers and no null, all lists of one length")
    if array.dtype.kind == "f" and (dtype.is_integer or dtype.is_bool) and not np.all(np.mod(array, 1) == 0):
        raise ValueError(f"input '{name}' takes whole numbers ({dtype.name})")
    return tf.constant(array.astype(dtype.as_numpy_dtype))


def is_bytes(value: Any) -> bool:
    """Whether it is base64 text that stands for bytes."""
    return isinstance(value, dict) and list(value) == ["b64"]


def strings(values: Any) -> Any:
    """The values with bytes in place of `{"b64": "..."}`, in lists to any depth."""
    if isinstance(values, list):
        return [strings(value) for value in values]
    return base64.b64decode(values["b64"], validate=True) if is_bytes(values) else values


def plain(values: Any) -> Any:
    """Lists, numbers and texts; number formats that NumPy lacks become 32-bit numbers."""
    array = np.asarray(values, dtype=object if isinstance(values, bytes) else None)
    if array.dtype.kind in "OS":
        return text(array.tolist())
    return (array.astype("float32") if array.dtype.kind == "V" else array).tolist()


def text(value: Any) -> Any:
    """Bytes as the text that they are, else as `{"b64": "..."}`; in lists to any depth."""
    if isinstance(value, list):
        return [text(item) for item in value]
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"b64": base64.b64encode(value).decode()}

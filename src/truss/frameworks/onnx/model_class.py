"""Serves an ONNX model with ONNX Runtime.

A request holds the model's inputs in one of these forms:

- `{"inputs": rows}`: one entry per row, for a model with one input;
- `{"inputs": [{"a": ..., "b": ...}, ...]}`: one record per row, for a model with several inputs;
- `{"a": ..., "b": ...}`: each input whole, under its name.

The answer is `{"predictions": [...]}`. An entry of a model with several outputs is a record, under the
outputs' names; of a classifier, the classes are in `"predictions"` and their probabilities in
`"probabilities"`. A model whose first axis does not count rows takes and gives its inputs and outputs
whole: the predictions of several outputs are then one record.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Model:
    """The ONNX Runtime session, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._path = Path(kwargs["data_dir"]) / "model" / self._metadata["model_file"]
        self.session: Any = None

    def load(self) -> None:
        """Open the model on the first of its providers that is here; called once, before any request."""
        available = onnxruntime.get_available_providers()
        providers = [name for name in self._metadata["providers"] if name in available]
        self.session = onnxruntime.InferenceSession(str(self._path), providers=providers)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the model sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer with the model's outputs."""
        inputs = self._metadata["inputs"]
        given = _by_name(request, [item["name"] for item in inputs])
        feed = {item["name"]: _array(given[item["name"]], item) for item in inputs}
        outputs = [_plain(output) for output in self.session.run(None, feed)]
        return self._answer(outputs)

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _answer(self, outputs: list[Any]) -> dict[str, Any]:
        """The outputs under the keys of an answer."""
        keys = self._metadata["answer_keys"]
        if keys:
            return dict(zip(keys, outputs, strict=True))
        names = self._metadata["outputs"]
        if not self._metadata["by_row"]:
            return {"predictions": dict(zip(names, outputs, strict=True))}
        return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*outputs, strict=True)]}


def _by_name(request: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """What the request gives for each input."""
    if all(name in request for name in names):
        return request
    if "inputs" not in request:
        missing = [name for name in names if name not in request]
        raise ValueError(f"the request lacks the inputs {missing}")
    rows = request["inputs"]
    if not (isinstance(rows, list) and rows and isinstance(rows[0], dict)):
        if len(names) > 1:
            raise ValueError(f"each row is a record with the keys {names}")
        return {names[0]: rows}
    for index, row in enumerate(rows):
        missing = [name for name in names if name not in row]
        if missing:
            raise ValueError(f"row {index} lacks the inputs {missing}")
    return {name: [row[name] for row in rows] for name in names}


def _array(values: Any, expected: dict[str, Any]) -> Any:
    """The values as an array of the input's type and shape (null marks an axis of any length)."""
    name, dtype, shape = expected["name"], np.dtype(expected["dtype"]), expected["shape"]
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"the rows of input '{name}' differ in length") from None
    if array.shape == (0,):  # no rows, whatever the length of a row
        array = np.zeros([0, *(size or 0 for size in shape[1:])])
    if array.dtype.kind == "f" and dtype.kind in "iub" and not np.all(np.mod(array, 1) == 0):
        raise ValueError(f"input '{name}' takes whole numbers ({dtype})")
    fits = array.ndim == len(shape) and all(
        size in (None, length) for size, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = tuple("any" if size is None else size for size in shape)
        raise ValueError(f"input '{name}' has the shape {array.shape}; the model takes {wanted}")
    return array.astype(dtype, copy=False)


def _plain(output: Any) -> Any:
    """Lists and numbers; some models give lists of mappings instead of an array."""
    return output.tolist() if isinstance(output, np.ndarray) else output

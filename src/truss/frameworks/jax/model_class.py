"""Serves a function of JAX, compiled from the program that `jax.export` made, on the GPU where there is one.

A request is `{"inputs": rows}`, one entry per row. Several inputs are given by name: as records,
`{"inputs": [{"a": ..., "b": ...}, ...]}`, or as one list for each, `{"inputs": {"a": [...], "b": [...]}}`.
The answer is `{"predictions": ...}`: an array, or a list or dict of those where the function returns several.

The program is compiled when a number of rows is seen for the first time.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export


class Model:
    """The function with its weights, and what happens to a request before and after it."""

    inputs_by_name = True  # `inputs` may be a mapping: a list for each of the function's inputs

    def __init__(self, **kwargs: Any) -> None:
        self._folder = Path(kwargs["data_dir"]) / "model"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.function: Any = None
        self.structure: Any = None
        self.weights: dict[str, Any] = {}

    def load(self) -> None:
        """Read the program and its weights; called once, before the first request."""
        if self._metadata["x64"]:
            jax.config.update("jax_enable_x64", True)
        program = export.deserialize(bytearray((self._folder / "program.jax").read_bytes()))
        self.function = jax.jit(program.call)
        self.structure = program.in_tree
        weights = self._folder / "weights.safetensors"
        if weights.is_file():
            from safetensors.flax import load_file

            self.weights = load_file(weights)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the function sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}` with what the function computes from them."""
        columns = self._columns(request["inputs"])
        values = [_array(columns[expected["name"]], expected) for expected in self._metadata["inputs"]]
        if not self._metadata["rows_are_independent"]:
            return {"predictions": self._compute(values)}
        count = len(values[0])
        answers = self._compute([_padded(value) for value in values])
        return {"predictions": jax.tree.map(lambda answer: answer[:count], answers)}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _compute(self, values: list[np.ndarray]) -> Any:
        """What the function returns, as arrays of NumPy in lists and dicts."""
        weights = [self.weights[name] for name in sorted(self.weights)]
        args, kwargs = jax.tree.unflatten(self.structure, [*weights, *values])
        return _plain(self.function(*args, **kwargs))

    def _columns(self, inputs: Any) -> Mapping[str, Any]:
        """What is given for each input, by name."""
        names = [expected["name"] for expected in self._metadata["inputs"]]
        if isinstance(inputs, list) and inputs and isinstance(inputs[0], Mapping):
            inputs = {name: _column(inputs, name) for name in inputs[0]}
        if not isinstance(inputs, Mapping):
            if len(names) != 1:
                raise ValueError(f"each row is a record with the keys {names}")
            return {names[0]: inputs}
        if set(inputs) != set(names):
            raise ValueError(f"the inputs are called {names}; the request has {list(inputs)}")
        if len({len(column) for column in inputs.values()}) > 1:
            raise ValueError("the inputs differ in their number of rows")
        return inputs


def _column(rows: list[Any], name: str) -> list[Any]:
    """The values of one input, out of records that all have it."""
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or row.keys() != rows[0].keys():
            raise ValueError(f"row {index} is no record with the keys {list(rows[0])}, as row 0 is")
    return [row[name] for row in rows]


def _array(given: Any, expected: dict[str, Any]) -> np.ndarray:
    """The values of an input, in the type and the shape that the function takes (null: any length)."""
    name, shape, dtype = expected["name"], expected["shape"], jax.numpy.dtype(expected["dtype"])
    try:
        array = np.asarray(given)
    except ValueError:
        raise ValueError(f"the rows of `{name}` differ in length") from None
    if array.size == 0 and array.ndim == 1:  # no rows
        array = array.reshape(0, *(length or 0 for length in shape[1:]))
    if array.dtype.kind not in "biuf":
        raise ValueError(f"`{name}` takes numbers, or lists of numbers; it holds null, or something else")
    if array.ndim != len(shape) or any(
        size not in (None, length) for size, length in zip(shape, array.shape, strict=True)
    ):
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"`{name}` has the shape ({wanted}); the request's is {array.shape}")
    if array.dtype.kind == "f" and dtype.kind in "biu" and np.any(array % 1):
        raise ValueError(f"`{name}` takes whole numbers ({expected['dtype']})")
    return array.astype(dtype)


def _padded(rows: np.ndarray) -> np.ndarray:
    """The rows and copies of the last one, up to a power of two: so few numbers of rows are compiled for."""
    missing = (1 << max(len(rows) - 1, 0).bit_length()) - len(rows)
    if len(rows) == 0:
        return np.zeros((1, *rows.shape[1:]), rows.dtype)
    return np.concatenate([rows, np.repeat(rows[-1:], missing, axis=0)])


def _plain(output: Any) -> Any:
    """Arrays, in lists and dicts as the function returned them; types that NumPy lacks become float32."""
    if isinstance(output, Mapping):
        return {str(name): _plain(value) for name, value in output.items()}
    if isinstance(output, (list, tuple)):
        return [_plain(value) for value in output]
    if output is None:
        return None
    array = np.asarray(output)
    return array.astype(np.float32) if array.dtype.kind == "V" else array

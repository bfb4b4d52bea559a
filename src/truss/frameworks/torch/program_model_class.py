"""Serves a program that `torch.export` made, on the GPU where there is one.

A request is `{"inputs": rows}`, one entry per row. Several inputs are given by name: as records,
`{"inputs": [{"a": ..., "b": ...}, ...]}`, or as one list for each, `{"inputs": {"a": [...], "b": [...]}}`.
The answer is `{"predictions": ...}`: an array, or a list or dict of those where the program returns several.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.export.passes import move_to_device_pass


class Model:
    """The program, and what happens to a request before and after it."""

    inputs_by_name = True  # `inputs` may be a mapping: a list for each of the program's inputs

    def __init__(self, **kwargs: Any) -> None:
        self._path = Path(kwargs["data_dir"]) / "model" / "model.pt2"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = None
        self._structure: Any = None

    def load(self) -> None:
        """Read the program from its file; called once, before the first request."""
        program = torch.export.load(self._path)
        if self.device.type != "cpu":
            program = move_to_device_pass(program, self.device)
        self.use(program)

    def use(self, program: Any) -> None:
        """Serve a program that has been read already."""
        self.model = program.module()
        self._structure = program.call_spec.in_spec

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the program sees it: add your own logic here."""
        return request

    @torch.inference_mode()
    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}` with what the program computes from them."""
        columns = self._columns(request["inputs"])
        # In the order, and put together in the structure, that the program was exported with.
        values = [
            self._tensor(columns, item) if "dtype" in item else item["constant"]
            for item in self._metadata["inputs"]
        ]
        args, kwargs = self._structure.unflatten(values)
        return {"predictions": _plain(self.model(*args, **kwargs))}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _columns(self, inputs: Any) -> Mapping[str, Any]:
        """What is given for each input, by name."""
        names = [item["name"] for item in self._metadata["inputs"] if "dtype" in item]
        if isinstance(inputs, list) and inputs and isinstance(inputs[0], Mapping):
            inputs = {name: _column(inputs, name) for name in inputs[0]}
        if not isinstance(inputs, Mapping):
            if len(names) != 1:
                raise ValueError(f"each row is a record with the keys {names}")
            return {names[0]: inputs}
        if set(inputs) != set(names):
            raise ValueError(f"the inputs are called {names}; the request has {list(inputs)}")
        return inputs

    def _tensor(self, columns: Mapping[str, Any], expected: dict[str, Any]) -> torch.Tensor:
        """The values of an input, in the type and the shape that the program takes (null: any length)."""
        name, shape, dtype = expected["name"], expected["shape"], getattr(torch, expected["dtype"])
        try:
            array = np.asarray(columns[name])
        except ValueError:
            raise ValueError(f"the rows of `{name}` differ in length") from None
        if array.dtype.kind not in "biuf":
            raise ValueError(f"`{name}` takes numbers, or lists of numbers; it holds null, or something else")
        if array.ndim != len(shape) or any(
            size not in (None, length) for size, length in zip(shape, array.shape, strict=True)
        ):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ValueError(f"`{name}` has the shape ({wanted}); the request's is {array.shape}")
        if array.dtype.kind == "f" and not dtype.is_floating_point and np.any(array % 1):
            raise ValueError(f"`{name}` takes whole numbers ({expected['dtype']})")
        return torch.tensor(array, dtype=dtype, device=self.device)


def _column(rows: list[Any], name: str) -> list[Any]:
    """The values of one input, out of records that all have it."""
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or row.keys() != rows[0].keys():
            raise ValueError(f"row {index} is no record with the keys {list(rows[0])}, as row 0 is")
    return [row[name] for row in rows]


def _plain(output: Any) -> Any:
    """Arrays, in lists and dicts as the program returned them; types that NumPy lacks become float32."""
    if isinstance(output, torch.Tensor):
        if output.is_floating_point() and output.dtype not in _ARRAY_FLOATS:
            output = output.float()
        return output.cpu().numpy()
    if isinstance(output, Mapping):
        return {name: _plain(value) for name, value in output.items()}
    if isinstance(output, (list, tuple)):
        return [_plain(value) for value in output]
    return output


_ARRAY_FLOATS = (torch.float16, torch.float32, torch.float64)

"""Serves a PyTorch module, on the GPU where there is one.

A request is `{"inputs": rows}`, one entry per row, which becomes the first argument of `forward`. Several
arguments are given by name: as records, `{"inputs": [{"a": ..., "b": ...}, ...]}`, or as one list for each,
`{"inputs": {"a": [...], "b": [...]}}`. The answer is `{"predictions": ...}`: an array with one entry per
row, or a list or dict of those where `forward` returns several.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch


class Model:
    """The module, and what happens to a request before and after it."""

    inputs_by_name = True  # `inputs` may be a mapping: a list for each of the module's inputs

    def __init__(self, **kwargs: Any) -> None:
        self._folder = Path(kwargs["data_dir"]) / "model"
        self._metadata: dict[str, Any] = kwargs["config"]["model_metadata"]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = getattr(torch, self._metadata["dtype"])
        self.model: Any = None

    def load(self) -> None:
        """Read the module from its files; called once, before the first request.

        The weights are mapped from their file, so that several processes share one copy in memory.
        """
        self._check_python()
        script = self._folder / "model.pt"
        self.model = self._read_script(script) if script.exists() else self._read_module()
        self.model.eval()

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the module sees it: add your own logic here."""
        return request

    @torch.inference_mode()
    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": rows}` with what the module computes from them."""
        args, kwargs = self._arguments(request["inputs"])
        return {"predictions": _plain(self.model(*args, **kwargs))}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _arguments(self, inputs: Any) -> tuple[list[Any], dict[str, Any]]:
        """What `forward` is called with, by position and by name."""
        names = self._metadata["inputs"]
        if isinstance(inputs, list) and inputs and isinstance(inputs[0], Mapping):
            inputs = {name: _column(inputs, name) for name in inputs[0]}
        if not isinstance(inputs, Mapping):
            return [self._batch(inputs)], {}
        tensors = {name: self._tensor(values, name) for name, values in inputs.items()}
        if names is None or tensors.keys() <= set(names):
            return [tensors.pop(name) for name in self._metadata["positional"] if name in tensors], tensors
        if len(names) == 1:  # `forward` takes one argument, a dict
            return [tensors], {}
        raise ValueError(f"the inputs are called {names}; the request has {sorted(tensors)}")

    def _batch(self, rows: Any) -> torch.Tensor:
        """The one tensor of a request, with one entry per row."""
        tensor = self._tensor(rows, "inputs")
        axes = self._metadata["row_axes"]
        if tensor.dim() <= axes:
            raise ValueError(
                f"`inputs` is a list of rows, each with {axes} axes or more; these have {tensor.dim() - 1}"
            )
        return tensor

    def _tensor(self, values: Any, name: str) -> torch.Tensor:
        """The values on the module's device, in the type that the module computes in.

        Whole numbers stay what they are if the module looks things up by them, and are floats otherwise
        (many JSON writers make no difference between 1 and 1.0).
        """
        try:
            array = np.asarray(values)
        except ValueError:
            raise ValueError(f"the rows of `{name}` differ in length") from None
        if array.dtype.kind not in "biuf":
            raise ValueError(f"`{name}` takes numbers, or lists of numbers; it holds null, or something else")
        stays = array.dtype.kind == "b" or (array.dtype.kind in "iu" and self._metadata["whole_numbers"])
        return torch.tensor(array, dtype=None if stays else self.dtype, device=self.device)

    def _read_script(self, path: Path) -> Any:
        """The TorchScript module, which brings its code along."""
        return torch.jit.load(path, self.device)  # type: ignore[no-untyped-call]  # torch has no types for it

    def _read_module(self) -> Any:
        """The module: its structure, with the weights in their places."""
        # Safetensors is needed for modules of Python code only.
        from safetensors import safe_open

        with (
            (self._folder / "structure.pickle").open("rb") as structure,
            safe_open(self._folder / "model.safetensors", "pt", device=str(self.device)) as weights,
        ):
            return _StructureReader(structure, weights, self.device).load().to(self.device)

    def _check_python(self) -> None:
        """Code that was saved by value is bytecode, which only the Python version that wrote it can run."""
        saved_with = self._metadata.get("code_python_version")
        running = f"{sys.version_info.major}.{sys.version_info.minor}"
        if saved_with not in (None, running):
            raise RuntimeError(
                f"this model holds code that was saved by Python {saved_with} and cannot run on Python "
                f"{running}: serve it with Python {saved_with}, or package it again with Python {running}"
            )


class _StructureReader(pickle.Unpickler):
    """Reads the module without its tensors, and puts those of the weights file in their places."""

    def __init__(self, structure: Any, weights: Any, device: torch.device) -> None:
        super().__init__(structure)
        self._weights = weights
        self._device = device
        self._tensors: dict[int, torch.Tensor] = {}

    def persistent_load(self, reference: Any) -> Any:
        """The tensor that a reference stands for; the same one each time, where it is shared."""
        if reference == "device":
            return self._device
        number, name, is_parameter, requires_grad = reference
        if number not in self._tensors:
            tensor = self._weights.get_tensor(name)
            if is_parameter:
                tensor = torch.nn.Parameter(tensor, requires_grad)
            self._tensors[number] = tensor
        return self._tensors[number]


def _column(rows: list[Any], name: str) -> list[Any]:
    """The values of one argument, out of records that all have it."""
    for index, row in enumerate(rows):
        if not isinstance(row, Mapping) or row.keys() != rows[0].keys():
            raise ValueError(f"row {index} is no record with the keys {sorted(rows[0])}, as row 0 is")
    return [row[name] for row in rows]


def _plain(output: Any) -> Any:
    """Arrays, in lists and dicts as the module returned them; types that NumPy lacks become float32."""
    if isinstance(output, torch.Tensor):
        values = output.to_dense() if output.layout != torch.strided else output
        if values.is_floating_point() and values.dtype not in _ARRAY_FLOATS:
            values = values.float()
        return values.cpu().numpy()
    if isinstance(output, Mapping):
        return {name: _plain(value) for name, value in output.items()}
    if isinstance(output, (list, tuple)):
        return [_plain(value) for value in output]
    return output


_ARRAY_FLOATS = (torch.float16, torch.float32, torch.float64)

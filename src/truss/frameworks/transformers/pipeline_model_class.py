"""Serves a Hugging Face pipeline from the files beside it; nothing is fetched.

A request is `{"inputs": [...]}`; the answer is `{"predictions": [...]}`, one entry per input. What an input
is depends on the task, and `call` in the config's `model_metadata` says which of these it is:

- `plain`: whatever the pipeline takes first, such as a text.
- `named`: the same, or a mapping with the pipeline's arguments, such as
  `{"sequences": "a text", "candidate_labels": ["one", "two"]}`.
- `prompt`: a prompt, or a mapping with `prompt` and any generation option, such as
  `{"prompt": "a text", "max_new_tokens": 9}`.

`parameters` there holds what the pipeline was constructed with, such as `top_k`: edit it to change what
every request gets.
"""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.dynamic_module_utils import get_class_from_dynamic_module


class Model:
    """The pipeline, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._settings: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._folder = Path(kwargs["data_dir"]) / self._settings["model_binary_dir"]
        self.pipeline: Any = None

    def load(self) -> None:
        """Read weights and tokenizer, and build the pipeline; called once, before the first request."""
        self.pipeline = self._pipeline_class()(
            task=self._settings["task"],
            # Weights keep the number format they were saved in; all versions know this name of the option.
            model=self._read(self._settings["model_class"], torch_dtype="auto"),
            **{name: self._read(kind) for name, kind in self._settings["parts"].items()},
            **self._settings["parameters"],
            device="cuda" if torch.cuda.is_available() else "cpu",
        )

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the pipeline sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": [...]}` with one prediction per input."""
        inputs = list(request["inputs"])
        answer = {"plain": self._plain_calls, "named": self._named_calls, "prompt": self._prompt_calls}
        with torch.inference_mode():
            predictions = answer[self._settings["call"]](inputs) if inputs else []
        return {"predictions": [_plain(prediction) for prediction in predictions]}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _plain_calls(self, inputs: list[Any]) -> list[Any]:
        batch_size = self._settings["batch_size"]
        if batch_size == 1:
            return list(self.pipeline(inputs))
        # Inputs of similar length share a batch, so that little of it is padding.
        order = sorted(range(len(inputs)), key=lambda index: len(str(inputs[index])))
        answers = self.pipeline([inputs[index] for index in order], batch_size=batch_size)
        by_index = dict(zip(order, answers, strict=True))
        return [by_index[index] for index in range(len(inputs))]

    def _named_calls(self, inputs: list[Any]) -> list[Any]:
        return [self.pipeline(**item) if isinstance(item, dict) else self.pipeline(item) for item in inputs]

    def _prompt_calls(self, inputs: list[Any]) -> list[Any]:
        return [self._continue(item) for item in inputs]

    def _continue(self, item: Any) -> Any:
        """Complete one prompt: a text or a chat, by itself or in a mapping with generation options."""
        if not isinstance(item, dict):
            return self.pipeline(item)
        if "prompt" not in item:
            raise ValueError(f"an input needs the key `prompt`; this one has {sorted(item)}")
        options = {name: value for name, value in item.items() if name != "prompt"}
        return self.pipeline(item["prompt"], **options)

    def _pipeline_class(self) -> Any:
        name = self._settings["pipeline_class"]
        if "." in name:  # code that came with the weights: `file.Class`
            return get_class_from_dynamic_module(name, str(self._folder))
        return getattr(transformers, name)

    def _read(self, kind: str, **options: Any) -> Any:
        """One part of the pipeline, by the name of its class in transformers."""
        if self._settings["trust_remote_code"]:
            options["trust_remote_code"] = True
        return getattr(transformers, kind).from_pretrained(self._folder, local_files_only=True, **options)


def _plain(value: Any) -> Any:
    """Lists and numbers out of arrays and tensors, and texts (PNG in base64) out of images."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "save") and hasattr(value, "getpixel"):
        png = io.BytesIO()
        value.save(png, format="PNG")
        return base64.b64encode(png.getvalue()).decode("ascii")
    return value

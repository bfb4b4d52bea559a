"""Scores pairs of texts with a cross-encoder of sentence-transformers, from the files beside it.

A request is `{"inputs": [["a text", "another"], ...]}`; the answer is `{"predictions": [...]}`: a score per
pair, or a list of scores where the model has several labels. Nothing is fetched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentence_transformers import CrossEncoder


class Model:
    """The cross-encoder, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._settings: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._folder = Path(kwargs["data_dir"]) / self._settings["model_binary_dir"]
        self.model: Any = None

    def load(self) -> None:
        """Read weights and tokenizer, to the GPU where there is one; called once, before any request."""
        self.model = CrossEncoder(
            str(self._folder),
            local_files_only=True,
            trust_remote_code=self._settings["trust_remote_code"],
            # Weights keep the number format they were saved in; all versions know this name of the option.
            model_kwargs={"torch_dtype": "auto"},
        )

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the model sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": pairs}` with an array of scores, of shape (pairs,) or (pairs, labels)."""
        pairs = [_pair(item, index) for index, item in enumerate(request["inputs"])]
        if not pairs:
            return {"predictions": []}
        scores = self.model.predict(pairs, batch_size=self._settings["batch_size"], show_progress_bar=False)
        return {"predictions": scores}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer


def _pair(item: Any, index: int) -> list[str]:
    if not isinstance(item, (list, tuple)) or [type(text) for text in item] != [str, str]:
        raise ValueError(f'each input is a pair of texts, ["a text", "another"]; input {index} is {item!r}')
    return list(item)

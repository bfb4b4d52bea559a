"""Turns texts into vectors with sentence-transformers, from the files beside it; nothing is fetched.

A request is `{"inputs": ["a text", ...]}`; the answer is `{"predictions": [[...], ...]}`, a vector per text.

Two more keys may be in a request, for models that were trained to tell questions from what answers them:

- `"task": "query"` or `"task": "document"`: encode the texts as such.
- `"prompt_name": "..."`: put the prompt of this name before each text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sentence_transformers import SentenceTransformer


class Model:
    """The sentence transformer, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._settings: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._folder = Path(kwargs["data_dir"]) / self._settings["model_binary_dir"]
        self.model: Any = None

    def load(self) -> None:
        """Read weights and tokenizer, to the GPU where there is one; called once, before any request."""
        self.model = SentenceTransformer(
            str(self._folder),
            local_files_only=True,
            trust_remote_code=self._settings["trust_remote_code"],
            truncate_dim=self._settings["truncate_dim"],
            # Weights keep the number format they were saved in; all versions know this name of the option.
            model_kwargs={"torch_dtype": "auto"},
        )

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the model sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": texts}` with one vector per text, an array of shape (texts, dimensions)."""
        texts = list(request["inputs"])
        others = [index for index, text in enumerate(texts) if not isinstance(text, str)]
        if others:
            kind = type(texts[others[0]]).__name__
            raise ValueError(f"each input is a text; input {others[0]} is of type {kind}")
        if not texts:
            return {"predictions": []}
        vectors = self._encoder(request.get("task"))(
            texts,
            prompt_name=request.get("prompt_name"),
            batch_size=self._settings["batch_size"],
            show_progress_bar=False,
        )
        return {"predictions": vectors}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _encoder(self, task: str | None) -> Any:
        """The method of the model that encodes texts for a task."""
        encoders = {
            None: self.model.encode,
            "query": self.model.encode_query,
            "document": self.model.encode_document,
        }
        if task not in encoders:
            raise ValueError(f'`task` is "query" or "document", or left out; the request has {task!r}')
        return encoders[task]

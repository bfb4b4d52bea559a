"""Turns texts into vectors with a Hugging Face encoder from the files beside it; nothing is fetched.

A request is `{"inputs": ["a text", ...]}`; the answer is `{"predictions": [...]}`, one entry per text. What
an entry is, `pooling` in the config's `model_metadata` says:

- `none`: the vector of each token, as the `feature-extraction` pipeline answers: `[[token, token, ...]]`.
- `mean`: one vector, the mean of the tokens' vectors.
- `max`: one vector, the largest value of each dimension.
- `cls`: one vector, that of the first token.

With `normalize: true` each vector is scaled to length 1, so that a dot product is the cosine similarity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers


class Model:
    """The encoder, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._settings: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._folder = Path(kwargs["data_dir"]) / self._settings["model_binary_dir"]
        self.model: Any = None
        self.tokenizer: Any = None

    def load(self) -> None:
        """Read weights and tokenizer; called once, before the first request."""
        device_map = self._settings.get("device_map")
        placed = {"device_map": device_map} if device_map else {}
        # All versions of transformers know this name of the option.
        self.model = self._read(self._settings["model_class"], torch_dtype=self._dtype(), **placed)
        if not device_map and torch.cuda.is_available():
            self.model.to("cuda")
        self.tokenizer = self._read(self._settings["parts"]["tokenizer"])

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the encoder sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": texts}` with one entry per text."""
        texts = list(request["inputs"])
        for text in texts:
            words = text if isinstance(text, list) else [text]
            if not all(isinstance(word, str) for word in words):
                raise BadRequestError(f"an input is a text, or the words of one, not {text!r}")
        # Texts of similar length share a batch, so that little of it is padding.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        size = self._settings["batch_size"]
        encoded: dict[int, Any] = {}
        with torch.inference_mode():
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                encoded.update(zip(chosen, self._encode([texts[index] for index in chosen]), strict=True))
        return {"predictions": [encoded[index] for index in range(len(texts))]}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _encode(self, texts: list[str]) -> list[Any]:
        """Lists of numbers for one batch of texts."""
        options = {"padding": len(texts) > 1, **self._settings["tokenizer_parameters"]}
        tokens = self.tokenizer(texts, return_tensors="pt", **options).to(self.model.device)
        vectors = self.model(**tokens)[0]
        # A tokenizer that makes no mask pads nothing: it is given one text at a time.
        mask = tokens.get("attention_mask", torch.ones_like(tokens["input_ids"])).bool()
        if self._settings["pooling"] == "none":
            return [[self._scaled(row[kept]).tolist()] for row, kept in zip(vectors, mask, strict=True)]
        return self._scaled(self._pooled(vectors, mask.unsqueeze(-1))).tolist()

    def _pooled(self, vectors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """One vector per text, out of one per token; `mask` is false where a token is padding."""
        pooling = self._settings["pooling"]
        if pooling == "mean":
            return (vectors * mask).sum(dim=1) / mask.sum(dim=1)
        if pooling == "max":
            return vectors.masked_fill(~mask, float("-inf")).amax(dim=1)
        if pooling == "cls":
            return vectors[:, 0]
        raise ValueError(f"model_metadata.pooling is {pooling!r}; it must be none, mean, max or cls")

    def _scaled(self, vectors: torch.Tensor) -> torch.Tensor:
        if self._settings["normalize"]:
            return torch.nn.functional.normalize(vectors, dim=-1)
        return vectors

    def _dtype(self) -> Any:
        """The number format of the weights; `auto` is that in which they were saved."""
        name = self._settings.get("dtype", "auto")
        known = ("auto", "float32", "float16", "bfloat16")
        if name not in known:
            raise ValueError(f"model_metadata.dtype is {name!r}; it must be one of {known}")
        return name if name == "auto" else getattr(torch, name)

    def _read(self, kind: str, **options: Any) -> Any:
        """The model or the tokenizer, by the name of its class in transformers."""
        if self._settings["trust_remote_code"]:
            options["trust_remote_code"] = True
        return getattr(transformers, kind).from_pretrained(self._folder, local_files_only=True, **options)


class BadRequestError(ValueError):
    """What is wrong with a request, which is answered with 400."""

    bad_request = True

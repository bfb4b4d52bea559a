"""Writes a text for each text with a Hugging Face encoder-decoder model (T5, BART, Marian, ...).

A request is `{"inputs": ["a text", ...]}`; the answer is `{"predictions": [{"generated_text": "..."}, ...]}`,
one entry per input, under the key that `answer_key` in the config's `model_metadata` names. An input may
also be a mapping with `text` and any generation option: `{"text": "a text", "num_beams": 4}`.

`prefix` there is put before each text, and `generation` holds options for every call of `model.generate`:
edit them as you like. `dtype` (auto, float32, float16, bfloat16) is the number format to compute in, and
`device_map` (such as `auto`) spreads the model over devices; that takes the package accelerate. Weights and
tokenizer come from the files beside this one; nothing is fetched.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers

# What an input may set. Nothing else reaches `generate`, which also has options that run code from a hub.
OPTIONS = frozenset(
    {
        "max_new_tokens",
        "min_new_tokens",
        "max_length",
        "min_length",
        "num_beams",
        "num_beam_groups",
        "num_return_sequences",
        "do_sample",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "typical_p",
        "repetition_penalty",
        "no_repeat_ngram_size",
        "encoder_no_repeat_ngram_size",
        "length_penalty",
        "diversity_penalty",
        "early_stopping",
        "forced_bos_token_id",
    }
)


class Model:
    """The model and its tokenizer, and what happens to a request before and after them."""

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
        """Change the request before the model sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": texts}` with one entry per text."""
        with torch.inference_mode():
            return {"predictions": [self._answer(item) for item in request["inputs"]]}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _answer(self, item: Any) -> Any:
        """One entry; a list of them when several sequences are asked for one text."""
        options = dict(item) if isinstance(item, dict) else {"text": item}
        if "text" not in options:
            raise BadRequestError(f"an input needs the key `text`; this one has {sorted(options)}")
        text = options.pop("text")
        if not isinstance(text, str):
            raise BadRequestError(f"`text` must be a text, not {type(text).__name__}")
        if options.keys() - OPTIONS:
            raise BadRequestError(
                f"unknown options {sorted(set(options) - OPTIONS)}; known are {sorted(OPTIONS)}"
            )
        written = self._generate(text, {**self._settings["generation"], **options})
        entries = [{self._settings["answer_key"]: text} for text in written]
        return entries[0] if len(entries) == 1 else entries

    def _generate(self, text: str, options: dict[str, Any]) -> list[str]:
        # One text at a time: in a padded batch, near ties may be decided differently.
        tokens = self.tokenizer(self._settings["prefix"] + text, return_tensors="pt").to(self.model.device)
        tokens.pop("token_type_ids", None)  # some tokenizers make them; no encoder-decoder takes them
        with reading_of_request():
            sequences = self.model.generate(**tokens, **options)
        return list(self.tokenizer.batch_decode(sequences, skip_special_tokens=True))

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


@contextlib.contextmanager
def reading_of_request() -> Iterator[None]:
    """Answer 400 for options that are refused outside of the model itself: some exclude others."""
    try:
        yield
    except (TypeError, ValueError) as error:
        # That is how torch calls a model.
        if any(frame.f_code.co_name == "_call_impl" for frame, _ in traceback.walk_tb(error.__traceback__)):
            raise
        raise BadRequestError(str(error)) from error

"""Serves a Hugging Face pipeline from the files beside it; nothing of the model is fetched.

A request is `{"inputs": [...]}`; the answer is `{"predictions": [...]}`, one entry per input. What an input
is depends on the task, and `call` in the config's `model_metadata` says which of these it is:

- `plain`: whatever the pipeline takes first, such as a text.
- `named`: the same, or a mapping with the pipeline's arguments, such as
  `{"sequences": "a text", "candidate_labels": ["one", "two"]}`.

Where the task is one of images or sounds (`media`), these come as an address, as base64 text, as the bytes
of a file or as an array; the last two over the binary route. WAV files need nothing else, other formats of
sound need ffmpeg.

`parameters` there holds what the pipeline was constructed with, such as `top_k`: edit it to change what
every request gets.
"""

from __future__ import annotations

import base64
import contextlib
import io
import traceback
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import torch
import transformers
from transformers.dynamic_module_utils import get_class_from_dynamic_module

MEDIA_KEYS = frozenset({"image", "images", "audio", "inputs"})
"""The arguments of pipelines that hold images or sounds."""

FETCH_SECONDS = 30
"""How long the server of a sound that is given by its address may keep silent."""


class Model:
    """The pipeline, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._settings: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._folder = Path(kwargs["data_dir"]) / self._settings["model_binary_dir"]
        self.pipeline: Any = None

    def load(self) -> None:
        """Read weights and tokenizer, and build the pipeline; called once, before the first request."""
        device_map = self._settings.get("device_map")
        placed = {"device_map": device_map} if device_map else {}
        device = {} if device_map else {"device": "cuda" if torch.cuda.is_available() else "cpu"}
        self.pipeline = self._pipeline_class()(
            task=self._settings["task"],
            # All versions of transformers know this name of the option.
            model=self._read(self._settings["model_class"], torch_dtype=self._dtype(), **placed),
            **{name: self._read(kind) for name, kind in self._settings["parts"].items()},
            **self._settings["parameters"],
            **device,
        )

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the pipeline sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `{"inputs": [...]}` with one prediction per input."""
        inputs = [self._opened(item) for item in request["inputs"]]
        answer = {"plain": self._plain_calls, "named": self._named_calls}
        with torch.inference_mode(), reading_of_request():
            predictions = answer[self._settings["call"]](inputs) if inputs else []
        return {"predictions": [_plain(prediction) for prediction in predictions]}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _opened(self, item: Any) -> Any:
        """One input with its images or sounds as the pipeline takes them; texts stay as they are."""
        open_medium = {"image": _image, "audio": _sound}.get(self._settings.get("media") or "")
        if open_medium is None:
            return item
        if not isinstance(item, dict):
            return open_medium(item)
        return {key: open_medium(value) if key in MEDIA_KEYS else value for key, value in item.items()}

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

    def _pipeline_class(self) -> Any:
        name = self._settings["pipeline_class"]
        if "." in name:  # code that came with the weights: `file.Class`
            return get_class_from_dynamic_module(name, str(self._folder))
        return getattr(transformers, name)

    def _dtype(self) -> Any:
        """The number format of the weights; `auto` is that in which they were saved."""
        name = self._settings.get("dtype", "auto")
        known = ("auto", "float32", "float16", "bfloat16")
        if name not in known:
            raise ValueError(f"model_metadata.dtype is {name!r}; it must be one of {known}")
        return name if name == "auto" else getattr(torch, name)

    def _read(self, kind: str, **options: Any) -> Any:
        """One part of the pipeline, by the name of its class in transformers."""
        if self._settings["trust_remote_code"]:
            options["trust_remote_code"] = True
        return getattr(transformers, kind).from_pretrained(self._folder, local_files_only=True, **options)


class BadRequestError(ValueError):
    """What is wrong with a request, which is answered with 400."""

    bad_request = True


@contextlib.contextmanager
def reading_of_request() -> Iterator[None]:
    """Answer 400 for what is raised outside of the model itself: the pipeline cannot read the request."""
    try:
        yield
    except (BadRequestError, ImportError, MemoryError, RuntimeError):
        raise
    except Exception as error:
        passed = {frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)}
        if passed & {"_call_impl", "postprocess"}:  # the first is how torch calls a model
            raise
        raise BadRequestError(
            f"the pipeline cannot read this input: {type(error).__name__}: {error}"
        ) from error


def _image(value: Any) -> Any:
    """An image out of a file's bytes, or an array (height, width, channels) of uint8; else what was given.

    Paths, addresses and base64 texts are read by the pipeline itself.
    """
    import numpy as np
    from PIL import Image, UnidentifiedImageError

    if isinstance(value, (bytes, bytearray, memoryview)):
        try:
            return Image.open(io.BytesIO(value)).convert("RGB")
        except UnidentifiedImageError:
            raise BadRequestError(f"these {len(value)} bytes are not an image that can be read") from None
    return Image.fromarray(value) if isinstance(value, np.ndarray) else value


def _sound(value: Any) -> Any:
    """A sound out of a file's bytes, base64 text or address: WAV is read here, other formats by ffmpeg."""
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        try:
            with urlopen(value, timeout=FETCH_SECONDS) as response:  # noqa: S310 - the scheme was looked at
                value = response.read()
        except OSError as error:
            raise BadRequestError(f"the sound at {value} cannot be fetched: {error}") from None
    elif isinstance(value, str):
        head, comma, rest = value.partition(",")
        text = rest if comma and head.startswith("data:") else value
        try:
            value = base64.b64decode(text, validate=True)
        except ValueError:
            return value  # a path
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _waveform(bytes(value))
    return value


def _waveform(data: bytes) -> Any:
    """The samples of a WAV file, its channels averaged, from -1 to 1; other bytes unchanged."""
    import numpy as np

    try:
        with wave.open(io.BytesIO(data)) as file:
            width, channels, rate = file.getsampwidth(), file.getnchannels(), file.getframerate()
            frames = file.readframes(file.getnframes())
    except (wave.Error, EOFError):
        return data
    if width == 1:  # the only width without a sign
        samples = np.frombuffer(frames, "u1").astype(np.float32) / 128 - 1
    elif width in (2, 4):
        samples = np.frombuffer(frames, f"<i{width}").astype(np.float32) / 2 ** (8 * width - 1)
    else:
        return data
    return {"raw": samples.reshape(-1, channels).mean(axis=1), "sampling_rate": rate}


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

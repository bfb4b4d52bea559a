"""Makes images, videos or sounds with a pipeline of diffusers, from the files beside it; nothing is fetched.

A request is `{"inputs": [...]}`. Each input is a prompt, or a mapping with the pipeline's arguments, such as
`{"prompt": "a red kite", "num_inference_steps": 20, "seed": 1}`; a pipeline without prompts takes mappings
only, `{}` included. Options beside `inputs` hold for all of them. With a `seed`, the same input is answered
alike each time; without one, differently.

The answer is `{"predictions": [...]}`, one entry per input, such as `{"images": [...]}`: PNG files as base64
text. Images in a request come as such text too (also as a `data:` URI) or, over the binary route, as the
bytes of a file or an array of (height, width, channels) in uint8.

In the config's `model_metadata`, `parameters` holds options for every request that does not set them itself.
`dtype` (auto, float32, float16, bfloat16) is the number format to compute in, where auto is that of the saved
weights, and `device_map` (such as `balanced`) spreads the parts over devices; that takes the package
accelerate.
"""

from __future__ import annotations

import base64
import inspect
import io
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from PIL import Image

# Arguments that a request cannot give, besides those that hold tensors, functions or settings of parts.
NOT_OPTIONS = frozenset({"self", "kwargs", "generator", "output_type", "return_dict", "timesteps", "sigmas"})
NOT_OPTIONS_ENDINGS = ("latents", "embeds", "embeds_mask", "attention_mask", "_kwargs")

COUNTS = frozenset(
    {"num_inference_steps", "height", "width", "num_images_per_prompt", "num_videos_per_prompt", "num_frames"}
    | {
        "num_waveforms_per_prompt",
        "batch_size",
        "max_sequence_length",
        "clip_skip",
        "decode_chunk_size",
        "fps",
    }
)
NUMBERS = frozenset({"guidance_scale", "guidance_rescale", "true_cfg_scale", "strength", "eta"})
TEXTS = frozenset(
    {"prompt", "prompt_2", "prompt_3", "negative_prompt", "negative_prompt_2", "negative_prompt_3"}
)
IMAGES = frozenset(
    {"image", "images", "mask", "mask_image", "control_image", "last_image", "ip_adapter_image", "video"}
)
LARGEST_SEED = 2**63 - 1

# What diffusers calls the option for the number format; older versions know the longer name only.
DTYPE = "dtype" if tuple(map(int, diffusers.__version__.split(".")[:2])) >= (0, 42) else "torch_dtype"


class Model:
    """The pipeline, and what happens to a request before and after it."""

    def __init__(self, **kwargs: Any) -> None:
        self._settings: dict[str, Any] = kwargs["config"]["model_metadata"]
        self._folder = Path(kwargs["data_dir"]) / self._settings["model_binary_dir"]
        self.pipeline: Any = None

    def load(self) -> None:
        """Read the pipeline's parts, and place them; called once, before the first request."""
        device_map = self._settings.get("device_map")
        pipeline_class = getattr(diffusers, self._settings["pipeline_class"])
        self.pipeline = pipeline_class.from_pretrained(
            self._folder,
            local_files_only=True,
            use_safetensors=True,
            **{DTYPE: self._dtype()},
            **({"device_map": device_map} if device_map else {}),
        )
        if not device_map:
            self.pipeline.to("cuda" if torch.cuda.is_available() else "cpu")
        self.pipeline.set_progress_bar_config(disable=True)

    def preprocess(self, request: dict[str, Any]) -> dict[str, Any]:
        """Change the request before the pipeline sees it: add your own logic here."""
        return request

    def predict(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer each input with what the pipeline makes of it.

        Raises:
            ValueError: the request is not of the form that is described at the top of this file.
        """
        shared = {key: value for key, value in request.items() if key != "instances"}
        inputs = shared.pop("inputs") if "inputs" in shared else [{}]
        check(isinstance(inputs, list), "`inputs` must be a list")
        shared = {**self._settings.get("parameters", {}), **shared}
        # All are checked before the first, which may take minutes.
        asked = [self._options(item, shared) for item in inputs]
        return {"predictions": [self._make(options) for options in asked]}

    def postprocess(self, answer: dict[str, Any]) -> dict[str, Any]:
        """Change the answer before it is sent: add your own logic here."""
        return answer

    def _make(self, options: dict[str, Any]) -> dict[str, Any]:
        options = dict(options)
        arguments = self._arguments()
        if "height" in arguments and "output_type" in arguments:
            options["output_type"] = "pil"  # some pipelines for videos give arrays unless they are told
        if "seed" in options:
            # Numbers drawn on the CPU are the same whatever device computes.
            options["generator"] = torch.Generator("cpu").manual_seed(options.pop("seed"))
        with torch.inference_mode():
            return {name: plain(value) for name, value in self.pipeline(**options).items()}

    def _options(self, item: Any, shared: dict[str, Any]) -> dict[str, Any]:
        """The pipeline's arguments for one input, checked, and `seed`."""
        known = self._known()
        if isinstance(item, str):
            check(
                "prompt" in known, f"this pipeline takes no prompt; an input is a mapping of {sorted(known)}"
            )
            item = {"prompt": item}
        check(isinstance(item, dict), f"an input is a prompt or a mapping, not {type(item).__name__}")
        options = {name: value for name, value in {**shared, **item}.items() if value is not None}
        unknown = sorted(set(options) - known)
        check(not unknown, f"unknown options {unknown}; known are {sorted(known)}")
        missing = sorted(self._required() - set(options))
        check(not missing, f"an input of this pipeline needs {missing}")
        return {name: checked(name, value) for name, value in options.items()}

    def _known(self) -> set[str]:
        """The options that an input may have."""
        offered = {
            name
            for name in self._arguments()
            if not (name in NOT_OPTIONS or name.endswith(NOT_OPTIONS_ENDINGS) or "callback" in name)
        }
        return offered | {"seed"}

    def _required(self) -> set[str]:
        """The options without which the pipeline makes nothing."""
        arguments = self._arguments()
        named = {name for name, one in arguments.items() if one.default is inspect.Parameter.empty}
        if "prompt" in arguments and "image" not in arguments and "prompt_embeds" in arguments:
            named.add("prompt")  # it has a default only because its embedding may be given in its place
        return named & self._known()

    def _arguments(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(type(self.pipeline).__call__).parameters)

    def _dtype(self) -> Any:
        """The number format of the weights; a mapping where parts were saved in several."""
        name = self._settings.get("dtype", "auto")
        known = ("auto", "float32", "float16", "bfloat16")
        check(name in known, f"model_metadata.dtype is {name!r}; it must be one of {known}")
        if name != "auto":
            return getattr(torch, name)
        saved = {part: getattr(torch, kind) for part, kind in self._settings["dtypes"].items()}
        formats = set(saved.values())
        return formats.pop() if len(formats) == 1 else saved


def checked(name: str, value: Any) -> Any:
    """One option as the pipeline takes it.

    Raises:
        ValueError: it is of another kind.
    """
    if name in IMAGES:
        return images(name, value)
    if name == "seed":
        fits = is_whole(value) and 0 <= value <= LARGEST_SEED
        check(fits, f"`seed` must be a whole number from 0, not {value!r}")
    elif name in COUNTS:
        check(is_whole(value) and value > 0, f"`{name}` must be a whole number from 1, not {value!r}")
    elif name in NUMBERS:
        fits = isinstance(value, (int, float)) and not isinstance(value, bool)
        check(fits, f"`{name}` must be a number, not {value!r}")
    elif name in TEXTS:
        texts = value if isinstance(value, list) else [value]
        fits = texts and all(isinstance(text, str) for text in texts)
        check(fits, f"`{name}` must be a text or a list of texts, not {value!r}")
    return value


def images(name: str, value: Any) -> Any:
    """An image, or a list of images, out of base64 texts, bytes of files or arrays."""
    if isinstance(value, list):
        return [images(name, one) for one in value]
    try:
        if isinstance(value, np.ndarray):
            return Image.fromarray(value)
        if isinstance(value, str):
            # Neither addresses nor paths: the server reads nothing that a client names.
            text = value.partition(",")[2] if value.startswith("data:") else value
            value = base64.b64decode(text, validate=True)
        return Image.open(io.BytesIO(value)).convert("RGB")
    except (TypeError, ValueError, OSError):
        raise ValueError(
            f"`{name}` must be an image file as base64 text or as bytes, or an array of uint8"
        ) from None


def plain(value: Any) -> Any:
    """Images as PNG files in base64 text, arrays as lists; in lists, to any depth."""
    if isinstance(value, Image.Image):
        file = io.BytesIO()
        value.save(file, "PNG")
        return base64.b64encode(file.getvalue()).decode()
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, torch.Tensor):
        return value.float().tolist() if value.is_floating_point() else value.tolist()
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, which `true` and `false` are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def check(holds: object, message: str) -> None:
    """Raise ValueError, with what is wrong with the request or the config, unless `holds`."""
    if not holds:
        raise ValueError(message)

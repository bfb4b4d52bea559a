"""The parts of a pipeline: which there are, in which format, and whether they can be saved whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.quantised import check_not_packed

_LIBRARIES = ("diffusers", "transformers")

_FUSE = "fuse it into the weights: `pipe.fuse_lora()`, then `pipe.unload_lora_weights()`"
_CUSTOM = "package a function that calls the pipeline: its code is kept with it"


def is_pipeline(value: object) -> bool:
    """Whether `value` is a pipeline of diffusers, by its type alone."""
    return any(
        base.__name__ == "DiffusionPipeline" and base.__module__.startswith("diffusers.")
        for base in type(value).__mro__
    )


def networks(pipe: Any) -> dict[str, Any]:
    """The parts that have weights, by name."""
    import torch

    return {name: part for name, part in pipe.components.items() if isinstance(part, torch.nn.Module)}


def dtypes(pipe: Any) -> dict[str, str]:
    """The number format of each part that has weights, as torch calls it, e.g. `float16`."""
    found = {name: getattr(part, "dtype", None) for name, part in networks(pipe).items()}
    return {name: str(kind).rpartition(".")[2] for name, kind in found.items() if kind is not None}


def libraries(pipe: Any) -> frozenset[str]:
    """The libraries that the parts come from: diffusers, transformers."""
    return frozenset(_library(part) for part in pipe.components.values() if _has_files(part))


def check_savable(pipe: Any) -> None:
    """Refuse pipelines whose `save_pretrained` would leave something behind.

    Raises:
        PackagingError: its class is not one of diffusers, a part's class is of another library, a part has no
            values yet or was quantised by torch, or adapters are on its parts.
    """
    import diffusers

    name = type(pipe).__name__
    if getattr(diffusers, name, None) is not type(pipe):
        raise PackagingError(
            f"the pipeline class {name} is not one of diffusers, so its code would not be saved", hint=_CUSTOM
        )
    for part_name, part in pipe.components.items():
        if _has_files(part) and _library(part) not in _LIBRARIES:
            kind = type(part)
            raise PackagingError(
                f"the {_words(part_name)} is a {kind.__module__}.{kind.__qualname__}, "
                "whose code would not be saved",
                hint=_CUSTOM,
            )
    for part_name, part in networks(pipe).items():
        _check_network(_words(part_name), part)
        check_not_packed(part, f"the {_words(part_name)}")


def _check_network(name: str, part: Any) -> None:
    if getattr(part, "peft_config", None) or getattr(part, "_hf_peft_config_loaded", False):
        raise PackagingError(f"the {name} has an adapter (LoRA) on it, which would not be saved", hint=_FUSE)
    if getattr(getattr(part, "config", None), "encoder_hid_dim_type", None) == "ip_image_proj":
        raise PackagingError(
            f"the {name} has an IP-Adapter on it, which would not be saved",
            hint="take it off (`pipe.unload_ip_adapter()`), and load it in the model class's `load`",
        )
    if any(weights.is_meta for weights in part.parameters()):
        raise PackagingError(
            f"the weights of the {name} are not in memory (they were offloaded)",
            hint="load the pipeline without `enable_sequential_cpu_offload` and without offloading to disk",
        )


@contextmanager
def evaluating(parts: Mapping[str, Any]) -> Iterator[None]:
    """Run a block with dropout and the like off, as loaded parts have them, and put the modes back."""
    training = [part for network in parts.values() for part in network.modules() if part.training]
    for part in training:
        part.training = False
    try:
        yield
    finally:
        for part in training:
            part.training = True


def _has_files(part: Any) -> bool:
    """Whether a part is saved as files of its own; settings such as flags lie in the pipeline's index."""
    return part is not None and not isinstance(part, (bool, int, float, str, list, tuple, dict))


def _library(part: Any) -> str:
    return type(part).__module__.partition(".")[0]


def _words(name: str) -> str:
    return name.replace("_", " ")

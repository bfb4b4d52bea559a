"""Write what a plan names to a folder, whole, and say what reading it takes."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.transformers.code import imported_distributions
from truss.frameworks.transformers.plan import Plan
from truss.frameworks.transformers.quantised import quantising_distributions

_REQUIREMENTS = ("transformers", "torch", "safetensors")


def write(plan: Plan, folder: Path) -> None:
    """Write weights (safetensors), configuration, generation config, tokenizer and processors.

    Raises:
        PackagingError: transformers refuses to write one of them.
        MissingExtraError: safetensors is not installed.
    """
    if find_spec("safetensors") is None:
        raise MissingExtraError("safetensors", "transformers", "saving a model of transformers")
    folder.mkdir(parents=True, exist_ok=True)
    for name, part in {"model": plan.model, **plan.parts}.items():
        _write_part(name.replace("_", " "), part, folder)
    _write_pipeline_code(plan, folder)
    if not any(folder.glob("*.safetensors")):
        raise PackagingError(f"saving this {type(plan.model).__name__} wrote no weights")


def requirements(plan: Plan, folder: Path) -> tuple[str, ...]:
    """The distributions that reading the written files takes."""
    names = [*_REQUIREMENTS]
    if {"image_processor", "video_processor"} & set(plan.parts):
        names += [
            name for name, module in (("pillow", "PIL"), ("torchvision", "torchvision")) if find_spec(module)
        ]
    if plan.settings["device_map"]:
        names.append("accelerate")
    if any(folder.glob("*.model")) and not (folder / "tokenizer.json").exists():
        # The sentencepiece file is all there is of the tokenizer.
        names += [
            name
            for name, module in (("sentencepiece", "sentencepiece"), ("protobuf", "google.protobuf"))
            if _is_importable(module)
        ]
    names += imported_distributions(folder)
    names += quantising_distributions(plan.model)
    return tuple(dict.fromkeys(names))


def _write_part(name: str, part: Any, folder: Path) -> None:
    try:
        part.save_pretrained(folder, **_safe(part))
    except Exception as error:
        raise PackagingError(
            f"the {name} ({type(part).__name__}) cannot be saved: {error}",
            hint="see that its own `save_pretrained` works",
        ) from error


def _safe(part: Any) -> dict[str, bool]:
    """Version 4 has to be told to write safetensors; version 5 writes nothing else."""
    safe = "safe_serialization" in inspect.signature(part.save_pretrained).parameters
    return {"safe_serialization": True} if safe else {}


def _write_pipeline_code(plan: Plan, folder: Path) -> None:
    """A pipeline class that is not transformers' own goes with the weights, as a file."""
    if "." not in plan.settings.get("pipeline_class", ""):
        return
    from transformers.dynamic_module_utils import custom_object_save

    custom_object_save(plan.live["pipeline"], folder)


def _is_importable(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:
        return False

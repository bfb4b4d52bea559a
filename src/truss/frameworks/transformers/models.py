"""Plan how a model is saved and served that was handed over without a pipeline around it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.transformers.encoders import Pooling, described_pooling, plan_encoder
from truss.frameworks.transformers.given import Given, check_savable
from truss.frameworks.transformers.pipelines import plan_pipeline
from truss.frameworks.transformers.plan import Plan
from truss.frameworks.transformers.tasks import FEATURES, infer_task, is_text_to_text
from truss.frameworks.transformers.text_to_text import plan_text_to_text

_SEARCHED = {
    "tokenizer": "AutoTokenizer",
    "image_processor": "AutoImageProcessor",
    "feature_extractor": "AutoFeatureExtractor",
}


def plan_model(given: Given) -> Plan:
    """The plan for a model and its parts.

    Raises:
        PackagingError: no task follows from the model, a part is missing and cannot be found, or
            transformers has no pipeline for the task.
    """
    check_savable(given.model)
    task = given.task or infer_task(given.model)
    parts = _with_own_parts(given.parts) or _found_parts(given.model)
    if is_text_to_text(task) and "tokenizer" in parts:
        return plan_text_to_text(given.model, parts["tokenizer"], task)
    if task == FEATURES and "tokenizer" in parts:
        pooling = described_pooling(given.model) or Pooling()
        truncation: dict[str, Any] = {"truncation": True} if pooling.mode != "none" else {}
        if pooling.max_length:
            truncation["max_length"] = pooling.max_length
        return plan_encoder(given.model, parts["tokenizer"], tokenizer_parameters=truncation, pooling=pooling)
    if task == FEATURES and "image_processor" in parts:
        task = "image-feature-extraction"
    return plan_pipeline(_pipeline(task, given.model, parts))


def _with_own_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """The parts, and those that a processor among them is made of."""
    own = {name: getattr(parts.get("processor"), name, None) for name in _SEARCHED}
    return {**{name: part for name, part in own.items() if part is not None}, **parts}


def _found_parts(model: Any) -> dict[str, Any]:
    """What lies in the folder, or in the local cache of the hub, that the model was read from.

    Raises:
        PackagingError: nothing is there.
    """
    import transformers

    source = getattr(model.config, "_name_or_path", "")
    found: dict[str, Any] = {}
    for name, auto in _SEARCHED.items():
        if not source or (name == "feature_extractor" and "image_processor" in found):
            continue
        try:
            found[name] = getattr(transformers, auto).from_pretrained(source, local_files_only=True)
        except Exception:  # noqa: BLE001, S112 - each class says in its own way that there is nothing for it
            continue
    if not found:
        searched = f"nothing usable lies in {source!r}" if source else "it was not read from a folder"
        raise PackagingError(
            f"this {type(model).__name__} comes without its tokenizer or processor, and {searched}",
            hint="pass both: `(model, tokenizer)`, or `(model, processor)`",
        )
    return found


def _pipeline(task: str, model: Any, parts: Mapping[str, Any]) -> Any:
    """A pipeline over the model, for tasks whose answers transformers itself knows how to make."""
    import transformers

    version = transformers.__version__
    if task not in transformers.pipelines.get_supported_tasks():
        raise PackagingError(
            f"transformers {version} has no pipeline for {task}, the task of this {type(model).__name__}",
            hint="package a function that calls the model, or name another task: `(model, tokenizer, task)`",
        )
    spread_out = getattr(model, "hf_device_map", None) is not None
    device = {} if spread_out else {"device": model.device}
    try:
        return transformers.pipeline(task, model=model, **parts, **device)
    except Exception as error:
        given = " and ".join(parts)
        raise PackagingError(
            f"no {task} pipeline can be made of this {type(model).__name__} with its {given}: {error}",
            hint="make the pipeline yourself, `transformers.pipeline(...)`, and package that",
        ) from error

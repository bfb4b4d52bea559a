"""Tell what was handed over from its type alone, without importing transformers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from truss.errors import PackagingError
from truss.frameworks.quantised import check_not_packed

Kind = Literal[
    "pipeline",
    "model",
    "tokenizer",
    "processor",
    "image_processor",
    "feature_extractor",
    "video_processor",
    "adapter",
    "other_backend",
]

_BASES: MappingProxyType[tuple[str, str], Kind] = MappingProxyType(
    {
        ("transformers.pipelines.base", "Pipeline"): "pipeline",
        ("transformers.modeling_utils", "PreTrainedModel"): "model",
        ("transformers.tokenization_utils_base", "PreTrainedTokenizerBase"): "tokenizer",
        ("transformers.processing_utils", "ProcessorMixin"): "processor",
        # Before image processors: their base is one of this one's.
        ("transformers.video_processing_utils", "BaseVideoProcessor"): "video_processor",
        ("transformers.image_processing_base", "ImageProcessingMixin"): "image_processor",
        ("transformers.feature_extraction_utils", "FeatureExtractionMixin"): "feature_extractor",
        ("peft.peft_model", "PeftModel"): "adapter",
        ("transformers.modeling_tf_utils", "TFPreTrainedModel"): "other_backend",
        ("transformers.modeling_flax_utils", "FlaxPreTrainedModel"): "other_backend",
    }
)

_MODELS = ("model", "adapter", "other_backend")

_TOGETHER = "give a model with its tokenizer or processor, and a task if it is not the model's usual one"


@dataclass(frozen=True)
class Given:
    """A model and what was handed over with it.

    Attributes:
        model: The model.
        parts: Tokenizer, processor and the like, by the name that a pipeline takes them under.
        task: The task that was asked for; None when it follows from the model.
    """

    model: Any
    parts: Mapping[str, Any] = field(default_factory=dict)
    task: str | None = None


def kind_of(value: object) -> Kind | None:
    """What `value` is to transformers; None when it is nothing of its kind, or a class."""
    for base in type(value).__mro__:
        kind = _BASES.get((base.__module__, base.__name__))
        if kind is not None:
            return kind
    return None


def is_packageable(value: object) -> bool:
    """Whether `value` is a pipeline, a model, or a tuple that holds a model and parts of transformers."""
    if isinstance(value, (tuple, list)):
        kinds = [kind_of(item) for item in value if not isinstance(item, str)]
        return any(kind in _MODELS for kind in kinds) and None not in kinds
    return kind_of(value) in ("pipeline", *_MODELS)


def unpack(value: Any) -> Given:
    """The model and the parts in `value`: a model, or a tuple of a model, its parts and possibly a task.

    Raises:
        PackagingError: the tuple holds two of a kind, or a pipeline beside something else.
    """
    items = list(value) if isinstance(value, (tuple, list)) else [value]
    tasks = [item for item in items if isinstance(item, str)]
    parts: dict[str, Any] = {}
    for item in items:
        if isinstance(item, str):
            continue
        kind = kind_of(item)
        name = "model" if kind in _MODELS else str(kind)
        if name in parts or name == "pipeline":
            raise PackagingError(f"the tuple holds more than one {name}", hint=_TOGETHER)
        parts[name] = item
    if len(tasks) > 1:
        raise PackagingError(f"the tuple names more than one task: {', '.join(tasks)}", hint=_TOGETHER)
    return Given(parts.pop("model"), parts, tasks[0] if tasks else None)


def check_savable(model: Any) -> None:
    """Refuse models whose `save_pretrained` would leave weights behind, or that PyTorch cannot load.

    Raises:
        PackagingError: the model is an adapter on another one, belongs to another backend, or was quantised
            by torch.
    """
    kind = kind_of(model)
    name = type(model).__name__
    if kind == "adapter" or getattr(model, "_hf_peft_config_loaded", False):
        raise PackagingError(
            f"this {name} is an adapter on a base model, whose weights would not be saved with it",
            hint="merge them first: `model = model.merge_and_unload()` on the PEFT model",
        )
    if kind != "model":
        raise PackagingError(
            f"this {name} is not a PyTorch model of transformers",
            hint="load the checkpoint with its PyTorch class, `AutoModel....from_pretrained(folder)`",
        )
    check_not_packed(model, f"this {name}")

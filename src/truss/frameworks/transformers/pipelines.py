"""Plan how a pipeline is saved and served."""

from __future__ import annotations

from typing import Any

from truss.errors import PackagingError
from truss.frameworks.base import BatchingMode
from truss.frameworks.transformers.code import class_name, custom_code_settings
from truss.frameworks.transformers.encoders import plan_encoder
from truss.frameworks.transformers.given import check_savable
from truss.frameworks.transformers.joining import best_batch_size
from truss.frameworks.transformers.parameters import (
    forward_parameters,
    parameters_of,
    parts_of,
    restore_prefix,
    tokenizer_parameters,
)
from truss.frameworks.transformers.placement import placement
from truss.frameworks.transformers.plan import MODEL_DIRECTORY, Plan
from truss.frameworks.transformers.served import serve
from truss.frameworks.transformers.tasks import FEATURES, TEXT_GENERATION, call_style, media

# Tasks that take plain texts, and whose pipelines answer a padded batch text by text.
_BATCHED = frozenset({"text-classification", "sentiment-analysis", "token-classification", "ner"})

_SAMPLES = (
    "answers are sampled (do_sample), so the same request is answered differently each time; "
    "pass do_sample=False to the pipeline for repeatable answers"
)


def plan_pipeline(pipe: Any) -> Plan:
    """The plan for a pipeline.

    Raises:
        PackagingError: its model, its class or one of its arguments cannot be saved.
    """
    check_savable(pipe.model)
    restore_prefix(pipe)
    if pipe.task == FEATURES and _class_reference(pipe) == "FeatureExtractionPipeline":
        return plan_encoder(pipe.model, pipe.tokenizer, tokenizer_parameters=tokenizer_parameters(pipe))
    parts = parts_of(pipe)
    custom, notes = custom_code_settings({"pipeline": pipe, "model": pipe.model, **parts})
    settings: dict[str, Any] = {
        "model_binary_dir": MODEL_DIRECTORY,
        "task": pipe.task,
        "call": call_style(pipe.task),
        "media": media(pipe.task, parts),
        "pipeline_class": _class_reference(pipe),
        "model_class": class_name("model", pipe.model),
        "parts": {name: class_name(name, part) for name, part in parts.items()},
        "trust_remote_code": custom,
        "parameters": parameters_of(pipe),
        **placement(pipe.model),
        "batch_size": 1,
    }
    settings["batch_size"] = _batch_size(pipe, settings)
    repeatable = not _samples(pipe)
    batching: BatchingMode = "rows" if settings["batch_size"] > 1 else "none"
    return Plan(
        model_class=_model_class(pipe),
        settings=settings,
        live={"pipeline": pipe},
        model=pipe.model,
        parts=parts,
        batching=batching,
        repeatable=repeatable,
        notes=notes if repeatable else (*notes, _SAMPLES),
    )


def _model_class(pipe: Any) -> str:
    """The model class file; pipelines of somebody else's take what they take, whatever their task."""
    if pipe.task == TEXT_GENERATION and "." not in _class_reference(pipe):
        return "text_generation_model_class"
    return "pipeline_model_class"


def _batch_size(pipe: Any, settings: dict[str, Any]) -> int:
    if pipe.task not in _BATCHED or getattr(pipe.tokenizer, "pad_token_id", None) is None:
        return 1

    def predict(batch_size: int, texts: list[str]) -> list[Any]:
        served = serve("pipeline_model_class", {**settings, "batch_size": batch_size}, {"pipeline": pipe})
        predictions: list[Any] = served.predict({"inputs": texts})["predictions"]
        return predictions

    return best_batch_size(predict, pipe.model.dtype)


def _class_reference(pipe: Any) -> str:
    """The pipeline class's name in transformers; for a class of somebody else's, `file.Class`."""
    import transformers

    kind = type(pipe)
    if getattr(transformers, kind.__name__, None) is kind:
        return str(kind.__name__)
    if kind.__module__ == "__main__":
        raise PackagingError(
            f"the pipeline class {kind.__name__} is defined in this session, where no file holds its code",
            hint="put the class in a .py file and import it from there",
        )
    return f"{kind.__module__.rpartition('.')[2]}.{kind.__name__}"


def _samples(pipe: Any) -> bool:
    """Whether the pipeline draws its answers at random, asked from the strongest setting to the weakest."""
    # The older releases of version 4 do not say of a pipeline that it generates, only of a model that it can.
    if not getattr(pipe, "_pipeline_calls_generate", True) or not pipe.model.can_generate():
        return False
    settings = [forward_parameters(pipe)]
    if getattr(pipe, "generation_config", None) is not None:
        settings.append(pipe.generation_config.to_dict())
    settings.append(pipe.model.generation_config.to_diff_dict())
    settings.append(getattr(pipe, "_generation_defaults", {}))
    chosen = [values["do_sample"] for values in settings if values.get("do_sample") is not None]
    return bool(chosen and chosen[0])

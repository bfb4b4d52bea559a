"""Plan how an encoder-decoder model and its tokenizer are saved and served.

transformers 5 has no pipelines for texts from texts, so the model class calls `generate` itself, under
either version, and answers in the shape in which the pipelines of version 4 answer.
"""

from __future__ import annotations

from typing import Any

from truss.frameworks.transformers.code import class_name, custom_code_settings
from truss.frameworks.transformers.placement import placement
from truss.frameworks.transformers.plan import MODEL_DIRECTORY, Plan
from truss.frameworks.transformers.tasks import TEXT_TO_TEXT, answer_key

_DEFAULT_NEW_TOKENS = 256
"""The limit of an answer's length when the generation config sets none; transformers' own is 20 tokens."""

_KEY_NOTE = (
    "answers come under `generated_text`; for `translation_text` or `summary_text` package "
    '`(model, tokenizer, "translation")` or "summarization", or set model_metadata.answer_key'
)

_SAMPLES = (
    "answers are sampled (do_sample in the generation config), so the same request is answered differently "
    "each time; set model_metadata.generation.do_sample to false for repeatable answers"
)


def plan_text_to_text(model: Any, tokenizer: Any, task: str) -> Plan:
    """The plan for an encoder-decoder model."""
    live = {"model": model, "tokenizer": tokenizer}
    custom, notes = custom_code_settings(live)
    if task == TEXT_TO_TEXT:
        notes = (*notes, _KEY_NOTE)
    samples = bool(model.generation_config.do_sample)
    if samples:
        notes = (*notes, _SAMPLES)
    settings: dict[str, Any] = {
        "model_binary_dir": MODEL_DIRECTORY,
        "task": task,
        "answer_key": answer_key(task),
        "prefix": getattr(model.config, "prefix", None) or "",
        "generation": _length_limit(model.generation_config),
        "model_class": class_name("model", model),
        "parts": {"tokenizer": class_name("tokenizer", tokenizer)},
        "trust_remote_code": custom,
        **placement(model),
    }
    return Plan(
        model_class="seq2seq_model_class",
        settings=settings,
        live=live,
        model=model,
        parts={"tokenizer": tokenizer},
        repeatable=not samples,
        notes=notes,
    )


def _length_limit(config: Any) -> dict[str, int]:
    chosen = config.to_diff_dict()
    if chosen.get("max_length") is not None or chosen.get("max_new_tokens") is not None:
        return {}
    return {"max_new_tokens": _DEFAULT_NEW_TOKENS}

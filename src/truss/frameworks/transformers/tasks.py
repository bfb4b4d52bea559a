"""What follows from a model's architecture and a task's name."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from truss.errors import PackagingError

CallStyle = Literal["plain", "named"]

TEXT_TO_TEXT = "text2text-generation"
TEXT_GENERATION = "text-generation"
FEATURES = "feature-extraction"
SENTENCES = "sentence-embedding"

# Asked from top to bottom: some architectures are listed by transformers under several tasks.
_ARCHITECTURES = (
    (TEXT_TO_TEXT, "SEQ_TO_SEQ_CAUSAL_LM"),
    ("text-classification", "SEQUENCE_CLASSIFICATION"),
    ("token-classification", "TOKEN_CLASSIFICATION"),
    ("question-answering", "QUESTION_ANSWERING"),
    ("table-question-answering", "TABLE_QUESTION_ANSWERING"),
    ("document-question-answering", "DOCUMENT_QUESTION_ANSWERING"),
    ("visual-question-answering", "VISUAL_QUESTION_ANSWERING"),
    ("fill-mask", "MASKED_LM"),
    ("automatic-speech-recognition", "SPEECH_SEQ_2_SEQ"),
    ("automatic-speech-recognition", "CTC"),
    (TEXT_GENERATION, "CAUSAL_LM"),
    ("image-text-to-text", "IMAGE_TEXT_TO_TEXT"),
    ("zero-shot-image-classification", "ZERO_SHOT_IMAGE_CLASSIFICATION"),
    ("zero-shot-object-detection", "ZERO_SHOT_OBJECT_DETECTION"),
    ("image-classification", "IMAGE_CLASSIFICATION"),
    ("object-detection", "OBJECT_DETECTION"),
    ("image-segmentation", "IMAGE_SEGMENTATION"),
    ("image-segmentation", "SEMANTIC_SEGMENTATION"),
    ("image-segmentation", "UNIVERSAL_SEGMENTATION"),
    ("depth-estimation", "DEPTH_ESTIMATION"),
    ("video-classification", "VIDEO_CLASSIFICATION"),
    ("audio-classification", "AUDIO_CLASSIFICATION"),
    (FEATURES, "TEXT_ENCODING"),
)

# The encoder-decoder families that do one thing only, by `config.model_type`.
_TEXT_TO_TEXT_FAMILIES = {
    "marian": "translation",
    "fsmt": "translation",
    "m2m_100": "translation",
    "pegasus": "summarization",
}

_NAMED = frozenset(
    {
        "zero-shot-classification",
        "zero-shot-image-classification",
        "zero-shot-audio-classification",
        "zero-shot-object-detection",
        "question-answering",
        "table-question-answering",
        "document-question-answering",
        "visual-question-answering",
        "image-text-to-text",
        "any-to-any",
        "keypoint-matching",
        "fill-mask",  # given one text in a list, its pipeline drops the list around that one answer
    }
)


def call_style(task: str) -> CallStyle:
    """How one input of a request is given to the pipeline of `task`."""
    return "named" if task in _NAMED else "plain"


def media(task: str, parts: Collection[str]) -> Literal["image", "audio"] | None:
    """What the inputs of `task` hold besides texts; `parts` are the names of the pipeline's."""
    if "audio" in task or "speech" in task:
        return "audio"
    return "image" if "image_processor" in parts or "image" in task else None


def is_text_to_text(task: str) -> bool:
    """Whether an encoder-decoder model answers `task` with a text for a text."""
    return task in (TEXT_TO_TEXT, "summarization") or task.startswith("translation")


def answer_key(task: str) -> str:
    """The key of the text in the answer of a text-to-text task."""
    if task.startswith("translation"):
        return "translation_text"
    return "summary_text" if task == "summarization" else "generated_text"


def infer_task(model: Any) -> str:
    """The task that a model's class was made for.

    Raises:
        PackagingError: transformers lists the class under no task.
    """
    from transformers.models.auto import modeling_auto

    classes = {kind.__name__ for kind in type(model).__mro__}
    for task, table in _ARCHITECTURES:
        if classes & _names(getattr(modeling_auto, f"MODEL_FOR_{table}_MAPPING_NAMES", {})):
            return _TEXT_TO_TEXT_FAMILIES.get(model.config.model_type, task) if task == TEXT_TO_TEXT else task
    if classes & _names(modeling_auto.MODEL_MAPPING_NAMES):
        return FEATURES
    raise PackagingError(
        f"no task follows from the model class {type(model).__name__}",
        hint='name the task, `(model, tokenizer, "text-generation")`, or pass a pipeline',
    )


def _names(table: Any) -> set[str]:
    """The class names in one of transformers' tables, whose values are names or tuples of names."""
    names: set[str] = set()
    for value in table.values():
        names.update([value] if isinstance(value, str) else value)
    return names

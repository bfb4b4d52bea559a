"""Plan how a text encoder and its tokenizer are saved and served."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truss.frameworks.transformers.code import class_name, custom_code_settings
from truss.frameworks.transformers.joining import best_batch_size
from truss.frameworks.transformers.placement import placement
from truss.frameworks.transformers.plan import MODEL_DIRECTORY, Plan
from truss.frameworks.transformers.served import serve
from truss.frameworks.transformers.tasks import FEATURES, SENTENCES


@dataclass(frozen=True)
class Pooling:
    """How token vectors become one vector per text: see the model class."""

    mode: str = "none"
    normalize: bool = False
    max_length: int | None = None


_POOLING_FLAGS = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
}

_SENTENCES_NOTE = (
    "the model's folder describes sentence vectors ({mode} pooling{normalized}), so each text is answered "
    "with one vector; set model_metadata.pooling to none for the vectors of its tokens"
)


def plan_encoder(
    model: Any,
    tokenizer: Any,
    *,
    tokenizer_parameters: Mapping[str, Any],
    pooling: Pooling | None = None,
) -> Plan:
    """The plan for an encoder.

    Args:
        model: The encoder.
        tokenizer: Its tokenizer.
        tokenizer_parameters: What each call of the tokenizer is given, such as `truncation`.
        pooling: How token vectors are pooled; not at all by default.
    """
    pooling = pooling or Pooling()
    # Padding on the right leaves every token at its own position. The copy keeps the caller's as it is.
    tokenizer = copy.copy(tokenizer)
    tokenizer.padding_side = "right"
    live = {"model": model, "tokenizer": tokenizer}
    custom, notes = custom_code_settings(live)
    settings: dict[str, Any] = {
        "model_binary_dir": MODEL_DIRECTORY,
        "task": FEATURES if pooling.mode == "none" else SENTENCES,
        "model_class": class_name("model", model),
        "parts": {"tokenizer": class_name("tokenizer", tokenizer)},
        "trust_remote_code": custom,
        **placement(model),
        "tokenizer_parameters": dict(tokenizer_parameters),
        "pooling": pooling.mode,
        "normalize": pooling.normalize,
        "batch_size": 1,
    }
    settings["batch_size"] = _batch_size(settings, live)
    if pooling.mode != "none":
        normalized = ", scaled to length 1" if pooling.normalize else ""
        notes = (*notes, _SENTENCES_NOTE.format(mode=pooling.mode, normalized=normalized))
    return Plan(
        model_class="encoder_model_class",
        settings=settings,
        live=live,
        model=model,
        parts={"tokenizer": tokenizer},
        batching="rows" if settings["batch_size"] > 1 else "none",
        notes=notes,
    )


def described_pooling(model: Any) -> Pooling | None:
    """The pooling that the folder a model came from describes, as folders of sentence encoders do.

    None when the model came from no folder of this machine, or the description is one we do not follow whole.
    """
    folder = Path(getattr(model.config, "_name_or_path", "") or "")
    modules = _read_json(folder / "modules.json")
    if not isinstance(modules, list):
        return None
    kinds = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if kinds not in (["Transformer", "Pooling"], ["Transformer", "Pooling", "Normalize"]):
        return None
    described = _read_json(folder / modules[1].get("path", "") / "config.json") or {}
    modes = [
        flag for flag, chosen in described.items() if flag.startswith("pooling_mode_") and chosen is True
    ]
    if len(modes) != 1 or modes[0] not in _POOLING_FLAGS:
        return None
    length = (_read_json(folder / "sentence_bert_config.json") or {}).get("max_seq_length")
    return Pooling(_POOLING_FLAGS[modes[0]], "Normalize" in kinds, length)


def _batch_size(settings: dict[str, Any], live: Mapping[str, Any]) -> int:
    tokenizer = live["tokenizer"]
    if tokenizer.pad_token_id is None or "attention_mask" not in tokenizer.model_input_names:
        return 1

    def predict(batch_size: int, texts: list[str]) -> list[Any]:
        served = serve("encoder_model_class", {**settings, "batch_size": batch_size}, live)
        predictions: list[Any] = served.predict({"inputs": texts})["predictions"]
        return predictions

    return best_batch_size(predict, live["model"].dtype)


def _read_json(path: Path) -> Any:
    """What a JSON file holds; None when it is absent or no JSON."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None

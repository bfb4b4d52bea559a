"""Recover the keyword arguments that a pipeline was constructed with.

A pipeline does not keep its arguments; it keeps what it made of them. Each of those values is turned back
into the argument it came from, a pipeline is built from the arguments found, over the same model, and the
two are compared: what cannot be recovered is an error, not a silent change of the model's answers.
"""

from __future__ import annotations

import enum
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from truss.errors import PackagingError

_GROUPS = ("_preprocess_params", "_forward_params", "_postprocess_params")

PART_NAMES = ("tokenizer", "feature_extractor", "image_processor", "video_processor", "processor")

_MISSING = object()

# Made by the pipeline from other arguments, or from its own parts.
_DERIVED = frozenset({"_legacy", "prefix_length", "tokenizer", "assistant_model", "assistant_tokenizer"})

_RETURN_TYPES = {
    "FULL_TEXT": {"return_full_text": True},
    "NEW_TEXT": {"return_full_text": False},
    "TENSORS": {"return_tensors": True},
    "TEXT": {"return_tensors": False},
}


def parts_of(pipe: Any) -> dict[str, Any]:
    """Tokenizer, processor and the like of a pipeline, each object once."""
    parts: dict[str, Any] = {}
    for name in PART_NAMES:
        part = getattr(pipe, name, None)
        if part is not None and all(part is not other for other in parts.values()):
            parts[name] = part
    return parts


def forward_parameters(pipe: Any) -> dict[str, Any]:
    """What the pipeline's model was constructed to be called with."""
    return {**getattr(pipe, _GROUPS[1]), **getattr(pipe, "_generate_kwargs", {})}


def tokenizer_parameters(pipe: Any) -> dict[str, Any]:
    """What a feature extraction pipeline gives its tokenizer."""
    return {name: _plain(name, value) for name, value in getattr(pipe, _GROUPS[0]).items()}


def parameters_of(pipe: Any) -> dict[str, Any]:
    """The arguments, as plain values, that make a bare pipeline over the same parts behave as `pipe` does.

    Raises:
        PackagingError: an argument cannot be recovered or written to a config file; the message names it.
    """
    _check_no_assistant(pipe)
    bare = _rebuilt(pipe, {})
    found = _generation_parameters(pipe, bare)
    for group in _GROUPS:
        before = getattr(bare, group)
        for name, value in getattr(pipe, group).items():
            if name not in found and not _same(before.get(name, _MISSING), value):
                found.update(_argument(pipe, name, value))
    for name in ("batch_size", "num_workers"):
        if getattr(pipe, f"_{name}", None) is not None:
            found[name] = getattr(pipe, f"_{name}")
    plain = {name: _plain(name, value) for name, value in found.items()}
    _check_recovered(pipe, _rebuilt(pipe, plain))
    return plain


def restore_prefix(pipe: Any) -> None:
    """Put the task's prefix back into the model's config, from which transformers 4 takes it out.

    Without it a pipeline that is built again, here or from the saved files, would lack the prefix.
    """
    prefix = getattr(pipe, "prefix", None)
    by_task = getattr(pipe.model.config, "task_specific_params", None) or {}
    if prefix is not None and pipe.task in by_task and prefix != getattr(pipe.model.config, "prefix", None):
        by_task[pipe.task].setdefault("prefix", prefix)


def _rebuilt(pipe: Any, parameters: dict[str, Any]) -> Any:
    """A new pipeline over the same model, on the device where it is."""
    restore_prefix(pipe)
    spread_out = getattr(pipe.model, "hf_device_map", None) is not None
    device = {} if spread_out else {"device": pipe.device}
    try:
        with _quietly():
            rebuilt = type(pipe)(model=pipe.model, task=pipe.task, **parts_of(pipe), **device, **parameters)
    except Exception as error:
        raise PackagingError(
            f"this {type(pipe).__name__} cannot be built again from its parts: {error}",
            hint="construct the pipeline without the arguments named here, and give them with each request",
        ) from error
    restore_prefix(pipe)
    return rebuilt


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what transformers says about new pipelines from the user, who made only one."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(verbosity)


def _generation_parameters(pipe: Any, bare: Any) -> dict[str, Any]:
    """Arguments for `generate`, which pipelines keep apart from the others."""
    if hasattr(pipe, "_generate_kwargs"):
        arguments = dict(pipe._generate_kwargs)  # noqa: SLF001 - kept nowhere else
        config = arguments.pop("generation_config", None)
        return {**(_generation_dict(config, changed=True) if config else {}), **arguments}
    if getattr(pipe, "generation_config", None) is None:
        return {}
    before, after = _generation_dict(bare.generation_config), _generation_dict(pipe.generation_config)
    changed = {name: value for name, value in after.items() if not _same(before.get(name), value)}
    if changed.get("max_length") is not None:
        changed.pop("max_new_tokens", None)  # the pipeline drops its default when a `max_length` is given
    return changed


def _generation_dict(config: Any, *, changed: bool = False) -> dict[str, Any]:
    values = config.to_diff_dict() if changed else config.to_dict()
    return {
        name: value for name, value in values.items() if name != "transformers_version" and name[0] != "_"
    }


def _argument(pipe: Any, name: str, value: Any) -> dict[str, Any]:
    """The argument that the pipeline made the parameter `name` from."""
    if name in _DERIVED:
        return {}
    if name == "return_type":
        return dict(_RETURN_TYPES[value.name])
    if name == "target_ids":
        return {"targets": pipe.tokenizer.convert_ids_to_tokens(_plain(name, value))}
    if name == "tokenizer_params":
        return {"stride": value["stride"]}
    if name == "eos_token_id":  # version 4 makes it of the stop sequence
        return {"stop_sequence": pipe.tokenizer.decode(value)}
    if name == "stop_strings":
        return {"stop_sequence": value}
    if name == "top_k" and _is_return_all_scores(pipe):
        return {"return_all_scores": value is None}
    return {name: value}


def _is_return_all_scores(pipe: Any) -> bool:
    """Whether a text classifier's `top_k` was made from the older argument, another shape of answer."""
    return pipe.task == "text-classification" and "_legacy" not in getattr(pipe, _GROUPS[-1])


def _check_no_assistant(pipe: Any) -> None:
    for name in ("assistant_model", "decoder"):
        if getattr(pipe, name, None) is not None:
            raise PackagingError(
                f"this pipeline has an `{name}`, which is not saved with it",
                hint=f"package the pipeline without it, and add `{name}=...` in `load` of the model class",
            )


def _check_recovered(pipe: Any, rebuilt: Any) -> None:
    lost = [
        name
        for group in _GROUPS
        for name, value in getattr(pipe, group).items()
        if name not in _DERIVED and not _same(getattr(rebuilt, group).get(name, _MISSING), value)
    ]
    if getattr(pipe, "generation_config", None) is not None:
        before, after = _generation_dict(pipe.generation_config), _generation_dict(rebuilt.generation_config)
        lost += [name for name in before if not _same(before[name], after.get(name))]
    if lost:
        raise PackagingError(
            f"the pipeline's parameters {', '.join(map(repr, lost))} cannot be written to a config file",
            hint="construct the pipeline without them, and give them with each request",
        )


def _plain(name: str, value: Any) -> Any:
    """The value in the types of a config file.

    Raises:
        PackagingError: it is an object that has no such form.
    """
    if isinstance(value, enum.Enum):
        return _plain(name, value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(name, item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(_plain(name, item) for item in value)
    if isinstance(value, dict):
        return {str(key): _plain(name, item) for key, item in value.items()}
    raise PackagingError(
        f"the pipeline's parameter `{name}` holds a {type(value).__name__}, which no config file can hold",
        hint="construct the pipeline without it, and add it in `load` of the model class",
    )


def _same(one: Any, other: Any) -> bool:
    """Equality that treats arrays, tuples and lists alike."""
    if one is _MISSING or other is _MISSING:
        return one is other
    one, other = (item.tolist() if hasattr(item, "tolist") else item for item in (one, other))
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)

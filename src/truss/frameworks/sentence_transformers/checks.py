"""Tell the library's models by their type alone, and find what its own `save` would lose."""

from __future__ import annotations

from typing import Any

from truss.errors import PackagingError

_LIBRARY = "sentence_transformers"
_INSTALLED_WITH_IT = (_LIBRARY, "transformers", "torch")
_KINDS = ("SentenceTransformer", "CrossEncoder")
_OTHER_KINDS = ("SparseEncoder", "MultiVectorEncoder")

_WRITE_IT = "start with `truss.init`, and load the model in the model class's `load`"


def is_of_library(model: object) -> bool:
    """Whether `model` is one of the library's models, of whatever kind, or of a class derived from one."""
    return any(
        base.__name__ in (*_KINDS, *_OTHER_KINDS) and _is_of_library(base) for base in type(model).__mro__
    )


def check_savable(model: Any) -> None:
    """Refuse what would not be the same model again after saving and loading.

    Raises:
        PackagingError: with the reason, and what to do instead.
    """
    kind = type(model)
    if kind.__name__ not in _KINDS or not _is_of_library(kind):
        raise PackagingError(
            f"this {kind.__qualname__} is neither a SentenceTransformer nor a CrossEncoder of the library's "
            "own, so what it adds to them would be lost",
            hint=_WRITE_IT,
        )
    if model.get_backend() != "torch":
        raise PackagingError(
            f"this {kind.__name__} runs on the backend '{model.get_backend()}'; only torch is packaged",
            hint='load it with `backend="torch"`, or package its .onnx file by itself',
        )
    if any(getattr(part, "_hf_peft_config_loaded", False) for part in model.modules()):
        raise PackagingError(
            f"this {kind.__name__} has adapters on its weights, and saving keeps the adapters only",
            hint="merge them into the weights first, with PEFT's `merge_and_unload`",
        )
    _check_code(model)


def classes_of_the_user(model: Any) -> tuple[type, ...]:
    """The classes of the model's modules that come neither from the library nor from what it stands on."""
    kinds = dict.fromkeys(type(part) for part in model.children())
    return tuple(kind for kind in kinds if kind.__module__.partition(".")[0] not in _INSTALLED_WITH_IT)


def _check_code(model: Any) -> None:
    for kind in classes_of_the_user(model):
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
            raise PackagingError(
                f"the module {kind.__qualname__} of this model is defined in this Python process only; "
                "the files name it, and do not hold it",
                hint="move its class to a .py file and import it from there: the file is copied",
            )
    for kind in map(type, model.modules()):
        if kind.__module__.startswith("transformers_modules."):
            raise PackagingError(
                f"the {kind.__qualname__} in this model is code that came with its weights",
                hint=_WRITE_IT,
            )
    activation = getattr(model, "activation_fn", None)
    if activation is not None and not type(activation).__module__.startswith("torch."):
        raise PackagingError(
            f"the activation function of this CrossEncoder, {activation!r}, is not of torch and is not saved",
            hint="use one of `torch.nn`, or `torch.nn.Identity()` and compute the rest in `postprocess`",
        )


def _is_of_library(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == _LIBRARY

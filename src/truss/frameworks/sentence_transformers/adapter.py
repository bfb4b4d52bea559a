"""Package what sentence-transformers makes: encoders of texts, and scorers of pairs of texts."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.contents import Contents
from truss.frameworks.precision import in_precision
from truss.frameworks.sentence_transformers.checks import check_savable, classes_of_the_user, is_of_library
from truss.frameworks.sentence_transformers.joining import best_batch_size
from truss.frameworks.sentence_transformers.saving import MODEL_DIRECTORY, write

_REQUIREMENTS = ("sentence-transformers", "transformers", "torch")

_SEPARATE = (
    "rows of concurrent requests are not joined: in a trial, texts of different lengths in one batch were "
    "not answered as each by itself; set model_metadata.batch_size to encode several at once all the same"
)


class SentenceTransformersFramework:
    """The adapter for sentence-transformers, version 5 and later, on PyTorch."""

    name = "sentence_transformers"
    model_framework = "sentence_transformers"
    summary = "sentence-transformers' SentenceTransformer and CrossEncoder"
    files = "folders that a SentenceTransformer was saved to (modules.json)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is one of the library's models, also of a kind that `save` refuses."""
        return is_of_library(model)

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write weights (safetensors), tokenizer and modules to `model/` below `data_dir`.

        Raises:
            PackagingError: the model is of another kind, runs on another backend than torch, has adapters, or
                has parts that its own `save` would leave behind.
        """
        check_savable(model)
        with _evaluating(model):
            settings = _settings(model)
        write(model, data_dir / MODEL_DIRECTORY)
        joined = settings["batch_size"] > 1
        return Saved(
            model_class=model_class_source(__package__, f"{_model_class(model)}.py"),
            model_type=_kind(model),
            model_metadata=settings,
            requirements=_REQUIREMENTS,
            pickled_objects=classes_of_the_user(model),
            batching="rows" if joined else "none",
            notes=() if joined else (_SEPARATE,),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live model answers, through the same steps as the packaged one.

        Numbers come in the precision of the weights, which tells how closely a copy can agree.
        """
        check_savable(model)
        with _evaluating(model):
            live = _served(model, _settings(model))
            answer = live.postprocess(live.predict(live.preprocess(request)))
        predictions = answer["predictions"]
        plain = predictions.tolist() if hasattr(predictions, "tolist") else predictions
        return in_precision({**answer, "predictions": plain}, _dtype(model))

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is a folder that lists a SentenceTransformer's modules."""
        return contents.is_folder and isinstance(contents.json("modules.json"), list)

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:  # noqa: ARG002 - no code is run
        """The SentenceTransformer in the folder, on the CPU."""
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(contents.path), device="cpu", local_files_only=True)


def _settings(model: Any) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "model_binary_dir": MODEL_DIRECTORY,
        # Without it the library refuses to import modules that are not its own; they are yours, and go along.
        "trust_remote_code": bool(classes_of_the_user(model)),
    }
    if _kind(model) == "SentenceTransformer":
        settings["truncate_dim"] = model.truncate_dim

    def predict(batch_size: int, inputs: list[Any]) -> Any:
        return _served(model, {**settings, "batch_size": batch_size}).predict({"inputs": inputs})[
            "predictions"
        ]

    return {**settings, "batch_size": best_batch_size(predict, _kind(model), _dtype(model))}


def _served(model: Any, settings: dict[str, Any]) -> Any:
    """The model class as it will run, around the live model."""
    module = importlib.import_module(f"{__package__}.{_model_class(model)}")
    live = module.Model(data_dir=".", config={"model_metadata": settings})
    live.model = model
    return live


def _model_class(model: Any) -> str:
    return "cross_model_class" if _kind(model) == "CrossEncoder" else "model_class"


def _kind(model: Any) -> str:
    """The class of the library that the model is an instance of."""
    return type(model).__name__


def _dtype(model: Any) -> str:
    """The number format of the weights, by NumPy's name: of several, the first one's."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Run a block that switches the model to evaluation, and put its mode back."""
    training = model.training
    try:
        yield
    finally:
        model.train(training)


if TYPE_CHECKING:
    _fits: OpensFiles = SentenceTransformersFramework()

"""Package pipelines of diffusers."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.contents import Contents
from truss.frameworks.diffusers.opening import is_pipeline_folder, read_pipeline
from truss.frameworks.diffusers.parts import (
    check_savable,
    dtypes,
    evaluating,
    is_pipeline,
    libraries,
    networks,
)

_DIRECTORY = "model"


class DiffusersFramework:
    """The adapter for diffusers, on PyTorch."""

    name = "diffusers"
    model_framework = "diffusers"
    summary = "diffusers pipelines, with all their parts"
    files = "folders of diffusers pipelines (model_index.json)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is a `DiffusionPipeline`."""
        return is_pipeline(model)

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write every part of the pipeline, weights as safetensors, to `model/` below `data_dir`.

        Raises:
            PackagingError: a part would not be saved whole, or cannot be saved.
            MissingExtraError: safetensors is not installed.
        """
        check_savable(model)
        folder = data_dir / _DIRECTORY
        _write(model, folder)
        settings = _settings(model)
        return Saved(
            model_class=model_class_source(__package__),
            model_type=type(model).__name__,
            model_metadata=settings,
            requirements=tuple(_requirements(model, settings, folder)),
            spread_out=bool(settings["device_map"]),
            repeatable=has_seed,
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live pipeline answers, through the steps of the model class."""
        from truss.frameworks.diffusers.model_class import Model

        live = Model(data_dir=Path(), config={"model_metadata": _settings(model)})
        live.pipeline = model
        with evaluating(networks(model)):
            return live.postprocess(live.predict(live.preprocess(request)))

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is a folder with the index of a pipeline."""
        return is_pipeline_folder(contents)

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:  # noqa: ARG002 - no code is run
        """The pipeline in the folder; neither code that the folder brings nor weights in pickles are read."""
        return read_pipeline(contents)


def has_seed(request: Any) -> bool:
    """Whether every input of a request has a seed, so that it is answered alike each time."""
    if not isinstance(request, dict):
        return False
    inputs = request.get("inputs", [{}])
    if not isinstance(inputs, list):
        return False
    return all(
        {**request, **(item if isinstance(item, dict) else {})}.get("seed") is not None for item in inputs
    )


def _settings(pipe: Any) -> dict[str, Any]:
    """What the model class reads from the config, for people to edit."""
    spread_out = len(set((getattr(pipe, "hf_device_map", None) or {}).values())) > 1
    return {
        "model_binary_dir": _DIRECTORY,
        "pipeline_class": type(pipe).__name__,
        "parameters": {},
        "dtypes": dtypes(pipe),
        "dtype": "auto",
        "device_map": "balanced" if spread_out else None,
    }


def _write(pipe: Any, folder: Path) -> None:
    if find_spec("safetensors") is None:
        raise MissingExtraError("safetensors", "diffusers", "saving a pipeline of diffusers")
    try:
        pipe.save_pretrained(folder, safe_serialization=True)
    except OSError:
        raise
    except Exception as error:
        raise PackagingError(
            f"this {type(pipe).__name__} cannot be saved: {error}",
            hint="see that its own `save_pretrained` works",
        ) from error


def _requirements(pipe: Any, settings: dict[str, Any], folder: Path) -> Iterator[str]:
    """The distributions that reading the written files takes."""
    yield from ("diffusers", "torch", "pillow", "numpy")
    if "transformers" in libraries(pipe):
        yield "transformers"
    if settings["device_map"]:
        yield "accelerate"
    for vocabulary in folder.glob("*/*.model"):
        if not vocabulary.with_name("tokenizer.json").exists():
            # The sentencepiece file is all there is of the tokenizer.
            yield from (name for name in ("sentencepiece", "protobuf") if _is_installed(name))
            break


def _is_installed(distribution: str) -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True


if TYPE_CHECKING:
    _fits: OpensFiles = DiffusersFramework()

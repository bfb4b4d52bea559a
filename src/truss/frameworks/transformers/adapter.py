"""Package what Hugging Face transformers makes: pipelines, models with their parts, models alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from truss.frameworks.base import Saved, model_class_source
from truss.frameworks.contents import Contents
from truss.frameworks.transformers.given import is_packageable, kind_of, unpack
from truss.frameworks.transformers.models import plan_model
from truss.frameworks.transformers.opening import is_model_folder, read_folder
from truss.frameworks.transformers.pipelines import plan_pipeline
from truss.frameworks.transformers.plan import MODEL_DIRECTORY, Plan
from truss.frameworks.transformers.saving import requirements, write
from truss.frameworks.transformers.served import evaluating, in_precision, serve


class TransformersFramework:
    """The adapter for transformers, versions 4 and 5, on PyTorch."""

    name = "transformers"
    model_framework = "huggingface_transformer"
    summary = "Hugging Face pipelines, (model, tokenizer) or (model, processor) pairs, and models alone"
    files = "folders that `save_pretrained` wrote (config.json and *.safetensors)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is a pipeline, a model, or a tuple of a model and its parts."""
        return is_packageable(model)

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write weights, configuration, tokenizer and processors to `model/` below `data_dir`.

        Raises:
            PackagingError: a part is missing, would not be saved whole, or cannot be saved.
            MissingExtraError: safetensors is not installed.
        """
        plan = _plan(model)
        folder = data_dir / MODEL_DIRECTORY
        write(plan, folder)
        return Saved(
            model_class=model_class_source(__package__, f"{plan.model_class}.py"),
            model_type=plan.settings["task"],
            model_metadata=plan.settings,
            requirements=requirements(plan, folder),
            batching=plan.batching,
            spread_out=bool(plan.settings["device_map"]),
            repeatable=plan.repeatable,
            notes=plan.notes,
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live object answers, under the conventions of the model class.

        Numbers come in the precision of the weights, which tells how closely a copy can agree. Sampled
        answers (`do_sample`) differ from call to call, here as in the packaged copy.
        """
        plan = _plan(model)
        served = serve(plan.model_class, plan.settings, plan.live)
        with evaluating(plan.model):
            answer = served.postprocess(served.predict(served.preprocess(request)))
        return in_precision(answer, plan.model.dtype)

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is a folder with a model's configuration and weights."""
        return is_model_folder(contents)

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:  # noqa: ARG002 - no code is run
        """The model in the folder, with its tokenizer or processor."""
        return read_folder(contents)


def _plan(model: Any) -> Plan:
    """The plan for an object; its trial runs see the model as it will be served."""
    given_model = model.model if kind_of(model) == "pipeline" else unpack(model).model
    with evaluating(given_model):
        return plan_pipeline(model) if kind_of(model) == "pipeline" else plan_model(unpack(model))

"""Package what computes with JAX: functions with their parameters, exported programs, modules of Flax."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.config import Signature
from truss.errors import MissingExtraError
from truss.frameworks.base import Framework, Saved, model_class_source
from truss.frameworks.jax.functions import argument_names, function_of
from truss.frameworks.jax.given import Given, is_packageable, kind_of, unpack
from truss.frameworks.jax.programs import (
    check_program,
    describe_inputs,
    export_program,
    has_open_rows,
    row_inputs,
    serialize,
)
from truss.frameworks.jax.shapes import inputs_by_weights, inputs_like
from truss.frameworks.signatures import of_row_inputs
from truss.frameworks.trial import Finding, try_rows

_SEVERAL_RESULTS = "it returns several results, of which each would have to be taken apart"


@dataclass(frozen=True)
class _Plan:
    """What is saved of a model, and what serves it live.

    Attributes:
        program: What `jax.export` made.
        weights: Arrays by name, which the program takes before its inputs.
        function: Computes the same as the program, with the live model.
        metadata: What the model class reads from its config.
        reason: Why rows of several requests are not joined; None when they are.
    """

    program: Any
    weights: dict[str, Any]
    function: Any
    metadata: dict[str, Any]
    reason: str | None = None


class JaxFramework:
    """The adapter for JAX."""

    name = "jax"
    model_framework = "jax"
    summary = (
        "JAX's jitted functions, exported programs, and modules of Flax (nnx, or linen with its variables); "
        "in a tuple with an example of the input where that does not follow from the weights"
    )

    def recognises(self, model: object) -> bool:
        """Whether `model` is one of these, or a tuple led by one."""
        return is_packageable(model)

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the program and its weights to `model/` below `data_dir`.

        Raises:
            PackagingError: the inputs are not known, or JAX cannot trace or write the function.
            MissingExtraError: flatbuffers or safetensors is not installed.
        """
        plan = _plan(model)
        data = serialize(plan.program)
        save_file = _safetensors_writer() if plan.weights else None
        folder = data_dir / "model"
        folder.mkdir()
        (folder / "program.jax").write_bytes(data)
        if save_file is not None:
            save_file(plan.weights, folder / "weights.safetensors")
        return Saved(
            model_class=model_class_source(__package__),
            model_type=_model_type(model),
            model_metadata=plan.metadata,
            # JAX reads programs with flatbuffers, and does not ask for it.
            requirements=("jax", "flatbuffers", "numpy", *(["safetensors"] if plan.weights else [])),
            batching="none" if plan.reason else "rows",
            signature=Signature() if plan.reason else of_row_inputs(row_inputs(plan.metadata["inputs"])),
            notes=()
            if plan.reason is None
            else (f"rows of concurrent requests are not joined: {plan.reason}",),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live model answers, through the same steps as the packaged one."""
        plan = _plan(model)
        live = _served(plan)
        return live.postprocess(live.predict(live.preprocess(request)))


def _plan(model: Any) -> _Plan:
    """What is to be written for a model, and why its rows are joined or not."""
    plan = _plan_program(model) if kind_of(model) == "exported" else _plan_function(unpack(model))
    reason = plan.reason or _reason_rows_depend(plan)
    metadata = {**plan.metadata, "rows_are_independent": reason is None}
    if reason is None and plan.program.out_tree.num_leaves > 1:
        reason = _SEVERAL_RESULTS
    return replace(plan, metadata=metadata, reason=reason)


def _plan_program(program: Any) -> _Plan:
    check_program(program)
    return _Plan(program, {}, program.call, _metadata(describe_inputs(program)))


def _plan_function(given: Given) -> _Plan:
    function = function_of(given)
    inputs = inputs_by_weights(function) if given.example is None else inputs_like(given.example)
    program, reason = export_program(function, inputs)
    names = ["weights", *argument_names(function.live, len(inputs))]
    metadata = _metadata(describe_inputs(program, len(function.weights), names))
    return _Plan(program, function.weights, lambda _, *rows: function.live(*rows), metadata, reason)


def _metadata(inputs: list[dict[str, Any]]) -> dict[str, Any]:
    import jax

    return {"inputs": inputs, "rows_are_independent": False, "x64": bool(jax.config.jax_enable_x64)}


def _reason_rows_depend(plan: _Plan) -> str | None:
    if not has_open_rows(plan.program, len(plan.weights)):
        return "the first axes of inputs and results are not one number of rows that is left open"
    served = _served(plan)

    def run(rows: Any) -> list[Any]:
        import jax

        return list(jax.tree.leaves(served.predict({"inputs": rows})["predictions"]))

    finding = try_rows(run, row_inputs(plan.metadata["inputs"]))
    return None if finding is Finding.INDEPENDENT else finding.value


def _served(plan: _Plan) -> Any:
    """The model class as it will run, around the live model."""
    from truss.frameworks.jax.model_class import Model

    live = Model(data_dir=Path(), config={"model_metadata": plan.metadata}, secrets={})
    live.function, live.structure, live.weights = plan.function, plan.program.in_tree, plan.weights
    return live


def _safetensors_writer() -> Any:
    try:
        from safetensors.flax import save_file
    except ImportError:
        raise MissingExtraError("safetensors", "jax", "saving the weights of a JAX model") from None
    return save_file


def _model_type(model: Any) -> str:
    first = model[0] if isinstance(model, tuple) else model
    return {"jitted": "function", "exported": "program"}.get(str(kind_of(first)), type(first).__name__)


if TYPE_CHECKING:
    _fits: Framework = JaxFramework()

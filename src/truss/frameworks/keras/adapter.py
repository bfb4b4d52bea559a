"""Package Keras 3 models, with any of its backends."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.bytecode import by_value_metadata, by_value_note
from truss.frameworks.contents import Contents
from truss.frameworks.keras.opening import is_model_file, read_model
from truss.frameworks.keras.saving import Written, write_model
from truss.frameworks.keras.signature import Signature, signature_of, trial_inputs
from truss.frameworks.pickles import reason_of
from truss.frameworks.precision import in_precision
from truss.frameworks.trial import Finding, random_rows, same_values, try_rows

_BACKENDS = MappingProxyType(
    {
        "torch": ("torch",),
        "jax": ("jax",),
        "tensorflow": ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel"),
    }
)
"""The distributions that bring each backend, of which the first that is installed is needed."""


class KerasFramework:
    """The adapter for Keras 3."""

    name = "keras"
    model_framework = "keras"
    summary = "Keras 3 models on torch, JAX or TensorFlow, with layers of your own"
    files = "models of Keras (.keras, and .h5 of earlier versions if trusted)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is an instance of Keras 3's `Model` or of a class derived from it."""
        return any(
            base.__name__ == "Model" and base.__module__ in ("keras.src.models.model", "keras.models")
            for base in type(model).__mro__
        )

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the model to `model/model.keras` below `data_dir`, and read it again as a proof.

        Raises:
            PackagingError: it has no weights yet, cannot be written, or what was written cannot be read or
                does not answer as the model does.
            MissingExtraError: it holds code of the user's, and cloudpickle is not installed.
        """
        _check_built(model)
        backend = _backend()
        signature = signature_of(model)
        folder = data_dir / "model"
        folder.mkdir()
        try:
            written = write_model(model, folder)
            finding = _compare(model, written.copy, signature)
        except (PackagingError, MissingExtraError):
            shutil.rmtree(folder)
            raise
        reason = _reason_against_joining(signature, finding)
        return Saved(
            model_class=model_class_source(__package__),
            model_type=type(model).__name__,
            model_metadata=_metadata(
                signature, backend=backend, holds_bytecode=written.holds_bytecode, joins=reason is None
            )
            | by_value_metadata(written.by_value),
            requirements=("keras", _distribution(backend), "numpy")
            + (("cloudpickle",) if written.pickle_files else ()),
            pickle_files=written.pickle_files,
            batching="none" if reason else "rows",
            repeatable=finding is not Finding.RANDOM,
            signature=signature.of_requests(),
            notes=_notes(written, reason),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live model answers, through the same steps as the packaged one.

        Numbers come in the precision that the model computes in, which tells how closely a copy can agree.
        """
        live = _served(model, signature_of(model))
        answer = live.postprocess(live.predict(live.preprocess(request)))
        return in_precision(answer, str(model.compute_dtype))

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is a `.keras` archive, or an HDF5 file that a model was saved to."""
        return is_model_file(contents)

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:
        """The model in the file, not compiled: training is over.

        Raises:
            UntrustedFileError: it holds code (functions of Lambda layers, or anything in HDF5).
        """
        return read_model(contents, trusted=trusted)


def _check_built(model: Any) -> None:
    if not model.built:
        raise PackagingError(
            f"this {type(model).__name__} is not built, so it has no weights yet",
            hint="fit it, or call it once on a batch of data: `model(batch)`",
        )


def _backend() -> str:
    """The backend of this process.

    Raises:
        PackagingError: it is one that this adapter does not know.
    """
    import keras

    backend = str(keras.config.backend())
    if backend not in _BACKENDS:
        raise PackagingError(
            f"this model runs on the Keras backend '{backend}', which is not served",
            hint=f"save it, and load it in a process whose KERAS_BACKEND is one of {', '.join(_BACKENDS)}",
        )
    return backend


def _distribution(backend: str) -> str:
    for name in _BACKENDS[backend]:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        return name
    return _BACKENDS[backend][0]


def _metadata(signature: Signature, *, backend: str, holds_bytecode: bool, joins: bool) -> dict[str, Any]:
    return {
        "backend": backend,
        **signature.metadata(),
        # Only where a row that is added changes no other.
        "pads_rows": backend == "jax" and joins,
        "holds_bytecode": holds_bytecode,
    }


def _served(model: Any, signature: Signature) -> Any:
    """The model class, around a model that is there."""
    from truss.frameworks.keras.model_class import Model

    metadata = _metadata(signature, backend="", holds_bytecode=False, joins=False)
    served = Model(data_dir=Path(), config={"model_metadata": metadata}, secrets={})
    served.model = model
    return served


def _compare(model: Any, copy: Any, signature: Signature) -> Finding:
    """Try the copy on random rows, which must be answered as the model answers them.

    Raises:
        PackagingError: the copy answers differently, or not at all.
    """
    if signature.batch_size is not None:
        return Finding.UNKNOWN
    inputs = trial_inputs(model, signature)
    if not inputs:
        return Finding.UNKNOWN
    served = _served(copy, signature)

    def run(rows: Mapping[str, Any]) -> Sequence[Any]:
        return list(served.compute(dict(rows)).values())

    finding = try_rows(run, inputs)
    if finding is not Finding.RANDOM:
        _check_copy(_served(model, signature), served, random_rows(inputs, 4))
    return finding


def _check_copy(live: Any, copy: Any, rows: dict[str, Any]) -> None:
    try:
        expected = live.compute(rows)
    except Exception:  # noqa: BLE001  # random rows do not suit this model
        return
    try:
        answered = copy.compute(rows)
    except Exception as error:
        raise PackagingError(
            f"this {type(live.model).__name__} fails once it has been saved and read: {reason_of(error)}",
            hint="Keras saves lambdas without the names they use: write a layer class or a named function",
        ) from error
    if not all(same_values(expected[name], answered[name]) for name in expected):
        raise PackagingError(
            f"this {type(live.model).__name__} answers differently once it has been saved and read",
            hint="a layer of your own keeps state that Keras does not save: return all arguments from "
            "`get_config`, and create weights with `add_weight`",
        )


def _reason_against_joining(signature: Signature, finding: Finding) -> str | None:
    if signature.batch_size is not None:
        return f"it was built for batches of {signature.batch_size}"
    return None if finding is Finding.INDEPENDENT else finding.value


def _notes(written: Written, reason: str | None) -> tuple[str, ...]:
    notes = []
    if written.by_value:
        notes.append(by_value_note())
    if reason is not None:
        notes.append(f"rows of concurrent requests are not joined: {reason}")
    return tuple(notes)


if TYPE_CHECKING:
    _fits: OpensFiles = KerasFramework()

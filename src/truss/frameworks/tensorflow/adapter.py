"""Package SavedModels, modules and functions of TensorFlow."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.errors import PackagingError
from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.contents import Contents
from truss.frameworks.pickles import reason_of
from truss.frameworks.precision import in_precision
from truss.frameworks.tensorflow.functions import Serving, serving
from truss.frameworks.tensorflow.given import Given, unpack
from truss.frameworks.tensorflow.graph import ASSIGNMENTS, RANDOM, operations
from truss.frameworks.tensorflow.opening import is_saved_model, read_folder
from truss.frameworks.tensorflow.signature import Signature, signature_of
from truss.frameworks.trial import Finding, random_rows, same_values, try_rows

_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-macos", "tensorflow-intel")
"""Builds of one library, of which one is installed."""


class TensorflowFramework:
    """The adapter for TensorFlow 2."""

    name = "tensorflow"
    model_framework = "tensorflow"
    summary = "TensorFlow SavedModels that were loaded, tf.Module objects, and functions of @tf.function"
    files = "folders of SavedModels (saved_model.pb)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is a module, a loaded SavedModel or a function, alone or with an example."""
        return unpack(model) is not None

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write a SavedModel to `model/` below `data_dir`, and read it again as a proof.

        Raises:
            PackagingError: what to serve is not known, it cannot be saved, or what was saved answers
                differently.
        """
        given = _unpacked(model)
        served = serving(given)
        signature = signature_of(served.function)
        used = operations(served.function)
        folder = data_dir / "model"
        try:
            _write(given, served, folder)
            finding = _compare(served, signature, folder, answers_once=bool(used & ASSIGNMENTS))
        except PackagingError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        reason = _reason_against_joining(used, finding, by_row=signature.by_row)
        return Saved(
            model_class=model_class_source(__package__),
            model_metadata={"signature": served.key, **signature.metadata()},
            requirements=(_installed(), "numpy"),
            batching="none" if reason else "rows",
            repeatable=not used & (RANDOM | ASSIGNMENTS) and finding is not Finding.RANDOM,
            signature=signature.of_requests(),
            notes=() if reason is None else (f"rows of concurrent requests are not joined: {reason}",),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live function answers, through the steps of the model class.

        Numbers come in the precision of the outputs, which tells how closely a copy can agree.
        """
        served = serving(_unpacked(model))
        signature = signature_of(served.function)
        live = _live(served.function, signature)
        return in_precision(live.postprocess(live.predict(live.preprocess(request))), signature.precision)

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is the folder of a SavedModel."""
        return is_saved_model(contents)

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:
        """The SavedModel; its folder is packaged as it is.

        Raises:
            UntrustedFileError: its graph reads or writes files, or calls Python.
        """
        return read_folder(contents, trusted=trusted)


def _unpacked(model: Any) -> Given:
    given = unpack(model)
    assert given is not None, "packaging asks about objects that are recognised only"
    return given


def _live(function: Any, signature: Signature) -> Any:
    """The model class around a function that is there."""
    from truss.frameworks.tensorflow.model_class import Model

    live = Model(data_dir=Path(), config={"model_metadata": signature.metadata()})
    live.function = function
    return live


def _write(given: Given, served: Serving, folder: Path) -> None:
    """Write the SavedModel; one that was given as a folder is copied.

    Raises:
        PackagingError: TensorFlow refuses to write it.
    """
    import tensorflow as tf

    if given.kind == "folder":
        shutil.copytree(given.model.path, folder)
        return
    try:
        tf.saved_model.save(served.root, str(folder), signatures={served.key: served.function})
    except Exception as error:
        raise PackagingError(
            f"TensorFlow cannot save this {type(given.model).__name__}: {reason_of(error)}",
            hint="keep the variables and tables that the function uses as attributes of the module",
        ) from error


def _compare(served: Serving, signature: Signature, folder: Path, *, answers_once: bool) -> Finding:
    """Try the saved copy on random rows, which must be answered as the live function answers them.

    Args:
        served: The live function.
        signature: Its inputs and outputs.
        folder: Where the copy is.
        answers_once: Whether an answer changes the next one; then the live function is left in peace.

    Raises:
        PackagingError: the copy cannot be read, or answers differently.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
        copy = _live(loaded.signatures[served.key], signature)
    except Exception as error:
        raise PackagingError(
            f"what TensorFlow saved cannot be read again: {reason_of(error)}",
            hint="see that `tf.saved_model.save` and `tf.saved_model.load` work for it",
        ) from error
    if not signature.by_row:
        return Finding.UNKNOWN
    finding = try_rows(lambda rows: list(copy.compute(dict(rows)).values()), signature.row_inputs)
    if not answers_once and finding in (Finding.INDEPENDENT, Finding.DEPENDENT):
        _check_copy(_live(served.function, signature), copy, signature)
    return finding


def _check_copy(live: Any, copy: Any, signature: Signature) -> None:
    rows = random_rows(signature.row_inputs, 4)
    try:
        expected, answered = live.compute(rows), copy.compute(rows)
    except Exception:  # noqa: BLE001  # rows of this length do not suit the model
        return
    if not all(same_values(expected[name], answered[name]) for name in expected):
        raise PackagingError(
            "this function answers differently once it has been saved and read",
            hint="keep what it computes from in `tf.Variable`s, as attributes of the module",
        )


def _reason_against_joining(used: frozenset[str], finding: Finding, *, by_row: bool) -> str | None:
    """Why rows of several requests must not be joined, as a clause; None when they may be."""
    reasons: Iterator[str] = iter(
        [
            *(["the first axis of an input or output has a fixed length, or there is none"] * (not by_row)),
            *(f"it draws at random ({name})" for name in sorted(used & RANDOM)),
            *(f"it changes with each request ({name})" for name in sorted(used & ASSIGNMENTS)),
            *([finding.value] * (finding is not Finding.INDEPENDENT)),
        ]
    )
    return next(reasons, None)


def _installed() -> str:
    for name in _DISTRIBUTIONS:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        return name
    return _DISTRIBUTIONS[0]


if TYPE_CHECKING:
    _fits: OpensFiles = TensorflowFramework()

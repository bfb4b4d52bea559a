"""Package what statsmodels fitted: regressions of all kinds, and time series."""

from __future__ import annotations

import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from truss.config import Signature
from truss.errors import PackagingError
from truss.frameworks.base import Framework, Saved, model_class_source
from truss.frameworks.bytecode import by_value_metadata, by_value_note
from truss.frameworks.pickles import dumps_by_value, reason_of, unpicklable_error
from truss.frameworks.signatures import of_features
from truss.frameworks.statsmodels.features import Features, features_of, sample_rows
from truss.frameworks.trial import same_values

_TOLERANCE = 1e-9
"""Of the largest prediction: statsmodels computes in double precision."""


class StatsmodelsFramework:
    """The adapter for statsmodels."""

    name = "statsmodels"
    model_framework = "statsmodels"
    summary = "results of statsmodels' `fit`: regressions, with or without a formula, and time series"

    def recognises(self, model: object) -> bool:
        """Whether `model` is what a statsmodels model's `fit` returned."""
        return any(
            base.__name__ in ("ResultsWrapper", "Results") and base.__module__.startswith("statsmodels.base.")
            for base in type(model).__mro__
        )

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the results to `model/results.pickle` below `data_dir`, and read them again as a proof.

        Training data that predictions do not need are left out, of the copy that is written.

        Raises:
            PackagingError: the results cannot predict, cannot be pickled, or what was written does not
                answer as they do.
            MissingExtraError: cloudpickle is not installed.
        """
        metadata = _metadata(model)
        folder = data_dir / "model"
        rows = _rows_to_try(model, metadata)
        stream = _smallest(model, metadata, rows)
        folder.mkdir()
        try:
            path = folder / "results.pickle"
            path.write_bytes(stream)
        except OSError:
            shutil.rmtree(folder)
            raise
        by_value = b"cloudpickle" in stream
        reason = _reason_against_joining(model, metadata, rows)
        return Saved(
            model_class=model_class_source(__package__),
            model_type=type(model).__name__.removesuffix("Wrapper"),
            model_metadata=metadata | by_value_metadata(by_value),
            requirements=("statsmodels", "pandas", "numpy") + (("cloudpickle",) if by_value else ()),
            pickle_files=(path,),
            batching="none" if reason else "rows",
            signature=_signature(model),
            notes=_notes(metadata, reason, by_value=by_value),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live results answer, through the same steps as the packaged ones."""
        return _ask(model, _metadata(model), request)


def _signature(results: Any) -> Signature:
    """The columns of a formula; other models take their rows with a constant or without."""
    features = features_of(results.model)
    return of_features(features.names) if features.is_formula and features.names else Signature()


def _metadata(results: Any) -> dict[str, Any]:
    """The facts that the model class needs.

    Raises:
        PackagingError: the results have no way to predict.
    """
    inner = results.model
    forecasts = hasattr(results, "forecast") and type(inner).__module__.startswith("statsmodels.tsa.")
    method = "forecast" if forecasts else "predict"
    if not hasattr(results, method) or hasattr(inner, "neqs"):
        raise PackagingError(
            f"this {type(results).__name__} cannot predict from new rows or a number of steps alone",
            hint="package a function that calls what it offers: it takes the request, and returns the answer",
        )
    features = features_of(inner)
    if method == "predict" and not features.names:
        raise PackagingError(
            f"this {type(results).__name__} no longer knows the columns it was fitted on",
            hint="package it before `remove_data`, which takes them away",
        )
    if forecasts and features.constant is not None:
        features = Features(features.names, is_formula=features.is_formula, constant=None, options=())
    return {"method": method, **features.metadata()}


def _ask(results: Any, metadata: dict[str, Any], request: Any) -> Any:
    from truss.frameworks.statsmodels.model_class import Model

    live = Model(data_dir=Path(), config={"model_metadata": metadata}, secrets={})
    live.results = results
    return live.postprocess(live.predict(live.preprocess(request)))


def _rows_to_try(results: Any, metadata: dict[str, Any]) -> list[Any]:
    """Requests' rows that the results can answer, out of what they were fitted on."""
    if metadata["method"] == "forecast":
        return []
    return sample_rows(results.model, features_of(results.model))


def _smallest(results: Any, metadata: dict[str, Any], rows: list[Any]) -> bytes:
    """A pickle of the results, without the training data where predictions come out the same.

    Raises:
        PackagingError: they cannot be pickled, or answer differently once they have been.
    """
    stream = _dumps(results)
    request: dict[str, Any] = {"inputs": rows} if rows else {"steps": 2}
    if not rows and metadata["features"]:  # a series that needs values of the future to look into it
        _loads(stream, results)
        return stream
    expected = _ask(results, metadata, request)["predictions"]
    copy = _loads(stream, results)
    if not same_values(expected, _ask(copy, metadata, request)["predictions"], _TOLERANCE):
        raise PackagingError(
            f"this {type(results).__name__} predicts differently once it has been saved and read",
            hint="package it in the session that fitted it, before anything of it is changed",
        )
    if metadata["method"] == "forecast" or metadata["is_formula"]:
        return stream  # a forecast starts from the data; a formula is read again with them
    try:
        copy.remove_data()
        smaller = _dumps(copy)
        answered = _ask(_loads(smaller, results), metadata, request)["predictions"]
    except Exception:  # noqa: BLE001  # some kinds of models cannot do without
        return stream
    return smaller if answered == expected else stream


def _dumps(results: Any) -> bytes:
    try:
        return dumps_by_value(results)
    except (TypeError, AttributeError, ValueError, RecursionError, pickle.PicklingError) as error:
        raise unpicklable_error(results, error, f"this {type(results).__name__}") from error


def _loads(stream: bytes, results: Any) -> Any:
    """Read the results as a fresh process will: in a thread, where a formula sees no name of this session.

    Raises:
        PackagingError: they cannot be read.
    """
    with TemporaryDirectory() as folder, ThreadPoolExecutor(max_workers=1) as thread:
        path = Path(folder, "model", "results.pickle")
        path.parent.mkdir()
        path.write_bytes(stream)
        try:
            return thread.submit(_load, Path(folder)).result()
        except Exception as error:
            raise PackagingError(
                f"this {type(results).__name__} cannot be read again once saved: {reason_of(error)}",
                hint="a formula may use its table's columns and NumPy as `np`: compute what a function of "
                "your own gives as a column before the fit",
            ) from error


def _load(data_dir: Path) -> Any:
    from truss.frameworks.statsmodels.model_class import Model

    model = Model(data_dir=data_dir, config={"model_metadata": {}}, secrets={})
    model.load()
    return model.results


def _reason_against_joining(results: Any, metadata: dict[str, Any], rows: list[Any]) -> str | None:
    if metadata["method"] == "forecast":
        return "a forecast has steps, not rows"
    if len(rows) < 2:
        return "it no longer has rows of its training data to try it with"
    joined = _ask(results, metadata, {"inputs": rows})["predictions"]
    try:
        separate = [_ask(results, metadata, {"inputs": [row]})["predictions"] for row in rows]
    except Exception:  # noqa: BLE001  # a formula may need several rows
        separate = []
    if same_values(joined, [item for answer in separate for item in answer], _TOLERANCE):
        return None
    return "in a trial with rows of the training data, the answer to a row depended on the other rows"


def _notes(metadata: dict[str, Any], reason: str | None, *, by_value: bool) -> tuple[str, ...]:
    notes = []
    if metadata["is_formula"] or metadata["method"] == "forecast":
        notes.append(
            "the training data are saved with the model: it cannot be read or continued without them"
        )
    if by_value:
        notes.append(by_value_note())
    if reason is not None and metadata["method"] != "forecast":
        notes.append(f"rows of concurrent requests are not joined: {reason}")
    return tuple(notes)


if TYPE_CHECKING:
    _fits: Framework = StatsmodelsFramework()

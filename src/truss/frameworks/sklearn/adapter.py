"""Package scikit-learn estimators, and those of libraries that build on its `BaseEstimator`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.config import Signature
from truss.errors import PackagingError
from truss.frameworks.base import Framework, Saved, model_class_source
from truss.frameworks.bytecode import by_value_metadata, by_value_note
from truss.frameworks.signatures import of_features, of_width
from truss.frameworks.sklearn.detect import is_estimator
from truss.frameworks.sklearn.most_probable import predicts_most_probable
from truss.frameworks.sklearn.rowwise import reason_against_joining
from truss.frameworks.sklearn.saving import write_estimator

_MOST_CLASSES_LISTED = 1000


class SklearnFramework:
    """The adapter for scikit-learn."""

    name = "sklearn"
    model_framework = "sklearn"
    summary = "scikit-learn estimators, pipelines and searches, and estimators of libraries built on them"

    def recognises(self, model: object) -> bool:
        """Whether `model` is an estimator (not an estimator class)."""
        return is_estimator(model)

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the estimator to `model/model.joblib` below `data_dir`.

        Raises:
            PackagingError: it is not fitted, cannot answer for new rows, or cannot be pickled.
            MissingExtraError: it holds code of a notebook cell, and cloudpickle is not installed.
        """
        metadata = _metadata(model)
        path = data_dir / "model" / "model.joblib"
        path.parent.mkdir()
        written = write_estimator(model, path)
        requirements = ["scikit-learn", "joblib", "numpy"]
        if metadata["named_features"] or "records_as_frame" in metadata:
            requirements.append("pandas")
        notes = []
        if written.by_value:
            requirements.append("cloudpickle")
            notes.append(by_value_note())
        reason = reason_against_joining(model)
        if reason is not None:
            notes.append(
                f"rows of concurrent requests are not joined: {reason}. If each row is answered by itself, "
                "set `runtime.batching.mode: rows`"
            )
        return Saved(
            model_class=model_class_source(__package__),
            model_type=type(model).__name__,
            model_metadata=metadata | by_value_metadata(written.by_value),
            requirements=tuple(requirements),
            pickled_objects=written.references,
            pickle_files=(path,) if written.by_value else (),
            batching="none" if reason else "rows",
            signature=_signature(model),
            notes=tuple(notes),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live estimator answers, through the same steps as the packaged one."""
        from truss.frameworks.sklearn.model_class import Model

        live = Model(data_dir=Path(), config={"model_metadata": _metadata(model)}, secrets={})
        live.model = model
        return live.postprocess(live.predict(live.preprocess(request)))


def _metadata(model: Any) -> dict[str, Any]:
    """The facts that the model class needs, and the class order that a reader of its answers needs."""
    _check_fitted(model)
    method = _method(model)
    probabilities = method == "predict" and hasattr(model, "predict_proba")
    metadata: dict[str, Any] = {
        "model_binary_dir": "model",
        "method": method,
        "named_features": _has_named_features(model),
        "supports_predict_proba": probabilities,
    }
    if _may_take_frames(model):
        metadata["records_as_frame"] = True
    if probabilities and predicts_most_probable(model):
        metadata["predicts_most_probable"] = True
    classes = _classes(model) if probabilities else None
    if classes is not None:
        metadata["classes"] = classes
    return metadata


def _method(model: Any) -> str:
    """The method that answers for new rows. `hasattr` runs no computation, only availability checks.

    Raises:
        PackagingError: there is none.
    """
    for method in ("predict", "transform"):
        if hasattr(model, method):
            return method
    name = type(model).__name__
    if hasattr(model, "fit_predict") or hasattr(model, "fit_transform"):
        problem = "it answers only for the rows it was fitted on"
        hint = "fit a model that predicts new rows, such as a KNeighborsClassifier on its `labels_`"
    else:
        problem = "it has neither `predict` nor `transform`"
        hint = 'package a function that calls what it offers: `lambda request: {"predictions": ...}`'
    if hasattr(model, "estimator") and getattr(model, "refit", True) is False:
        problem, hint = "it was searched with refit=False", "use refit=True, or package its best estimator"
    raise PackagingError(f"this {name} cannot answer requests: {problem}", hint=hint)


def _check_fitted(model: Any) -> None:
    """Refuse estimators that have not been fitted.

    Only scikit-learn's own keep its convention of what a fitted estimator looks like; for the others,
    and for pipelines that end in one, there is no telling.

    Raises:
        PackagingError: the estimator is not fitted.
    """
    from sklearn.exceptions import NotFittedError
    from sklearn.utils.validation import check_is_fitted

    last = model
    while isinstance(getattr(last, "steps", None), list) and last.steps:
        last = last.steps[-1][1]
    keeps_convention = type(last).__module__.startswith("sklearn.") or hasattr(last, "__sklearn_is_fitted__")
    if not (is_estimator(last) and keeps_convention):
        return
    try:
        check_is_fitted(model)
    except NotFittedError:
        if _learns_nothing(model):
            return
        raise PackagingError(
            f"this {type(model).__name__} is not fitted, so it cannot answer requests",
            hint="fit first: `model.fit(X, y)`",
        ) from None


def _learns_nothing(model: Any) -> bool:
    """Whether there is nothing to fit; scikit-learn 1.6 and later look at this by themselves."""
    tags = model._get_tags() if hasattr(model, "_get_tags") else {}  # noqa: SLF001 - public only since 1.6
    return bool(tags.get("stateless"))


def _signature(model: Any) -> Signature:
    """The columns that it was fitted on, or their number; nothing for what takes texts, say."""
    if _has_named_features(model):
        return of_features([str(name) for name in model.feature_names_in_])
    width = getattr(model, "n_features_in_", None)
    return of_width(width) if isinstance(width, int) else Signature()


def _has_named_features(model: Any) -> bool:
    """Whether it was fitted on a DataFrame, so that rows are given to it with column names."""
    return getattr(model, "feature_names_in_", None) is not None and find_spec("pandas") is not None


def _may_take_frames(model: Any) -> bool:
    """Whether records are given to it as a DataFrame although it does not tell the columns that it knows.

    So it is with a pipeline that begins with a step of one's own: such a step seldom keeps the names, or the
    number, of what it was fitted on, and often picks columns by name.
    """
    first = getattr(model, "best_estimator_", model)
    while isinstance(getattr(first, "steps", None), list) and first.steps:
        first = first.steps[0][1]
    tells = any(hasattr(first, name) for name in ("feature_names_in_", "n_features_in_"))
    # Whoever fitted it on a DataFrame has imported pandas.
    return not tells and not type(first).__module__.startswith("sklearn.") and "pandas" in sys.modules


def _classes(model: Any) -> list[Any] | None:
    """The class that each column of the probabilities stands for, for one output of modest size."""
    classes: Any = getattr(model, "classes_", None)
    if not hasattr(classes, "tolist") or len(classes) > _MOST_CLASSES_LISTED:
        return None
    listed: list[Any] = classes.tolist()
    return listed if all(isinstance(item, (bool, int, float, str)) for item in listed) else None


if TYPE_CHECKING:
    _fits: Framework = SklearnFramework()

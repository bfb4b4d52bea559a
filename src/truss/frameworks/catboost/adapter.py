"""Package CatBoost models: the estimators of its scikit-learn API, and `CatBoost`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.boosting import library_kind, not_fitted_error, plain_labels
from truss.frameworks.contents import Contents
from truss.frameworks.signatures import of_features

_KINDS = frozenset({"CatBoost", "CatBoostClassifier", "CatBoostRegressor", "CatBoostRanker"})
_RAW = "RawFormulaVal"
_JSON = re.compile(rb'\{\s*"features_info"\s*:')
_PREDICTION_TYPES = {
    "Poisson": "Exponent",
    "Tweedie": "Exponent",
    "RMSEWithUncertainty": "RMSEWithUncertainty",
}
"""What a loss function's raw values have to become, to be predictions."""


class CatboostFramework:
    """The adapter for CatBoost."""

    name = "catboost"
    model_framework = "catboost"
    summary = "CatBoost's CatBoostClassifier, CatBoostRegressor, CatBoostRanker, and CatBoost"
    files = "models of CatBoost (.cbm, or its JSON)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is one of the library's own, or of a subclass that adds no code."""
        return library_kind(model, "catboost", _KINDS) is not None

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the model to `model/model.cbm` below `data_dir`, in the library's own format.

        Raises:
            PackagingError: it is not fitted, or has class labels that JSON cannot hold.
        """
        metadata = _metadata(model)
        path = data_dir / "model" / "model.cbm"
        path.parent.mkdir()
        model.save_model(path, format="cbm")
        return Saved(
            model_class=model_class_source(__package__),
            model_type=type(model).__name__,
            model_metadata=metadata,
            requirements=("catboost",),
            batching="rows",
            signature=of_features(metadata["features"]),
            notes=_notes(model, metadata),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live model answers, through the same steps as the packaged one."""
        from truss.frameworks.catboost.model_class import Model

        live = Model(data_dir=Path(), config={"model_metadata": _metadata(model)}, secrets={})
        live.model = _as_loaded(model)
        return live.postprocess(live.predict(live.preprocess(request)))

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is what `save_model` writes."""
        return _format(contents) is not None

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:  # noqa: ARG002 - no code is in it
        """The model in the file."""
        import catboost

        return catboost.CatBoost().load_model(str(contents.path), format=_format(contents))


def _format(contents: Contents) -> str | None:
    """What CatBoost calls the format of one of its files; None of any other file."""
    if contents.head.startswith(b"CBM1"):
        return "cbm"
    return "json" if _JSON.match(contents.head) else None


def _metadata(model: Any) -> dict[str, Any]:
    """The facts that the model class needs.

    Raises:
        PackagingError: the model is not fitted, or has class labels that JSON cannot hold.
    """
    if not model.is_fitted():
        raise not_fitted_error(model)
    loss = str(model.get_all_params().get("loss_function", ""))
    classes = plain_labels(model.classes_, "its classes")
    of_loss = _PREDICTION_TYPES.get(loss.partition(":")[0], _RAW)
    return {
        "model_binary_dir": "model",
        "objective": loss,
        "prediction_type": "Class" if classes else of_loss,
        "supports_predict_proba": bool(classes),
        "classes": classes,
        "features": model.feature_names_,
    }


def _as_loaded(model: Any) -> Any:
    """The same trees as the packaged copy has them: a ranker's own `predict` takes no prediction type."""
    from catboost import CatBoost

    plain = CatBoost()
    plain.__setstate__(model.__getstate__())
    return plain


def _notes(model: Any, metadata: dict[str, Any]) -> tuple[str, ...]:
    if library_kind(model, "catboost", {"CatBoost"}) == "CatBoost" and metadata["prediction_type"] != _RAW:
        answers = "classes with their probabilities" if metadata["classes"] else "predictions"
        return (f"it answers {answers}, where `predict` of a CatBoost object gives raw values by default",)
    return ()


if TYPE_CHECKING:
    _fits: OpensFiles = CatboostFramework()

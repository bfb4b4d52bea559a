"""Package LightGBM models: the estimators of its scikit-learn API, and `Booster`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.errors import PackagingError
from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.boosting import library_kind, not_fitted_error, plain_labels
from truss.frameworks.contents import Contents
from truss.frameworks.lightgbm.categories import categories_of
from truss.frameworks.signatures import of_features

_KINDS = frozenset({"LGBMModel", "LGBMClassifier", "LGBMRegressor", "LGBMRanker", "Booster"})
_OBJECTIVES_OF_CLASSES = ("binary", "multiclass", "multiclassova")


class LightgbmFramework:
    """The adapter for LightGBM."""

    name = "lightgbm"
    model_framework = "lightgbm"
    summary = "LightGBM's LGBMClassifier, LGBMRegressor, LGBMRanker, and Booster"
    files = "text models of LightGBM (.txt)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is one of the library's own, or of a subclass that adds no code."""
        return library_kind(model, "lightgbm", _KINDS) is not None

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the model to `model/model.txt` below `data_dir`, in the library's own format.

        Of a model that was stopped early, the rounds up to the best one are written: those it answers with.

        Raises:
            PackagingError: it is not fitted, answers raw scores, or has labels that JSON cannot hold.
        """
        booster = _booster(model)
        metadata = _metadata(model, booster)
        path = data_dir / "model" / "model.txt"
        path.parent.mkdir()
        booster.save_model(path)
        return Saved(
            model_class=model_class_source(__package__),
            model_type=type(model).__name__,
            model_metadata=metadata,
            requirements=("lightgbm", "numpy"),
            batching="rows",
            signature=of_features(metadata["features"]),
            notes=_notes(model, booster, metadata),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live booster answers, through the same steps as the packaged one."""
        from truss.frameworks.lightgbm.model_class import Model

        booster = _booster(model)
        live = Model(data_dir=Path(), config={"model_metadata": _metadata(model, booster)}, secrets={})
        live.booster = booster
        return live.postprocess(live.predict(live.preprocess(request)))

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is what `save_model` writes."""
        return contents.head.replace(b"\r\n", b"\n").startswith(b"tree\nversion=")

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:  # noqa: ARG002 - no code is in it
        """The Booster in the file.

        Raises:
            PackagingError: its trees are not all there; the library would answer with those that are.
        """
        import lightgbm

        text = contents.path.read_text("utf-8")
        if not _is_whole(text):
            raise PackagingError(
                "this text model of LightGBM has no end: it is cut off",
                where=str(contents.path),
                hint="copy it again, or save the model anew: `booster.save_model(path)`",
            )
        return lightgbm.Booster(model_str=text)


def _is_whole(text: str) -> bool:
    """Whether a text model has its trees, its parameters, and what Python adds: the names of categories."""
    rest = text.partition("\nend of trees")[2]
    if "\nparameters:" in rest:
        rest = rest.partition("\nend of parameters")[2]
    _, mark, categories = rest.rpartition("pandas_categorical:")
    return rest.endswith("\n") and (not mark or categories.strip() == "null" or categories.endswith("]\n"))


def _booster(model: Any) -> Any:
    """The trees inside.

    Raises:
        PackagingError: the estimator has not been fitted.
    """
    if not hasattr(model, "booster_") and hasattr(model, "fit"):
        raise not_fitted_error(model)
    return getattr(model, "booster_", model)


def _metadata(model: Any, booster: Any) -> dict[str, Any]:
    """The facts that the model class needs."""
    summary = booster.dump_model(num_iteration=1)
    classes = _classes(model, summary)
    return {
        "model_binary_dir": "model",
        "objective": summary.get("objective", ""),
        "supports_predict_proba": bool(classes),
        "classes": classes,
        "features": booster.feature_name(),
        "categories": categories_of(booster),
    }


def _classes(model: Any, summary: dict[str, Any]) -> list[Any]:
    """The labels of a classifier's classes; none for other models.

    Raises:
        PackagingError: it is a classifier that does not answer with classes, or whose labels JSON lacks.
    """
    objective = summary.get("objective", "").partition(" ")[0]
    if hasattr(model, "classes_"):
        if not objective:
            raise PackagingError(
                f"this {type(model).__name__} was trained with an objective of its own, so it answers raw "
                "scores in place of classes",
                hint="package a function that calls `predict` and makes classes of the scores",
            )
        return plain_labels(model.classes_, "its classes")
    if objective not in _OBJECTIVES_OF_CLASSES:
        return []
    return list(range(max(2, summary["num_class"])))


def _notes(model: Any, booster: Any, metadata: dict[str, Any]) -> tuple[str, ...]:
    if model is booster and metadata["classes"]:
        return ("a Booster does not know the labels of its classes: they are answered as 0, 1, 2, ...",)
    return ()


if TYPE_CHECKING:
    _fits: OpensFiles = LightgbmFramework()

"""Package XGBoost models: the estimators of its scikit-learn API, and `Booster`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.errors import PackagingError
from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.boosting import installed_distribution, library_kind, not_fitted_error
from truss.frameworks.contents import Contents
from truss.frameworks.precision import in_precision
from truss.frameworks.signatures import of_features
from truss.frameworks.xgboost.categories import categories_of, has_categories
from truss.frameworks.xgboost.ubjson import is_whole

_ESTIMATORS = frozenset(
    {"XGBModel", "XGBClassifier", "XGBRegressor", "XGBRanker", "XGBRFClassifier", "XGBRFRegressor"}
)
_LINKS = {"multi:softmax": "softmax", "binary:logitraw": "sigmoid"}
_WITHOUT_PROBABILITIES = "binary:hinge"

# How its files begin: an object whose first key is `learner`, in UBJSON (with an eight-byte length) or JSON.
_FILE = re.compile(rb'\{(?:L\0{7}\x07learner|\s*"learner"\s*:)')

# The estimators of its scikit-learn API say in their files what they are.
_ESTIMATOR_OF = {"classifier": "XGBClassifier", "regressor": "XGBRegressor", "ranker": "XGBRanker"}


class XgboostFramework:
    """The adapter for XGBoost."""

    name = "xgboost"
    model_framework = "xgboost"
    summary = "XGBoost's XGBClassifier, XGBRegressor, XGBRanker, their random forests, and Booster"
    files = "models of XGBoost, in UBJSON (.ubj) or JSON"

    def recognises(self, model: object) -> bool:
        """Whether `model` is one of the library's own, or of a subclass that adds no code."""
        return library_kind(model, "xgboost", {*_ESTIMATORS, "Booster"}) is not None

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the model to `model/model.ubj` below `data_dir`, in the library's own format.

        Raises:
            PackagingError: it is not fitted.
        """
        booster = _booster(model)
        metadata = _metadata(model, booster)
        path = data_dir / "model" / "model.ubj"
        path.parent.mkdir()
        model.save_model(path)
        distribution = installed_distribution("xgboost-cpu", "xgboost")
        return Saved(
            model_class=model_class_source(__package__),
            model_type=type(model).__name__,
            model_metadata=metadata,
            requirements=(distribution, "numpy"),
            batching="rows",
            signature=of_features(metadata["features"]),
            notes=tuple(_notes(model, booster, metadata, distribution)),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live booster answers, through the same steps as the packaged one."""
        from truss.frameworks.xgboost.model_class import Model

        booster = _booster(model)
        live = Model(data_dir=Path(), config={"model_metadata": _metadata(model, booster)}, secrets={})
        live.booster = booster
        answer = live.postprocess(live.predict(live.preprocess(request)))
        return in_precision(answer, "float32")

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is what `save_model` writes."""
        return _FILE.match(contents.head) is not None

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:  # noqa: ARG002 - no code is in it
        """The estimator that was saved, where the file says which; else a Booster.

        Raises:
            PackagingError: it is cut off, which the library does not always notice.
        """
        import xgboost

        content = bytearray(contents.path.read_bytes())
        if contents.head.startswith(b"{L") and not is_whole(content):
            raise PackagingError(
                "the file is cut off, or damaged", where=str(contents.path), hint="copy or save it once more"
            )
        booster = xgboost.Booster()
        booster.load_model(content)
        said = json.loads(booster.attr("scikit_learn") or "{}").get("_estimator_type")
        if said not in _ESTIMATOR_OF:
            return booster
        estimator = getattr(xgboost, _ESTIMATOR_OF[said])()
        estimator.load_model(content)
        return estimator


def _booster(model: Any) -> Any:
    """The trees (or the linear model) inside.

    Raises:
        PackagingError: it has not been trained.
    """
    if not hasattr(model, "get_booster"):
        booster = model
    elif model.__sklearn_is_fitted__():
        booster = model.get_booster()
    else:
        raise not_fitted_error(model)
    _check_trained(booster)
    return booster


def _check_trained(booster: Any) -> None:
    from xgboost.core import XGBoostError

    try:
        booster.num_features()
    except XGBoostError:
        raise PackagingError(
            "this Booster has not been trained, so it cannot answer requests",
            hint="train first: `booster = xgboost.train(parameters, data)`",
        ) from None


def _metadata(model: Any, booster: Any) -> dict[str, Any]:
    """The facts that the model class needs, all of them in the booster but for an estimator's few."""
    learner = json.loads(booster.save_config())["learner"]
    objective: str = learner["objective"]["name"]
    task = _task(objective, learner["learner_model_param"])
    classes = max(2, int(learner["learner_model_param"]["num_class"]))
    missing = getattr(model, "missing", None)
    return {
        "model_binary_dir": "model",
        "task": task,
        "objective": objective,
        "link": _LINKS.get(objective),
        "supports_predict_proba": task != "values" and objective != _WITHOUT_PROBABILITIES,
        "classes": list(range(classes)) if task == "classes" else [],
        "features": booster.feature_names or [f"f{index}" for index in range(booster.num_features())],
        "categories": categories_of(booster),
        "missing": None if missing is None or missing != missing else missing,
        "iteration_range": _iteration_range(model, booster),
        "linear": learner["gradient_booster"]["name"] == "gblinear",
    }


def _task(objective: str, parameters: dict[str, str]) -> str:
    """What the numbers of an objective are: of `classes`, of yes-or-no `labels`, or plain `values`."""
    if not objective.startswith(("binary:", "multi:")):
        return "values"
    return "labels" if int(parameters.get("num_target", "1")) > 1 else "classes"


def _iteration_range(model: Any, booster: Any) -> list[int]:
    """The rounds that answer: an estimator stops at its best one, a Booster uses all it has ([0, 0])."""
    if model is booster or booster.attr("best_iteration") is None:
        return [0, 0]
    return [0, int(booster.attr("best_iteration")) + 1]


def _notes(model: Any, booster: Any, metadata: dict[str, Any], distribution: str) -> list[str]:
    notes = []
    if metadata["task"] == "classes" and model is booster:
        notes.append("a Booster does not know the labels of its classes: they are answered as 0, 1, 2, ...")
    if has_categories(booster) and not metadata["categories"]:
        notes.append(
            "the model does not know the names of its categories: requests give their codes (0, 1, 2, ...)"
        )
    best = booster.attr("best_iteration") if model is booster else None
    if best is not None and int(best) + 1 < booster.num_boosted_rounds():
        notes.append(
            f"a Booster answers with all its {booster.num_boosted_rounds()} rounds; to keep those up to the "
            f"best one only, package `booster[: {int(best) + 1}]`"
        )
    if metadata["link"] == "sigmoid" and model is not booster:
        notes.append(
            "this estimator's own `predict` compares raw scores with 0.5; the packaged one compares "
            "probabilities with 0.5"
        )
    if distribution == "xgboost" and sys.platform == "linux":
        notes.append(
            "xgboost brings NVIDIA's libraries along; xgboost-cpu of the same version is a far smaller "
            "requirement where it is served without a GPU"
        )
    return notes


if TYPE_CHECKING:
    _fits: OpensFiles = XgboostFramework()

"""Whether a classifier's `predict` is the class that its `predict_proba` finds most probable.

Where it is, one call gives both parts of an answer: half the time for a forest or a pipeline, which would
otherwise compute the same twice.
"""

from __future__ import annotations

from typing import Any

# Each of these takes the largest of some scores, and its probabilities grow with the same scores. Of those
# that are not here, some do not (SVC fits its probabilities apart from its classes), others have not been
# looked at. Only these very classes count: a class derived from one may predict in its own way.
_KNOWN = frozenset(
    {
        "AdaBoostClassifier",
        "BaggingClassifier",
        "BernoulliNB",
        "CalibratedClassifierCV",
        "DecisionTreeClassifier",
        "ExtraTreeClassifier",
        "ExtraTreesClassifier",
        "GaussianNB",
        "GradientBoostingClassifier",
        "HistGradientBoostingClassifier",
        "KNeighborsClassifier",
        "LinearDiscriminantAnalysis",
        "LogisticRegression",
        "LogisticRegressionCV",
        "MultinomialNB",
        "QuadraticDiscriminantAnalysis",
        "RandomForestClassifier",
        "VotingClassifier",
    }
)
_SEARCHES = frozenset(
    {"GridSearchCV", "HalvingGridSearchCV", "HalvingRandomSearchCV", "Pipeline", "RandomizedSearchCV"}
)


def predicts_most_probable(model: Any) -> bool:
    """Whether `model.predict(rows)` is `model.classes_[model.predict_proba(rows).argmax(axis=1)]`.

    That is up to rounding: where the two highest probabilities are nearly equal, either may come out.

    Args:
        model: A fitted classifier with one output, or a pipeline or search around one.
    """
    kind = type(model)
    if kind.__module__.partition(".")[0] != "sklearn":
        return False
    if kind.__name__ in _SEARCHES:
        inner = model.steps[-1][1] if hasattr(model, "steps") else model.best_estimator_
        return predicts_most_probable(inner)
    return kind.__name__ in _KNOWN and _has_classes_of_one_output(model)


def _has_classes_of_one_output(model: Any) -> bool:
    """Several outputs have a list of arrays in place of one array of classes."""
    classes: Any = getattr(model, "classes_", None)
    return getattr(classes, "ndim", 0) == 1 and len(classes) > 1 and getattr(model, "n_outputs_", 1) == 1

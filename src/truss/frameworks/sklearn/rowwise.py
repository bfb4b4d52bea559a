"""Whether an estimator answers each row by itself, so that the rows of several requests may be joined.

scikit-learn's estimators do, with the exceptions below. (Sums of products come out of BLAS with another
last bit for another number of rows; probabilities agree to about 1e-13, labels are equal.) Estimators and
functions from elsewhere may look at the whole batch, say to centre it, so only known ones are joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import MappingProxyType
from typing import Any

from truss.frameworks.sklearn.detect import is_estimator

_ROW_BY_ROW_PACKAGES = frozenset({"sklearn", "xgboost", "lightgbm", "catboost"})

# Functions given as these parameters see one document, or one pair of rows; or are used in fitting only.
_PER_ITEM_PARAMETERS = frozenset(
    {"analyzer", "importance_getter", "metric", "preprocessor", "refit", "score_func", "scoring", "tokenizer"}
)


def _always(_: object) -> bool:
    return True


# Functions given as these are called with the whole table (or column).
_WHOLE_TABLE_PARAMETERS = frozenset({"func", "inverse_func"})

_EXCEPTIONS: MappingProxyType[str, tuple[Callable[[Any], bool], str]] = MappingProxyType(
    {
        "DummyClassifier": (
            lambda model: model.strategy in ("stratified", "uniform"),
            "draws its answers at random, by position",
        ),
        "IterativeImputer": (
            lambda model: bool(model.sample_posterior),
            "draws values at random, by position",
        ),
        "MiniBatchNMF": (_always, "stops iterating when the rows together have converged"),
        "MiniBatchSparsePCA": (_always, "answers a single row in another shape"),
        "NMF": (_always, "stops iterating when the rows together have converged"),
        "PatchExtractor": (_always, "returns several rows for one"),
        "SparsePCA": (_always, "answers a single row in another shape"),
    }
)


def reason_against_joining(model: Any) -> str | None:
    """Why rows of several requests must not be joined for `model`; None when they may be."""
    reasons = (_reason(estimator) for estimator in _estimators(model))
    return next((reason for reason in reasons if reason is not None), None)


def _estimators(model: Any) -> Iterator[Any]:
    """`model`, the estimators among its parameters, and those that a search chose."""
    yield model
    yield from filter(is_estimator, model.get_params(deep=True).values())
    best = vars(model).get("best_estimator_")
    if is_estimator(best):
        yield from _estimators(best)


def _reason(estimator: Any) -> str | None:
    kind = type(estimator)
    if kind.__module__.partition(".")[0] not in _ROW_BY_ROW_PACKAGES:
        return f"{kind.__qualname__} is code of {kind.__module__}, which may look at all rows together"
    applies, why = _EXCEPTIONS.get(kind.__name__, (None, ""))
    if applies is not None and applies(estimator):
        return f"{kind.__name__} {why}"
    for name, value in estimator.get_params(deep=False).items():
        if callable(value) and not _works_row_by_row(name, value):
            return f"the function given as `{name}` of {kind.__name__} may look at all rows together"
    return None


def _works_row_by_row(name: str, value: Any) -> bool:
    """Whether a callable parameter treats each row, or each pair of rows, by itself."""
    if name in _PER_ITEM_PARAMETERS or isinstance(value, type) or is_estimator(value):
        return True
    if name in _WHOLE_TABLE_PARAMETERS:
        return type(value).__name__ == "ufunc"  # item by item
    modules = (type(value).__module__, getattr(value, "__module__", None) or "")
    return any(module.partition(".")[0] == "sklearn" for module in modules)  # its kernels and distances

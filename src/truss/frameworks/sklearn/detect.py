"""Tell what an object is from its type alone, without importing scikit-learn."""

from __future__ import annotations


def is_estimator(value: object) -> bool:
    """Whether `value` is an instance of a class that derives from scikit-learn's `BaseEstimator`."""
    return any(
        base.__name__ == "BaseEstimator" and base.__module__ == "sklearn.base" for base in type(value).__mro__
    )

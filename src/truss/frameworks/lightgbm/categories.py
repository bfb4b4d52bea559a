"""Find out which features of a LightGBM model are categories of a DataFrame, and with which names.

The model has the names of the categories of each such column, one list per column, and apart from that the
positions of its categorical features. It does not say which list belongs to which column.
"""

from __future__ import annotations

from typing import Any

from truss.errors import PackagingError
from truss.frameworks.boosting import plain_labels


def categories_of(booster: Any) -> dict[str, list[Any]]:
    """The categories of each feature that has names for them, in the order of their codes.

    Empty for a model that was trained on numbers only.

    Raises:
        PackagingError: there are ordered categories, which the model does not mark as categorical.
    """
    named = booster.pandas_categorical or []
    if not named:
        return {}
    columns = _categorical_columns(booster)
    if len(columns) != len(named):
        raise PackagingError(
            f"LightGBM does not say which columns of the DataFrame had the categories {named}: "
            f"{len(columns)} of its features are categorical, and {len(named)} had named categories",
            hint="train with unordered categories and leave `categorical_feature` at 'auto', or encode "
            "them in a scikit-learn pipeline with the model",
        )
    names = booster.feature_name()
    pairs = zip(columns, named, strict=True)
    return {
        names[column]: plain_labels(labels, f"categories of '{names[column]}'") for column, labels in pairs
    }


def _categorical_columns(booster: Any) -> list[int]:
    """The positions of categorical features: noted as it was trained, or as it was read from a file."""
    noted = booster.params.get("categorical_column", booster.params.get("categorical_feature", []))
    return sorted(int(column) for column in noted)

"""Read the names of categories out of a booster, which keeps them since XGBoost 3.1.

The library gives them only as Arrow arrays, for which it needs pyarrow; the file format, which is
documented, has them as plain numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from truss.errors import PackagingError


def has_categories(booster: Any) -> bool:
    """Whether some of its features are categorical."""
    return "c" in (booster.feature_types or ())


def categories_of(booster: Any) -> dict[str, list[Any]]:
    """The categories of each feature that has names for them, in the order of their codes.

    Empty where the model was trained on codes, or by a version that does not keep their names.

    Raises:
        PackagingError: names hold other than ASCII characters, which XGBoost may have cut.
    """
    if not has_categories(booster):
        return {}
    model = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    model = model.get("gbtree", model)["model"]  # dart keeps its trees one level deeper
    stored = model.get("cats", {}).get("enc", [])
    # Without named categories there is no entry for any feature.
    named = zip(booster.feature_names or (), stored, strict=False)
    return {name: categories for name, entry in named if (categories := _decoded(name, entry))}


def _decoded(name: str, entry: Mapping[str, Any]) -> list[Any]:
    """Whole numbers are kept as they are, texts as bytes one after another with their bounds."""
    values: list[int] = entry["values"]
    if "offsets" not in entry:
        return list(values)
    # XGBoost counts the bounds in characters and applies them to UTF-8 bytes, which cuts other names apart.
    if any(value not in range(128) for value in values):
        raise PackagingError(
            f"XGBoost does not keep the category names of '{name}' whole, as they hold non-ASCII characters",
            hint="train with names in ASCII, or let scikit-learn's OrdinalEncoder give their numbers, "
            "in a pipeline with the model",
        )
    text = bytes(values).decode("ascii")
    return [text[start:end] for start, end in pairwise(entry["offsets"])]

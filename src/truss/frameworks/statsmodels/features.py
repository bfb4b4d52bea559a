"""What a fitted model was fitted on: the names of its columns, and some of its rows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_OPTIONS = ("offset", "exposure")
_SAMPLE = 3


@dataclass(frozen=True)
class Features:
    """The explanatory variables of a model.

    Attributes:
        names: In the order in which rows give their values.
        is_formula: Rows go through the model's formula.
        constant: The position of a column of ones; None without any.
        options: Which further values per row the model was fitted with.
    """

    names: tuple[str, ...]
    is_formula: bool
    constant: int | None
    options: tuple[str, ...]

    def metadata(self) -> dict[str, Any]:
        """What the model class reads from the config."""
        return {
            "features": list(self.names),
            "is_formula": self.is_formula,
            "constant": self.constant,
            "options": list(self.options),
        }


def features_of(model: Any) -> Features:
    """The explanatory variables of the model behind results (`results.model`)."""
    options = tuple(name for name in _OPTIONS if getattr(model, name, None) is not None)
    formula = getattr(model, "formula", None)
    frame = getattr(model.data, "frame", None)
    if formula is not None and frame is not None:
        return Features(_names_in(str(formula), frame), is_formula=True, constant=None, options=options)
    names = (
        tuple(getattr(model.data, "xnames", None) or ()) if getattr(model, "exog", None) is not None else ()
    )
    return Features(names, is_formula=False, constant=_constant(model, names), options=options)


def sample_rows(model: Any, features: Features) -> list[list[Any]]:
    """Some of the rows that the model was fitted on; none when it no longer has them."""
    if features.is_formula:
        table = model.data.frame[list(features.names)].dropna().head(_SAMPLE)
        return [row.tolist() for row in table.astype(object).to_numpy()]
    exog = getattr(model, "exog", None)
    return [] if exog is None else [row.tolist() for row in exog[:_SAMPLE]]


def _names_in(formula: str, frame: Any) -> tuple[str, ...]:
    """The columns of the table that the formula's right side names, in the table's order."""
    explained_by = formula.partition("~")[2]
    words = set(re.findall(r"[^\W\d]\w*", explained_by)) | set(
        re.findall(r"[`'\"]([^`'\"]+)[`'\"]", explained_by)
    )
    return tuple(str(name) for name in frame.columns if str(name) in words)


def _constant(model: Any, names: tuple[str, ...]) -> int | None:
    position = getattr(model.data, "const_idx", None)
    if position is None or not 0 <= position < len(names):
        return None
    return int(position) if (model.exog[:, position] == 1).all() else None

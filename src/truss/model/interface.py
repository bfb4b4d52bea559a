"""What a loaded model says of its requests and answers, for those who describe it to its clients."""

from __future__ import annotations

import inspect
from typing import Any

from truss.model import schemas
from truss.model.annotations import answer_type
from truss.model.steps import METHODS, Steps


def interface(steps: Steps) -> dict[str, Any]:
    """The facts, as JSON values.

    Returns:
        `request`: the schema of a request's body, None where the model's steps do not say it.
        `example`: a body that fits it, None where none could be thought of.
        `answer`: of an answer, or of one chunk where `streams`; None likewise.
        `methods`: which of OpenAI's methods the model has.
        `about`: what the class says of itself.
    """
    contract, answer = steps.contract, answer_type(steps.last)
    schema = None if answer is None else schemas.of_type(answer.type, "serialization")
    own = inspect.getdoc(type(steps.model)) if type(steps.model).__doc__ else None
    return {
        "request": None if contract is None else contract.schema,
        "example": None if contract is None else contract.example(),
        "answer": schema or None,
        "streams": steps.streams or (answer is not None and answer.streams),
        "methods": [name for name in METHODS if callable(getattr(steps.model, name, None))],
        "about": own or "",
    }

"""Decide whether rows of several requests are joined, and say why not."""

from __future__ import annotations

from typing import Any

from truss.frameworks.torch.detect import Kind
from truss.frameworks.torch.programs import batch_axis, row_inputs
from truss.frameworks.torch.rowwise import gives_a_row_for_each, reason_against_joining
from truss.frameworks.trial import Finding, try_rows

_UNSURE = "If each row is answered by itself, in one tensor, set `runtime.batching.mode: rows`"


def note_against_joining(kind: Kind, model: Any, live: Any) -> str | None:
    """The note that says why rows are not joined; None when they may be.

    Args:
        kind: What the model is.
        model: The model.
        live: The model class around it, to try random rows with, where its code is not known.
    """
    reason = _REASONS[kind](model, live)
    return None if reason is None else f"rows of concurrent requests are not joined: {reason}"


def _of_module(model: Any, _live: Any) -> str | None:
    reason = reason_against_joining(model)
    if reason is not None:
        return f"{reason}. {_UNSURE}"
    # Its layers are known, so what they compute need not be: that takes seconds where weights are large.
    return None if gives_a_row_for_each(model) else Finding.UNKNOWN.value


def _of_program(model: Any, live: Any) -> str | None:
    if batch_axis(model) is None:
        return "the program was not exported for one tensor of any number of rows, in and out"
    finding = try_rows(lambda rows: [_answer(live, rows)], row_inputs(model))
    return None if finding is Finding.INDEPENDENT else finding.value


def _of_script(_model: Any, _live: Any) -> str | None:
    return f"what a TorchScript module does with them is not known. {_UNSURE}"


_REASONS = {"module": _of_module, "program": _of_program, "script": _of_script}


def _answer(live: Any, rows: Any) -> Any:
    inputs = rows["inputs"] if list(rows) == ["inputs"] else rows
    return live.predict({"inputs": inputs})["predictions"]

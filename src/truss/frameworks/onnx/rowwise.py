"""Whether rows of several requests may be joined: the operators tell, or else a trial."""

from __future__ import annotations

from typing import Any

from truss.frameworks.onnx.graph import BY_WHOLE_TENSOR, RANDOM
from truss.frameworks.onnx.signature import Signature
from truss.frameworks.trial import Finding, try_rows


def reason_against_joining(session: Any, signature: Signature, operators: frozenset[str]) -> str | None:
    """Why rows of several requests must not be joined, as a clause; None when they may be."""
    if not signature.by_row:
        return "the first axis of an input or output has a fixed length, or there is none"
    if operators & RANDOM:
        return f"it draws at random ({_listed(operators & RANDOM)})"
    if operators & BY_WHOLE_TENSOR:
        return f"it scales rows by their neighbours ({_listed(operators & BY_WHOLE_TENSOR)})"
    finding = try_rows(lambda rows: session.run(None, dict(rows)), signature.row_inputs)
    return None if finding is Finding.INDEPENDENT else finding.value


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))

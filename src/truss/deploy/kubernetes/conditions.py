"""How a resource with a condition `Ready` does: https://github.com/kubernetes/community API conventions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from truss.deploy.target import State


def conditions_state(got: Mapping[str, Any]) -> tuple[State, tuple[str, ...]]:
    """The state that the conditions of a resource say, and what goes wrong."""
    said = got.get("status") or {}
    conditions = {one["type"]: one for one in said.get("conditions", ())}
    ready = conditions.get("Ready", {})
    detail = tuple(
        one["message"] for one in conditions.values() if one["status"] == "False" and one.get("message")
    )
    if said.get("observedGeneration", 0) < got["metadata"].get("generation", 0):
        return "starting", ()
    states: dict[str, State] = {"True": "healthy", "False": "failed"}
    return states.get(ready.get("status", ""), "starting"), detail

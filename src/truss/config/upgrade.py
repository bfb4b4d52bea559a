"""Names that keys had in older formats of the original project, and what they are called today."""

from __future__ import annotations

from typing import Any

RENAMED = {
    "use_control_plane": "live_reload",  # 2022
    "hf_cache": "model_cache",  # 2023
}
"""Old top-level key -> today's. An old key counts only where today's is absent; the file is not changed."""


def renamed(pairs: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """The (key node, value node) pairs of a config's top level, under today's names."""
    present = {key.value for key, _ in pairs}
    for key, _ in pairs:
        today = RENAMED.get(key.value)
        if today is not None and today not in present:
            key.value = today
    return pairs

"""Where and in which number format a model is served: what the config starts out with."""

from __future__ import annotations

from typing import Any


def placement(model: Any) -> dict[str, Any]:
    """The settings `device_map` and `dtype`, for people to edit.

    The weights keep the number format that they are saved in. A model that was spread over several devices
    (by accelerate, an optional dependency) is spread over those of the machine that serves it.
    """
    spread_out = len(set((getattr(model, "hf_device_map", None) or {}).values())) > 1
    return {"device_map": "auto" if spread_out else None, "dtype": "auto"}

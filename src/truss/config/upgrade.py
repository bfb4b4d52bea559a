"""Keys that had other names in older formats.

Reading takes the old name as today's where today's is absent; the file is left as it is.
"""

OLD_NAMES: dict[tuple[str, ...], str] = {
    ("use_control_plane",): "live_reload",
    ("hf_cache",): "model_cache",
    ("runtime", "num_workers"): "workers",
}
"""Path of the old name -> today's name beside it."""

"""Which GPU each worker sees, decided before any library is imported in it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

_NVIDIA_DEVICES = Path("/proc/driver/nvidia/gpus")


def visible_gpus(environment: Mapping[str, str]) -> list[str]:
    """The GPUs this process may use, as `CUDA_VISIBLE_DEVICES` names them; empty without any.

    An existing `CUDA_VISIBLE_DEVICES` is the limit. Otherwise the NVIDIA driver's own list counts.
    """
    named = environment.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [entry.strip() for entry in named.split(",") if entry.strip() not in ("", "-1")]
    if not _NVIDIA_DEVICES.is_dir():
        return []
    return [str(index) for index, _ in enumerate(sorted(_NVIDIA_DEVICES.iterdir()))]


def worker_environment(workers: int, environment: Mapping[str, str]) -> list[dict[str, str]]:
    """The variables to set in each worker.

    Args:
        workers: How many workers; 0 chooses one per GPU, or one when there is none.
        environment: The server's own environment.

    Returns:
        One mapping per worker. Each worker sees one GPU, or its share where there are more GPUs than workers,
        its own first; with more workers than GPUs they share.
    """
    gpus = visible_gpus(environment)
    count = workers or len(gpus) or 1
    if not gpus:
        return [{} for _ in range(count)]
    shares = [gpus[index % len(gpus) :: count] for index in range(count)]
    return [{"CUDA_VISIBLE_DEVICES": ",".join(share)} for share in shares]

"""What the server's processes use: memory, CPU time, and the memory of GPUs, read when metrics are."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from truss.runtime.metrics import Metrics

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")

Samples = Iterable[tuple[str, float]]


def describe_processes(
    metrics: Metrics, workers: Callable[[], Iterable[tuple[int, int]]], *, groups: bool = False
) -> None:
    """Register the memory and CPU time of this process and its workers, and the memory of GPUs.

    Args:
        metrics: Where.
        workers: Each worker's index and process id, as they are now.
        groups: Whether each worker is a whole process group.
    """

    def read(usage: Callable[[int], float]) -> Callable[[], Samples]:
        def samples() -> Samples:
            for index, pid in workers():
                members = _group(pid) if groups else [pid]
                yield f'worker="{index}"', sum(usage(member) for member in members)

        return samples

    own = os.getpid()
    metrics.describe_gauge(
        "process_resident_memory_bytes", "Memory of the front.", lambda: [("", resident_bytes(own))]
    )
    metrics.describe_counter(
        "process_cpu_seconds_total", "CPU time of the front.", lambda: [("", cpu_seconds(own))]
    )
    metrics.describe_gauge(
        "truss_worker_resident_memory_bytes",
        "Memory of each worker, memory-mapped files included.",
        read(resident_bytes),
    )
    metrics.describe_counter("truss_worker_cpu_seconds_total", "CPU time of each worker.", read(cpu_seconds))
    if _nvml() is not None:
        metrics.describe_gauge("truss_gpu_memory_used_bytes", "Memory in use per GPU.", lambda: _gpus(1))
        metrics.describe_gauge("truss_gpu_memory_total_bytes", "Memory per GPU.", lambda: _gpus(0))


def resident_bytes(pid: int) -> float:
    """The memory that a process holds; 0 where the system does not tell."""
    try:
        return float(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0.0


def own_bytes(pid: int, enough: int = 0) -> int:
    """The memory that a process holds itself, and the system cannot have back while it runs.

    That is its proportional share (PSS) of anonymous memory, in pages or swapped out: what it has written
    itself counts whole, what it has from a fork and nobody wrote to since is divided among those who have it.
    Files that it maps and shared memory do not count: they are there once for all workers, and the figure of
    one must not jump when another ends.

    Read from `/proc/PID/smaps_rollup` (https://www.kernel.org/doc/html/latest/filesystems/proc.html). The
    system looks at every page for that; so what the process has mapped altogether, which it knows, is asked
    first.

    Args:
        pid: The process.
        enough: If all that it has mapped is no more than so many bytes, that is returned.

    Returns:
        Bytes; what it has mapped altogether where the system tells no more, 0 where it tells nothing.
    """
    mapped = sum(_sizes(Path(f"/proc/{pid}/status"), ("VmRSS", "VmSwap", "HugetlbPages")).values())
    if mapped <= enough:
        return mapped
    shares = _sizes(Path(f"/proc/{pid}/smaps_rollup"), ("Pss_Anon", "SwapPss", "Private_Hugetlb"))
    return sum(shares.values()) if "Pss_Anon" in shares else mapped


def _sizes(file: Path, names: Sequence[str]) -> dict[str, int]:
    """Some of a file's lines `Name:  123 kB`, in bytes; none where it cannot be read."""
    try:
        lines = file.read_text(errors="replace").splitlines()
    except OSError:
        return {}
    found = (line.partition(":") for line in lines)
    return {name: int(value.split()[0]) << 10 for name, _, value in found if name in names}


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used, in user and kernel mode; 0 where the system does not tell."""
    fields = _stat(pid)
    return (float(fields[11]) + float(fields[12])) / _TICKS if len(fields) > 12 else 0.0


def _stat(pid: int) -> list[str]:
    """What the system says of a process, from its state on: its name before may hold anything."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _group(leader: int) -> Iterator[int]:
    """The processes of a process group."""
    try:
        entries = [entry.name for entry in Path("/proc").iterdir()]
    except OSError:
        entries = []
    for name in entries:
        if name.isdigit():
            fields = _stat(int(name))
            if len(fields) > 2 and fields[2] == str(leader):
                yield int(name)


class _Memory(ctypes.Structure):
    """`nvmlMemory_t`, in bytes."""

    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


@functools.cache
def _nvml() -> ctypes.CDLL | None:
    """NVIDIA's management library, which comes with the driver; None where there is no GPU of theirs."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None


def _gpus(used: int) -> Samples:
    """The memory of each GPU: all of it, or what is used."""
    library = _nvml()
    count = ctypes.c_uint()
    if library is None or library.nvmlDeviceGetCount_v2(ctypes.byref(count)) != 0:
        return
    for index in range(count.value):
        device, memory = ctypes.c_void_p(), _Memory()
        found = library.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(device)) == 0
        if found and library.nvmlDeviceGetMemoryInfo(device, ctypes.byref(memory)) == 0:
            yield f'gpu="{index}"', float(memory.used if used else memory.total)

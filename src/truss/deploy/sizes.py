"""What a platform sells, and the smallest of it that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from truss.config import TrussConfig, parse_size
from truss.deploy.release import Release
from truss.errors import PlanError

GIB = 1 << 30
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Size:
    """One size that a platform has.

    Attributes:
        name: What the platform calls it.
        cpu: Its CPU cores.
        memory: Its main memory in bytes.
        gpu: The kind of its GPUs, as `resources.accelerator` names it; empty: it has none.
        gpus: How many.
        hourly: Its list price in US dollars an hour; 0: not known.
    """

    name: str
    cpu: float
    memory: int
    gpu: str = ""
    gpus: int = 0
    hourly: float = 0.0


def enough(release: Release, sizes: Sequence[Size], where: str) -> tuple[Size, str]:
    """The first of some sizes, the smallest first, that a release fits in; and a line that says which.

    Args:
        release: What is to be deployed.
        sizes: What the platform has.
        where: What the platform is called in a message.

    Raises:
        PlanError: none is enough; the hint says what there is.
    """
    wanted = _wanted(release)
    fitting = [size for size in sizes if _fits(release, size)]
    if not fitting:
        gpus = release.accelerator
        raise PlanError(
            f"{where} has nothing with {wanted}",
            where="resources",
            hint=_offers(sizes, with_gpus=gpus is not None) or "it has no GPUs: choose another target",
        )
    found = fitting[0]
    exact = (found.cpu, found.memory, found.gpus) == (release.cpu, release.memory, _count(release))
    return found, "" if exact else f"{found.name} is the smallest of {where} with {wanted}"


def named(release: Release, name: str, sizes: Sequence[Size], where: str) -> tuple[Size, str]:
    """The size that the user names, and a line that says what is not known of it.

    Args:
        release: What is to be deployed.
        name: What the platform calls the size.
        sizes: What is known of what the platform has.
        where: The option that names it.

    Raises:
        PlanError: it is known, and too small; the hint says what to do.
    """
    size = next((one for one in sizes if one.name == name), None)
    if size is None:
        unknown = "its price, and whether it holds a copy, are not known"
        return Size(name, 0, 0), f"{name} is not in the list here: {unknown}"
    if not _holds(release, size):
        has = _told(size.cpu, size.memory, size.gpus, size.gpu)
        raise PlanError(
            f"a copy asks for {_wanted(release)}, and {name} has {has}",
            where=where,
            hint="leave it out, which takes the smallest that is enough; or ask for less: `resources`",
        )
    return size, ""


def _fits(release: Release, size: Size) -> bool:
    return bool(size.gpus) is (release.accelerator is not None) and _holds(release, size)


def _holds(release: Release, size: Size) -> bool:
    gpus = release.accelerator
    kind_fits = gpus is None or not gpus.kind or gpus.kind == size.gpu
    return (
        size.cpu >= release.cpu
        and size.memory >= release.memory
        and size.gpus >= _count(release)
        and kind_fits
    )


def _count(release: Release) -> int:
    return release.accelerator.count if release.accelerator is not None else 0


def check_body(release: Release, most: int, where: str, instead: str) -> None:
    """Refuse a release that is to take larger requests than a platform lets through.

    A config's default is more than many platforms take, and nobody asked for it: plans note the limit.

    Args:
        release: What is to be deployed.
        most: The most bytes that a request may have there.
        where: What the platform is called in a message.
        instead: Where larger ones go.

    Raises:
        PlanError: `runtime.max_body` is above both.
    """
    asked = release.config.runtime.max_body
    if parse_size(asked) > max(most, parse_size(TrussConfig().runtime.max_body)):
        raise PlanError(
            f"a request to {where} may have {most / MIB:.3g} MiB, and runtime.max_body is {asked}",
            where="runtime.max_body",
            hint=f"set a smaller one, or deploy to {instead}",
        )


def _wanted(release: Release) -> str:
    kind = release.accelerator.kind if release.accelerator is not None else ""
    return _told(release.cpu, release.memory, _count(release), kind)


def _told(cpu: float, memory: int, gpus: int, kind: str | None) -> str:
    parts = [f"{cpu:g} CPU", gibibytes(memory)]
    if gpus:
        parts.append(" ".join(filter(None, [str(gpus), kind, "GPUs" if gpus > 1 else "GPU"])))
    return " and ".join([", ".join(parts[:-1]), parts[-1]])


def _offers(sizes: Sequence[Size], *, with_gpus: bool) -> str:
    offered = [size for size in sizes if bool(size.gpus) is with_gpus]
    if not offered:
        return ""
    most = max(offered, key=lambda size: (size.memory, size.cpu))
    kinds = sorted({f"{size.gpus} {size.gpu}" for size in offered if size.gpu})
    gpus = f"; with GPUs: {', '.join(kinds)}" if kinds else ""
    return f"the largest has {most.cpu:g} CPU and {gibibytes(most.memory)}{gpus}"


def gibibytes(size: int) -> str:
    """A size in bytes as people say it."""
    return f"{size / GIB:.3g} GiB" if size >= GIB else f"{size / MIB:.3g} MiB"

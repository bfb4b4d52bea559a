"""All servers to measure: whatever the folders of `peers/` declare."""

from __future__ import annotations

import importlib
import pkgutil

from benchmarks import peers
from benchmarks.contender import Contender

_FIRST = ("ours", "floor", "in-process", "original")


def contenders() -> dict[str, Contender]:
    """By name: ours, the yardsticks, the original, then the peers in alphabetical order."""
    found = [
        contender
        for module in pkgutil.iter_modules(peers.__path__)
        for contender in importlib.import_module(f"benchmarks.peers.{module.name}").CONTENDERS
    ]
    found.sort(key=lambda one: _FIRST.index(one.name) if one.name in _FIRST else len(_FIRST))
    return {contender.name: contender for contender in found}

"""Which installed distributions the top-level modules come from.

`importlib.metadata.packages_distributions` tells the same, and makes an object of each installed file: that
takes longer than saving most models.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import Distribution, distributions

_NAME = re.compile(r"^Name:[ \t]*(\S+)", re.MULTILINE)
_TOP_IN_RECORD = re.compile(r'^"?([^/,".\n]+)[^,"\n]*\.(?:py|so|pyd)"?,', re.MULTILINE)


def module_owners() -> dict[str, list[str]]:
    """The distributions that provide each top-level module."""
    return _owners(tuple((folder, _changed(folder)) for folder in sys.path))


def _changed(folder: str) -> int:
    """When something was last installed to or removed from a folder, in nanoseconds; 0 when it is none."""
    with suppress(OSError):
        return os.stat(folder or ".").st_mtime_ns  # noqa: PTH116  # every entry of sys.path, each time
    return 0


@lru_cache(maxsize=1)
def _owners(_state: tuple[tuple[str, int], ...]) -> dict[str, list[str]]:
    # Reading what every distribution holds takes a while; a notebook that installs one has to see it, though.
    owners: dict[str, list[str]] = {}
    for found in distributions():
        name = _NAME.search(found.read_text("METADATA") or found.read_text("PKG-INFO") or "")
        if name is not None:
            for top in _tops(found):
                owners.setdefault(top, []).append(name[1])
    return owners


def _tops(found: Distribution) -> set[str]:
    """The top-level modules that a distribution declares, else those among its files."""
    declared = found.read_text("top_level.txt")
    if declared is not None and declared.strip():
        return set(declared.split())
    record = found.read_text("RECORD")
    if record is not None:
        return set(_TOP_IN_RECORD.findall(record))
    files = (path for path in found.files or () if path.suffix in (".py", ".so", ".pyd"))
    return {path.parts[0].partition(".")[0] for path in files}

"""What a packaged object needs: exact pins of distributions, and copies of the user's own modules.

Nothing is guessed and nothing runs pip. The starting points are modules: those that the pickle names,
those that the model class imports, and the distributions that the framework states. A module of an
installed distribution becomes a pin of the version installed here. A module of no distribution, or of
one installed in place for development, is the user's own: it is copied, and what it imports is followed
in the same way.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    distributions,
)
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from truss.frameworks.base import Saved
from truss.packaging.owners import module_owners
from truss.packaging.references import imports_below, imports_in, modules_in_pickle, modules_of
from truss.packaging.stated import name_in, normal, with_dependencies

_OWN = "truss"
_BY_VALUE = "cloudpickle"
"""What a pickle with code by value names, whose functions may import anything when they run."""


@dataclass(frozen=True)
class Needs:
    """What the packaged object needs beside its files.

    Attributes:
        pins: Requirement lines, `name==version` or as the model states them, sorted.
        local: Top-level modules or packages of the user's own: a `.py` file or a folder each.
        left_out: Requirement lines that the model states, and that nothing in it needs.
    """

    pins: tuple[str, ...]
    local: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def capture(saved: Saved) -> Needs:
    """Find what a saved object needs, in this environment."""
    names = {normal(name) for name in saved.requirements}
    local: dict[str, Path] = {}
    waiting = list(_start(saved))
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        top = module.partition(".")[0]
        if module in seen or _comes_with_python(top) or top == _OWN:
            continue
        seen.add(module)
        owners = distributions_of(module)
        if owners:
            names |= {normal(owner) for owner in owners}
        elif top not in local and (source := source_of(top)) is not None:
            local[top] = source
            waiting += imports_below(source)
    stated = [*saved.stated, *_needed(saved, names, seen)]
    left_out = tuple(line for line in saved.stated_if_needed if line not in stated)
    names -= {name_in(line) for line in stated}
    pins = sorted({*stated, *(_pin(name) for name in names)})
    return Needs(tuple(pins), tuple(local.values()), left_out)


def _needed(saved: Saved, names: set[str], modules: set[str]) -> Iterator[str]:
    """The lines that are stated in case they are needed, and are."""
    if any(module.partition(".")[0] == _BY_VALUE for module in modules):
        yield from saved.stated_if_needed
        return
    needed = with_dependencies({*names, *map(name_in, saved.stated)})
    yield from (line for line in saved.stated_if_needed if name_in(line) in needed)


def _start(saved: Saved) -> Iterator[str]:
    """The modules that the files and the model class name."""
    for path in saved.pickle_files:
        yield from modules_in_pickle(path.read_bytes())
    for item in saved.pickled_objects:
        yield from modules_of(item)
    yield from saved.modules
    # What a generated class imports later, its framework states as a requirement where it is needed.
    yield from imports_in(saved.model_class, at_import_only=True)


def distributions_of(module: str) -> list[str]:
    """The installed distributions that a module comes from; none for the user's own.

    Several distributions may share a top-level name (`google`, `azure`): those count that hold the
    module's own file. A file of the user's may have the name of an installed module and hide it: then
    none counts.
    """
    top = module.partition(".")[0]
    owners = [name for name in dict.fromkeys(module_owners().get(top, ())) if not _is_the_users(name)]
    imported_from = _file_of(top)
    if imported_from is not None:
        owners = [name for name in owners if _lies_beside(imported_from, distribution(name))]
    if len(owners) < 2:
        return owners
    path = module.replace(".", "/")
    places = (f"{path}.py", f"{path}/__init__.py")
    exact = [name for name in owners if any(str(file) in places for file in distribution(name).files or ())]
    return exact or owners


def _lies_beside(file: Path, found: Distribution) -> bool:
    """Whether a file is in the folder that a distribution is installed in."""
    root = Path(str(found.locate_file("")))
    # Folders are compared resolved as well: some installers and systems link them.
    return file.is_relative_to(root) or file.parent.resolve().is_relative_to(root.resolve())


def _is_the_users(name: str) -> bool:
    """Whether a distribution was made from a folder here: its code is the user's own, and on no index."""
    return any(
        "dir_info" in _origin(found) or _is_a_working_copy(found) for found in distributions(name=name)
    )


def _origin(found: Distribution) -> dict[str, Any]:
    """Where a distribution was installed from, when that was no index (PEP 610)."""
    record = found.read_text("direct_url.json")
    return {} if record is None else dict(json.loads(record))


def _is_a_working_copy(found: Distribution) -> bool:
    """Whether its metadata are what a build left beside the sources."""
    installed = Path(str(found.locate_file(""))).name in ("site-packages", "dist-packages")
    return not installed and found.read_text("SOURCES.txt") is not None


def source_of(top: str) -> Path | None:
    """The file or folder that a top-level module of the user's own is in; None when it has no source."""
    spec = _spec_of(top)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin and spec.origin.endswith(".py") else None


def _file_of(top: str) -> Path | None:
    """The file that importing a top-level module runs; None where there is no single one."""
    spec = _spec_of(top)
    if spec is None or not spec.has_location or spec.origin is None:
        return None
    return Path(os.path.abspath(spec.origin))  # noqa: PTH100  # links are not followed


def _spec_of(top: str) -> ModuleSpec | None:
    try:
        return getattr(sys.modules.get(top), "__spec__", None) or find_spec(top)
    except (ImportError, ValueError):
        return None


def _comes_with_python(top: str) -> bool:
    return top in sys.stdlib_module_names or top in ("__main__", "__mp_main__", "_virtualenv")


def _pin(name: str) -> str:
    """The requirement line of the installed distribution; the bare name when it is not installed here."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return name
    origin = _origin(found)
    if "vcs_info" in origin:  # on no index: the commit it was installed from is the exact pin
        repository = f"{origin['vcs_info']['vcs']}+{origin['url']}@{origin['vcs_info']['commit_id']}"
        folder = f"#subdirectory={origin['subdirectory']}" if "subdirectory" in origin else ""
        return f"{name} @ {repository}{folder}"
    # A local version (`2.3.0+cu121`) names a build that indexes need not have.
    return f"{name}=={found.version.partition('+')[0]}"

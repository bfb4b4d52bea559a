"""Import a Truss's own modules without mixing them with anybody else's.

A Truss brings modules of its own: the model module (`model/`), its bundled packages (`packages/`) and
external package folders. `ModuleSpace` makes them importable. Two kinds of processes use it:

* A worker serves one Truss: `ModuleSpace.install()` makes the modules importable for good.
* A notebook may hold several Trusses whose modules share names, beside modules of its own:
  `ModuleSpace.entered()` puts this Truss's modules in place for the length of a call and takes them
  out afterwards. Entering is exclusive per process: a second thread waits for its turn.

Source is compiled afresh at every load. Python's cached bytecode is told stale by a modification time
in whole seconds, so an edit made within the second after a load would otherwise go unseen.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import (
    EXTENSION_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    ModuleSpec,
    SourceFileLoader,
)
from pathlib import Path
from types import ModuleType

# sys.modules, sys.meta_path and os.environ are the process's: one space may hold them at a time.
_process_lock = threading.RLock()


class _FreshSourceLoader(SourceFileLoader):
    """Reads source files only. Without stats the import system neither reads nor writes bytecode."""

    def path_stats(self, path: str) -> Mapping[str, object]:  # noqa: ARG002  # it refuses every path
        raise OSError("bytecode caches are not used for a Truss's own code")


@dataclass(frozen=True)
class Root:
    """A folder to import from, and the top-level names it may provide (None: all that it holds)."""

    folder: Path
    only: str | None = None

    def names(self) -> frozenset[str]:
        """The top-level module names that this folder provides now."""
        if self.only is not None:
            return frozenset([self.only])
        if not self.folder.is_dir():
            return frozenset()
        entries = [entry for entry in os.scandir(self.folder) if not entry.name.startswith((".", "__"))]
        return frozenset(entry.name.partition(".")[0] for entry in entries if _is_module(entry))


def _is_module(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() or entry.name.endswith((".py", *EXTENSION_SUFFIXES))


class _RootsFinder(MetaPathFinder):
    """Finds modules below the given roots, ahead of everything installed."""

    def __init__(self, roots: Sequence[Root]) -> None:
        self._roots = roots
        self._folders = tuple(str(root.folder) + os.sep for root in roots)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is None:
            folders = [str(root.folder) for root in self._roots if root.only in (None, fullname)]
        else:
            folders = [entry for entry in path if (entry + os.sep).startswith(self._folders)]
        for folder in folders:
            finder = FileFinder(
                folder, (ExtensionFileLoader, EXTENSION_SUFFIXES), (_FreshSourceLoader, [".py"])
            )
            spec = finder.find_spec(fullname, target)
            if spec is not None:
                return spec
        return None


@dataclass
class ModuleSpace:
    """The modules of one loaded Truss.

    Attributes:
        roots: Where its own modules are found, first match wins.
        environment: Environment variables that hold while its code runs, unless the process already
            sets them.
    """

    roots: Sequence[Root]
    environment: Mapping[str, str] = field(default_factory=dict)
    _modules: dict[str, ModuleType] = field(default_factory=dict)

    def install(self) -> None:
        """Make the modules importable, and the environment hold, for the rest of the process."""
        sys.meta_path.insert(0, _RootsFinder(self.roots))
        for name, value in self.environment.items():
            os.environ.setdefault(name, value)

    @contextmanager
    def replaced(self) -> Iterator[None]:
        """Import the modules afresh within the block; when it raises, those of before are in place again."""
        with _process_lock:
            names = frozenset().union(*(root.names() for root in self.roots))
            before = _take(names)
            try:
                yield
            except BaseException:
                _take(names)
                sys.modules.update(before)
                raise

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Hold the process's module table and environment as this Truss needs them, then restore both."""
        with _process_lock, _environment(self.environment):
            own_names = frozenset().union(*(root.names() for root in self.roots))
            hidden = _take(own_names)
            finder = _RootsFinder(self.roots)
            sys.modules.update(self._modules)
            sys.meta_path.insert(0, finder)
            try:
                yield
            finally:
                sys.meta_path.remove(finder)
                self._modules = _take(own_names)
                sys.modules.update(hidden)


def _take(top_level: frozenset[str]) -> dict[str, ModuleType]:
    """Remove and return the loaded modules that live under the given top-level names."""
    names = [name for name in sys.modules if name.partition(".")[0] in top_level]
    return {name: sys.modules.pop(name) for name in names}


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    added = [name for name in variables if name not in os.environ]
    os.environ.update({name: variables[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)

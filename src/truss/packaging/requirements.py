"""What a packaged object needs: exact pins of distributions, and copies of the user's own modules.

Nothing is guessed and nothing runs pip. The starting points are modules: those that the pickle names,
those that the model class imports, and the distributions that the framework states. A module of an
installed distribution becomes a pin of the version installed here. A module of no distribution, or of
one installed in place for development, is the user's own: it is copied, and what it imports is followed
in the same way.
"""

from __future__ import annotations

import ast
import io
import pickle
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import (
    Distribution,
    PackageNotFoundError,
    distribution,
    distributions,
    packages_distributions,
)
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from truss.frameworks.base import Saved

_OWN = "truss"


@dataclass(frozen=True)
class Needs:
    """What the packaged object needs beside its files.

    Attributes:
        pins: Requirement lines, `name==version`, sorted by name.
        local: Top-level modules or packages of the user's own: a `.py` file or a folder each.
    """

    pins: tuple[str, ...]
    local: tuple[Path, ...]


def capture(saved: Saved) -> Needs:
    """Find what a saved object needs, in this environment."""
    names = {_normal(name) for name in saved.requirements}
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
            names |= {_normal(owner) for owner in owners}
        elif top not in local and (source := source_of(top)) is not None:
            local[top] = source
            waiting += imports_below(source)
    return Needs(tuple(sorted(_pin(name) for name in names)), tuple(local.values()))


def _start(saved: Saved) -> Iterator[str]:
    """The modules that the files and the model class name."""
    for path in saved.pickle_files:
        yield from modules_in_pickle(path.read_bytes())
    for item in saved.pickled_objects:
        yield from modules_of(item)
    # What a generated class imports later, its framework states as a requirement where it is needed.
    yield from imports_in(saved.model_class, at_import_only=True)


def modules_of(item: object) -> Iterable[str]:
    """The modules a pickle of the object would name.

    Modules, classes and functions name their own; of anything else, the parts are looked at.
    """
    if isinstance(item, ModuleType):
        return [item.__name__]
    if isinstance(item, type) or (callable(item) and hasattr(item, "__qualname__")):
        return [str(item.__module__)] if getattr(item, "__module__", None) else []
    return modules_in_pickle(_without_contents(item))


def _without_contents(item: object) -> bytes:
    """A pickle of the object with its arrays and texts of bytes left out, since they name no code."""
    from cloudpickle import Pickler

    class References(Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def persistent_id(self, obj: Any) -> str | None:
            is_array = type(obj).__module__ == "numpy" and hasattr(obj, "nbytes")
            return type(obj).__name__ if is_array or isinstance(obj, (bytes, bytearray)) else None

    stream = io.BytesIO()
    References(stream).dump(item)
    return stream.getvalue()


def modules_in_pickle(stream: bytes) -> set[str]:
    """The modules that a pickle imports when it is loaded.

    The pickle is read with every class and function replaced by a stand-in, so nothing of it is
    imported or run.
    """
    reader = _Reader(io.BytesIO(stream))
    reader.load()
    return reader.modules


class _Accepting(type):
    """The type of the stand-in, which is a class: pickles make instances of what they have built."""

    def __call__(cls, *_: Any, **__: Any) -> Any:
        return cls

    def __setitem__(cls, key: Any, value: Any) -> None:
        """Accept an item, as a mapping would."""


class _StandIn(metaclass=_Accepting):
    """Takes the place of whatever a pickle would build: accepts every step, does nothing."""

    def __new__(cls, *_: Any, **__: Any) -> Any:  # it stands for its own instances
        return cls

    @staticmethod
    def __setstate__(state: Any) -> None: ...

    @staticmethod
    def append(item: Any) -> None:
        """Accept an item, as a list would."""

    @staticmethod
    def extend(items: Any) -> None:
        """Accept items, as a list would."""

    @staticmethod
    def add(item: Any) -> None:
        """Accept an item, as a set would."""


class _Reader(pickle.Unpickler):
    """Reads a pickle with stand-ins for all it names, and notes the modules."""

    def __init__(self, stream: io.BytesIO) -> None:
        super().__init__(stream)
        self.modules: set[str] = set()

    def find_class(self, module_name: str, global_name: str) -> Any:
        self.modules.add(module_name)
        # cloudpickle writes a module that code refers to as a call with its name.
        return self._note_module if global_name == "subimport" else _StandIn

    def persistent_load(self, pid: Any) -> None:
        """What `_without_contents` left out."""

    def _note_module(self, name: str) -> type[_StandIn]:
        self.modules.add(name)
        return _StandIn


def imports_in(source: str, *, at_import_only: bool = False) -> set[str]:
    """The absolute names of modules that Python source imports.

    Args:
        source: The source.
        at_import_only: Leave out the imports inside functions, which a run may never reach.
    """
    names: set[str] = set()
    waiting: list[ast.AST] = [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            names.add(node.module)
        elif not (at_import_only and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))):
            waiting += ast.iter_child_nodes(node)
    return names


def imports_below(source: Path) -> set[str]:
    """The modules that a file, or the files of a package, import."""
    files = [source] if source.is_file() else sorted(source.rglob("*.py"))
    names: set[str] = set()
    for file in files:
        # A template, or a file of another Python version, is not importable, and imports nothing.
        with suppress(SyntaxError, UnicodeDecodeError):
            names |= imports_in(file.read_text(encoding="utf-8"))
    return names


def distributions_of(module: str) -> list[str]:
    """The installed distributions that a module comes from; none for the user's own.

    Several distributions may share a top-level name (`google`, `azure`): those count that hold the
    module's own file.
    """
    top = module.partition(".")[0]
    owners = [name for name in dict.fromkeys(module_owners().get(top, ())) if not _is_in_place(name)]
    if len(owners) < 2:
        return owners
    path = module.replace(".", "/")
    places = (f"{path}.py", f"{path}/__init__.py")
    exact = [name for name in owners if any(str(file) in places for file in distribution(name).files or ())]
    return exact or owners


@cache
def module_owners() -> dict[str, list[str]]:
    """The distributions that provide each top-level module."""
    owners = {top: list(names) for top, names in packages_distributions().items()}
    if sys.version_info < (3, 11):  # there it knows only those that list their modules in top_level.txt
        for found in distributions():
            if found.read_text("top_level.txt") is None:
                for top in _tops(found):
                    owners.setdefault(top, []).append(found.metadata["Name"])
    return owners


def _tops(found: Distribution) -> set[str]:
    """The top-level modules among a distribution's files."""
    files = (path for path in found.files or () if path.suffix in (".py", ".so", ".pyd"))
    return {path.parts[0].partition(".")[0] for path in files}


@cache
def _is_in_place(name: str) -> bool:
    """Whether a distribution is installed from a folder for development: its code is the user's own."""
    record = distribution(name).read_text("direct_url.json")
    return record is not None and '"editable": true' in record.replace('"editable":true', '"editable": true')


def source_of(top: str) -> Path | None:
    """The file or folder that a top-level module of the user's own is in; None when it has no source."""
    module = sys.modules.get(top)
    spec = getattr(module, "__spec__", None)
    try:
        spec = spec or find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    return Path(spec.origin).resolve() if spec.origin and spec.origin.endswith(".py") else None


def _comes_with_python(top: str) -> bool:
    return top in sys.stdlib_module_names or top in ("__main__", "__mp_main__", "_virtualenv")


def _pin(name: str) -> str:
    """`name==version` of the installed distribution; the bare name when it is not installed here."""
    try:
        found: Distribution = distribution(name)
    except PackageNotFoundError:
        return name
    # A local version (`2.3.0+cu121`) names a build that indexes need not have.
    return f"{name}=={found.version.partition('+')[0]}"


def _normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

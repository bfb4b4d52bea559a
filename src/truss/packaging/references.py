"""Which modules an object or a source file refers to, found without running either."""

from __future__ import annotations

import ast
import io
import pickle
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any


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

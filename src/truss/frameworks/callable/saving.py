"""Write a callable to a cloudpickle file, and note the code that it needs beside that file.

Functions and classes of an importable module are written as references to it; those that exist in this
process only (a notebook's, a script's, lambdas, nested functions) are written by value.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec, module_from_spec
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import IO, Any

from truss.frameworks.pickles import import_cloudpickle, unpicklable_error


@dataclass(frozen=True)
class Written:
    """What a file holds and needs.

    Attributes:
        by_value: Code is in the file itself, so that only this Python version can read it.
        references: Functions, classes and modules outside the file that its code uses.
    """

    by_value: bool
    references: tuple[object, ...]


def write_callable(function: object, path: Path, what: str) -> Written:
    """Write `function` to `path`; `what` names it in messages.

    Raises:
        PackagingError: a variable that it uses cannot be pickled; the message names the variable.
        MissingExtraError: cloudpickle is not installed.
    """
    cloudpickle = import_cloudpickle()
    with path.open("wb") as file:
        pickler = _recording_pickler(cloudpickle, file)
        try:
            pickler.dump(function)
        except OSError:
            raise
        except Exception as error:
            raise unpicklable_error(function, error, what) from error
    return Written(pickler.by_value, tuple(pickler.references))


def _recording_pickler(cloudpickle: Any, file: IO[bytes]) -> Any:
    """A cloudpickle pickler that notes what it writes by value, and what it leaves to be imported."""

    class RecordingPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
        def __init__(self) -> None:
            super().__init__(file)
            self.by_value = False
            self.references: list[object] = []

        def reducer_override(self, obj: Any) -> Any:
            reduced = super().reducer_override(obj)
            if reduced is NotImplemented:
                if isinstance(obj, (FunctionType, ModuleType, type)):
                    self.references.append(obj)
            # Builtin types have reductions of their own, which hold no code.
            elif isinstance(obj, (FunctionType, type)) and obj.__module__ != "builtins":
                self.by_value = True
                self.references += _modules_imported_by(obj)
            return reduced

    return RecordingPickler()


def _modules_imported_by(obj: object) -> list[ModuleType]:
    """The modules that a function saved by value imports when it runs (a class's methods come one by one)."""
    if not isinstance(obj, FunctionType):
        return []
    modules = (_module(name) for name in _imported_names(obj.__code__))
    return [module for module in modules if module is not None]


def _imported_names(code: CodeType) -> Iterator[str]:
    """The modules named by the import statements of `code` and of the code inside it."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME" and instruction.argval:
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _imported_names(constant)


def _module(name: str) -> ModuleType | None:
    """The module; or its top package, not executed, if nothing imported it yet; None if there is none."""
    if name in sys.modules:
        return sys.modules[name]
    top = name.partition(".")[0]
    spec = find_spec(top)
    return sys.modules.get(top) or (module_from_spec(spec) if spec else None)

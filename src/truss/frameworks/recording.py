"""A pickler that notes what it writes by value, and what it leaves to be imported.

Functions and classes of an importable module are written as references to it; those that exist in this
process only (a notebook's, a script's, lambdas, nested functions) are written by value.
"""

from __future__ import annotations

import dis
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec
from types import CodeType, FunctionType, ModuleType
from typing import IO, Any, TypeAlias

from truss.frameworks.pickles import import_cloudpickle

Elsewhere: TypeAlias = Callable[[Any], "object | None"]
"""What a pickle holds in place of an object that is kept outside of it; None for all others."""


def recording_pickler(file: IO[bytes], elsewhere: Elsewhere | None = None) -> Any:
    """A cloudpickle pickler that writes to `file`, with two attributes that fill as it does.

    `by_value` says whether code is in the pickle itself, so that only this Python version can read it;
    `references` lists the functions, classes and modules outside the pickle that its code uses.

    Args:
        file: Where to write.
        elsewhere: Gives the persistent id of an object that the pickle does not hold.

    Raises:
        MissingExtraError: cloudpickle is not installed.
    """
    cloudpickle = import_cloudpickle()

    class RecordingPickler(cloudpickle.Pickler):  # type: ignore[misc,name-defined]  # it has no types
        def __init__(self) -> None:
            super().__init__(file)
            self.by_value = False
            self.references: list[object] = []

        def persistent_id(self, obj: Any) -> object | None:
            return None if elsewhere is None else elsewhere(obj)

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

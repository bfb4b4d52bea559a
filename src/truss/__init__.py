"""Truss: any trained model, packaged from a notebook, served fast, deployed to any cloud.

The names here are loaded at their first use, so that `import truss` costs nothing and loads no
third-party module.
"""

from __future__ import annotations

from truss.version import __version__

# `typing` would be half the cost of the whole import; type checkers know the name by itself.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from truss import errors
    from truss.handle import (
        TrussHandle,
        create,
        from_directory,
        init,
        kill_all,
        load,
        mk_truss,
        mk_truss_from_mlflow_uri,
    )
    from truss.model.examples import Example

__all__ = [
    "Example",
    "TrussHandle",
    "__version__",
    "create",
    "errors",
    "from_directory",
    "init",
    "kill_all",
    "load",
    "mk_truss",
    "mk_truss_from_mlflow_uri",
]

_HOMES = {
    "Example": "truss.model.examples",
    "TrussHandle": "truss.handle",
    "create": "truss.handle",
    "from_directory": "truss.handle",
    "init": "truss.handle",
    "kill_all": "truss.handle",
    "load": "truss.handle",
    "mk_truss": "truss.handle",
    "mk_truss_from_mlflow_uri": "truss.handle",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name == "errors":
        return import_module("truss.errors")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'truss' has no attribute '{name}'")


def __dir__() -> list[str]:
    return __all__

"""Write an estimator to one file that `joblib.load` reads.

joblib's own format keeps arrays raw, so that they are written without a copy and can be mapped from
the file. An estimator that holds code no other process can import (a transformer or function defined in
a notebook cell, a lambda) is written by cloudpickle instead, which takes such code along.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from pathlib import Path
from types import FunctionType
from typing import IO, Any

from truss.frameworks.pickles import import_cloudpickle, unpicklable_error


@dataclass(frozen=True)
class Written:
    """What a file holds besides the estimator's numbers.

    Attributes:
        by_value: Code is in the file itself, so that only this Python version can read it.
        references: The classes and functions it names, when joblib wrote it; for a file with code by
            value they are read from the file, which is then a plain pickle.
    """

    by_value: bool
    references: tuple[object, ...] = ()


def write_estimator(model: object, path: Path) -> Written:
    """Write `model` to `path`.

    Raises:
        PackagingError: a part of it cannot be pickled; the message names the attribute.
        MissingExtraError: it needs cloudpickle, which is not installed.
    """
    references: list[object] = []
    try:
        with path.open("wb") as file:
            _joblib_pickler(file, references).dump(model)
    except OSError:
        raise
    # What pickle raises depends on the part and on the Python; cloudpickle manages, or its error is told.
    except Exception:  # noqa: BLE001
        _write_by_value(model, path)
        return Written(by_value=True)
    return Written(by_value=False, references=tuple(references))


def _write_by_value(model: object, path: Path) -> None:
    cloudpickle = import_cloudpickle()
    try:
        with path.open("wb") as file:
            cloudpickle.dump(model, file)
    except OSError:
        raise
    except Exception as error:
        raise unpicklable_error(model, error, f"this {type(model).__name__}") from error


def _joblib_pickler(file: IO[bytes], references: list[object]) -> Any:
    """A pickler in joblib's format that notes its references, and refuses what cannot be imported."""
    from joblib.numpy_pickle import NumpyPickler

    class ReferencePickler(NumpyPickler):  # type: ignore[misc]  # joblib has no types
        dispatch = NumpyPickler.dispatch.copy()

        def save_global(self, obj: Any, name: str | None = None) -> None:
            if _is_interactive(obj):
                raise pickle.PicklingError(f"{obj!r} cannot be imported by another process")
            references.append(obj)
            super().save_global(obj, name)

        dispatch[FunctionType] = save_global

    return ReferencePickler(file)


def _is_interactive(obj: Any) -> bool:
    """Whether a class or function exists in this process only."""
    module = getattr(obj, "__module__", None)
    return module in ("__main__", "__mp_main__") or "<" in getattr(obj, "__qualname__", "")

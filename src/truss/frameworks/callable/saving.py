"""Write a callable to a cloudpickle file, and note the code that it needs beside that file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from truss.frameworks.pickles import import_cloudpickle, unpicklable_error
from truss.frameworks.recording import recording_pickler


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
    import_cloudpickle()  # before the file is there
    with path.open("wb") as file:
        pickler = recording_pickler(file)
        try:
            pickler.dump(function)
        except OSError:
            raise
        except Exception as error:
            raise unpicklable_error(function, error, what) from error
    return Written(pickler.by_value, tuple(pickler.references))

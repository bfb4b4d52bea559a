"""What an object of PyTorch was written as."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Written:
    """What was written, and what reading it takes.

    Attributes:
        requirements: The distributions that reading it takes, besides those that its code names.
        pickle_files: The file that holds a module without its tensors.
        by_value: Code is in that file, so that only this Python version can read it.
        references: Functions, classes and modules outside the files that the object's code uses.
    """

    requirements: tuple[str, ...]
    pickle_files: tuple[Path, ...] = ()
    by_value: bool = False
    references: tuple[object, ...] = ()

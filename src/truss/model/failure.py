"""Say what went wrong in the user's code: the exception in a line, and the line it came from."""

from __future__ import annotations

import os
import traceback
from pathlib import Path


def describe(error: BaseException) -> str:
    """An exception and what it says: `ValueError: bad shape`; without the stack that XGBoost adds to it."""
    text = str(error).partition("\nStack trace:")[0].strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def user_location(error: BaseException, below: Path) -> str | None:
    """`file:line, in function` of the deepest frame that lies below a folder; None when none does."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(str(below) + os.sep)]
    return f"{own[-1].filename}:{own[-1].lineno}, in {own[-1].name}" if own else None

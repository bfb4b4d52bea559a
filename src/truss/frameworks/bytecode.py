"""What follows when code travels with a model by value: as bytecode, which one Python version can run."""

from __future__ import annotations

import sys


def running_python() -> str:
    """The version that bytecode is tied to, as `3.11`: the one that runs now."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def by_value_metadata(by_value: bool) -> dict[str, str]:
    """The entry of a model's metadata that its model class checks when it loads; none without such code."""
    return {"code_python_version": running_python()} if by_value else {}


def by_value_note(what: str = "code defined in this Python process") -> str:
    """Tell that `what` was saved by value, and what that asks of the server."""
    return (
        f"{what} is saved with the model, as bytecode of Python {running_python()}: "
        "the same Python version must serve it (code in an importable module has no such tie)"
    )

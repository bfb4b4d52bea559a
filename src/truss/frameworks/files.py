"""Open a model that was given as a file or folder.

The content decides which framework opens it; a name's ending never does. Nothing of a file runs unless
the caller trusts it: pickles are refused otherwise.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path
from typing import Any

from truss.errors import (
    MissingExtraError,
    PackagingError,
    TrussError,
    UnsupportedObjectError,
)
from truss.frameworks.base import OpensFiles
from truss.frameworks.contents import Contents, untrusted_error
from truss.frameworks.looks import looks_like
from truss.frameworks.pickles import reason_of
from truss.frameworks.registry import BUILT_IN, frameworks

PICKLES = "pickles, plain or of joblib, of objects that some framework recognises (only if trusted)"

_DAMAGED = "it may be cut off, damaged, or made by another version: copy it again, or save it anew"

# What a pickle begins with, and what joblib's compressed files begin with.
_PICKLE = (
    *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)),
    b"ccopy_reg\n_reconstructor\n",  # an object in protocol 0 or 1
)
_COMPRESSED = (
    b"\x78\x01",
    b"\x78\x5e",
    b"\x78\x9c",
    b"\x78\xda",
    b"\x1f\x8b",
    b"BZh",
    b"\xfd7zXZ",
    b"\x5d\0\0",
)


def open_model(path: Path, *, trusted: bool = False) -> object:
    """The model in a file or folder, as an object that a framework packages.

    Args:
        path: The file or folder.
        trusted: Whether code in it may run: a pickle's, or that of functions stored in a model.

    Raises:
        UnsupportedObjectError: there is no such file, or it holds nothing that is recognised; says what it
            looks like, and what is recognised.
        UntrustedFileError: reading it would run code, and it is not trusted.
        PackagingError: it is cut off, damaged, or cannot be read.
        MissingExtraError: the library that reads it is not installed.
    """
    if not path.exists():
        raise UnsupportedObjectError(
            f"there is no file or folder '{path}'",
            hint=f"give the path of a model's file; paths are relative to {Path.cwd()}",
        )
    contents = Contents(path)
    try:
        for framework in _openers():
            if framework.recognises_file(contents):
                return _opened(framework, contents, trusted)
        if contents.head.startswith((*_PICKLE, *_COMPRESSED)):
            return _unpickled(contents, trusted)
    except OSError as error:
        raise PackagingError(
            f"the file cannot be read: {error.strerror or error}",
            where=str(path),
            hint="check your rights to it",
        ) from error
    raise _unrecognised(contents)


def _openers() -> list[OpensFiles]:
    return [framework for framework in frameworks() if isinstance(framework, OpensFiles)]


def _opened(framework: OpensFiles, contents: Contents, trusted: bool) -> object:
    try:
        return framework.open_file(contents, trusted=trusted)
    except (TrussError, OSError):
        raise
    except ModuleNotFoundError as error:
        raise _missing(framework.name, error) from error
    except Exception as error:
        raise PackagingError(
            f"this looks like one of {framework.files}, and cannot be read: {reason_of(error)}",
            where=str(contents.path),
            hint=_DAMAGED,
        ) from error


def _missing(framework: str, error: ModuleNotFoundError) -> TrussError:
    name = (error.name or "").partition(".")[0]
    if framework in BUILT_IN:
        return MissingExtraError(name, framework, "opening this file")
    return PackagingError(f"opening this file needs the module '{name}', which is not installed")


def _unpickled(contents: Contents, trusted: bool) -> Any:
    """The object in a pickle.

    Raises:
        UntrustedFileError: it is not trusted.
        PackagingError: it cannot be read, or names a module that is not here.
    """
    if not trusted:
        raise untrusted_error(contents, "a pickle")
    sys.stderr.write(f"note: reading {contents.path} as trusted: the code that it names runs now\n")
    try:
        return _load_pickle(contents)
    except ModuleNotFoundError as error:
        raise PackagingError(
            f"this pickle names the module '{error.name}', which is not installed here",
            where=str(contents.path),
            hint="install what it was made with; modules of your own belong on the import path (PYTHONPATH)",
        ) from error
    except Exception as error:
        raise PackagingError(
            f"this looks like a pickle, and cannot be read: {reason_of(error)}",
            where=str(contents.path),
            hint=_DAMAGED,
        ) from error


def _load_pickle(contents: Contents) -> Any:
    """Read with joblib, which reads plain pickles too, where it is installed."""
    try:
        import joblib
    except ImportError:
        with contents.path.open("rb") as file:
            return pickle.load(file)
    return joblib.load(contents.path)


def _unrecognised(contents: Contents) -> UnsupportedObjectError:
    look = looks_like(contents)
    lines = [look.advice] if look.advice else []
    lines += ["recognised are, by their content:"]
    lines += [f"  {framework.name}: {framework.files}" for framework in _openers()]
    lines += [f"  {PICKLES}"]
    return UnsupportedObjectError(
        f"no framework recognises this: it looks like {look.what}",
        where=str(contents.path),
        hint="\n".join(lines),
    )

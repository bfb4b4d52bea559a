"""Open SavedModels that are given as folders."""

from __future__ import annotations

from truss.errors import PackagingError
from truss.frameworks.contents import Contents, untrusted_error
from truss.frameworks.pickles import reason_of
from truss.frameworks.tensorflow.given import SavedModelFolder
from truss.frameworks.tensorflow.graph import REACHING_OUT, operations_in


def is_saved_model(contents: Contents) -> bool:
    """Whether it is a folder with a SavedModel's graph."""
    return contents.is_folder and "saved_model.pb" in contents.names


def read_folder(contents: Contents, *, trusted: bool) -> SavedModelFolder:
    """The SavedModel in the folder, loaded.

    Raises:
        UntrustedFileError: its graph reads or writes files, or calls Python, and it is not trusted.
        PackagingError: files of it are missing.
    """
    import tensorflow as tf

    found = operations_in(contents.path) & REACHING_OUT
    if found and not trusted:
        what = f"a SavedModel that reaches outside of itself ({', '.join(sorted(found))})"
        raise untrusted_error(contents, what)
    try:
        loaded = tf.saved_model.load(str(contents.path))
    except OSError as error:
        raise PackagingError(
            f"this SavedModel cannot be read: {reason_of(error)}",
            where=str(contents.path),
            hint="copy the whole folder again: its variables and assets lie in folders inside of it",
        ) from error
    return SavedModelFolder(contents.path.absolute(), loaded)

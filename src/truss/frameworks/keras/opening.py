"""Read the files that Keras saves models to."""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.contents import Contents, untrusted_error

_ARCHIVE = frozenset({"metadata.json", "config.json", "model.weights.h5"})
_BACKENDS = ("tensorflow", "torch", "jax")
_HDF5 = b"\x89HDF\r\n\x1a\n"


def is_model_file(contents: Contents) -> bool:
    """Whether it is a `.keras` archive, or HDF5, to which earlier versions saved models."""
    if contents.is_archive:
        return contents.names >= _ARCHIVE
    return contents.head.startswith(_HDF5)


def read_model(contents: Contents, *, trusted: bool) -> Any:
    """The model, not compiled.

    Raises:
        UntrustedFileError: it holds code.
        PackagingError: it holds weights only.
    """
    if contents.is_archive:
        return _load(contents, "model.keras", trusted)
    if not trusted:  # in this format nothing keeps a layer's stored function from being run
        raise untrusted_error(contents, "a model of Keras in HDF5")
    return _load_hdf5(contents)


def _load(contents: Contents, name: str, trusted: bool) -> Any:
    keras = _import_keras()
    with TemporaryDirectory() as folder:
        named = Path(folder, name)  # Keras tells formats by the ending, which this file may lack
        named.symlink_to(contents.path.absolute())
        try:
            return keras.saving.load_model(named, compile=False, safe_mode=not trusted)
        except ValueError as error:
            if not trusted and "safe_mode" in str(error):
                raise untrusted_error(contents, "a model of Keras with code in it") from error
            raise


def _import_keras() -> Any:
    """The keras module, on a backend that is here: a file does not say which it was made with.

    Unless told otherwise Keras takes the one in its settings, which it wrote itself: TensorFlow; and it
    cannot be imported where that is not installed.
    """
    if "keras" not in sys.modules and "KERAS_BACKEND" not in os.environ:
        installed = [name for name in _BACKENDS if find_spec(name) is not None]
        if installed and _preferred() not in installed:
            os.environ["KERAS_BACKEND"] = installed[0]
    import keras

    return keras


def _preferred() -> str:
    """The backend in Keras's settings."""
    home = os.environ.get("KERAS_HOME")
    path = (Path(home) if home else Path.home() / ".keras") / "keras.json"
    try:
        return str(json.loads(path.read_text("utf-8"))["backend"])
    except (OSError, ValueError, KeyError, TypeError):
        return _BACKENDS[0]


def _load_hdf5(contents: Contents) -> Any:
    try:
        return _load(contents, "model.h5", trusted=True)
    except ValueError as error:
        if "No model config" not in str(error):
            raise
        raise PackagingError(
            "this HDF5 file holds weights without their model",
            where=str(contents.path),
            hint="make the model, `model.load_weights(path)`, and package the model",
        ) from error

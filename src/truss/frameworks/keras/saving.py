"""Write a Keras model to its file, with the user's code beside it, and prove that it can be read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.keras.custom import custom_objects_of, lambdas_of, lives_in_session
from truss.frameworks.pickles import dumps_by_value, reason_of, unpicklable_error


@dataclass(frozen=True)
class Written:
    """What was written, and what reading it takes.

    Attributes:
        copy: The model, read from its file as a fresh process will read it.
        pickle_files: The file with the user's classes and functions, if there are any.
        holds_bytecode: The model's own file holds a lambda.
        by_value: Code is in the files, so that only this Python version can read them.
    """

    copy: Any
    pickle_files: tuple[Path, ...]
    holds_bytecode: bool
    by_value: bool


def write_model(model: Any, folder: Path) -> Written:
    """Write `model.keras` and, for a model with code of the user's, `custom_objects.cloudpickle`.

    Raises:
        PackagingError: the model cannot be written, or what was written cannot be read.
        MissingExtraError: it holds code of the user's, and cloudpickle is not installed.
    """
    path = folder / "model.keras"
    objects = custom_objects_of(model)
    lambdas = lambdas_of(model)
    _save(model, path)
    pickle_files = (_write_objects(objects, folder),) if objects else ()
    return Written(
        copy=_read(path, objects, holds_bytecode=bool(lambdas), what=type(model).__name__),
        pickle_files=pickle_files,
        holds_bytecode=bool(lambdas),
        by_value=bool(lambdas) or any(map(lives_in_session, objects.values())),
    )


def _save(model: Any, path: Path) -> None:
    try:
        model.save(path, include_optimizer=False)
    except OSError:
        raise
    except Exception as error:
        raise PackagingError(
            f"Keras cannot save this {type(model).__name__}: {reason_of(error)}",
            hint="every layer of your own needs a `get_config` that returns its constructor's arguments",
        ) from error


def _write_objects(objects: dict[str, Any], folder: Path) -> Path:
    path = folder / "custom_objects.cloudpickle"
    try:
        stream = dumps_by_value(objects)
    except (TypeError, AttributeError, ValueError, RecursionError, ImportError) as error:
        raise unpicklable_error(objects, error, "the code of this model's own layers") from error
    path.write_bytes(stream)
    return path


def _read(path: Path, objects: dict[str, Any], *, holds_bytecode: bool, what: str) -> Any:
    """The model from its file, found with nothing but what goes along.

    Raises:
        PackagingError: Keras cannot read it.
    """
    import keras

    with _nothing_registered(keras):
        try:
            return keras.saving.load_model(
                path, custom_objects=objects, compile=False, safe_mode=not holds_bytecode
            )
        except Exception as error:
            raise PackagingError(
                f"Keras saved this {what} and cannot read it again: {reason_of(error)}",
                hint="every layer of your own needs a `get_config` that returns its constructor's arguments, "
                "and creates its weights in `build` or `__init__`",
            ) from error


@contextmanager
def _nothing_registered(keras: Any) -> Iterator[None]:
    """Hide what was registered with Keras in this process, which another process would not know."""
    registered = keras.saving.get_custom_objects()
    kept = dict(registered)
    registered.clear()
    try:
        yield
    finally:
        registered.update(kept)

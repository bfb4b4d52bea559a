"""From a model of MLflow in memory to a folder that it is in, and back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.mlflow.anew import Code, is_python_model, save_anew
from truss.frameworks.mlflow.fetching import fetched
from truss.frameworks.mlflow.folder import MlflowFolder, describe


@dataclass(frozen=True)
class Found:
    """The folder of a model.

    Attributes:
        path: The folder.
        code: What its pickle refers to, if it was saved just now; else the folder says itself what it needs.
    """

    path: Path
    code: Code = field(default_factory=Code)


@contextmanager
def folder_of(model: Any) -> Iterator[Found]:
    """The folder of a model, for as long as the context lasts.

    A pyfunc object does not remember its folder. One that was logged says under which address; any other
    is saved anew.

    Raises:
        PackagingError: what is at its address is another model, or it cannot be saved anew.
    """
    if isinstance(model, MlflowFolder):
        yield Found(model.path)
        return
    address = None if is_python_model(model) else _address(model.metadata)
    if address is None:
        with TemporaryDirectory(prefix="truss-mlflow-") as scratch:
            folder = Path(scratch, "model")
            yield Found(folder, save_anew(model, folder))
        return
    with fetched(address) as found:
        if describe(found.path).metadata.model_uuid != model.metadata.model_uuid:
            raise PackagingError(
                f"the model at '{address}' is not the one in memory: it was logged anew since",
                hint="load it again, or give the folder or address of the one you mean",
            )
        yield Found(found.path)


def loaded_model(model: Any) -> Any:
    """The pyfunc object: loaded from its folder if need be, or from one that it is saved to for that."""
    if isinstance(model, MlflowFolder):
        return model.loaded
    if not is_python_model(model):
        return model
    with folder_of(model) as found:
        return MlflowFolder(found.path).loaded


def _address(metadata: Any) -> str | None:
    """Where it was logged; MLflow 3 numbers models themselves, earlier ones know them by their run."""
    if getattr(metadata, "model_id", None):
        return f"models:/{metadata.model_id}"
    if metadata.run_id and metadata.artifact_path:
        return f"runs:/{metadata.run_id}/{metadata.artifact_path}"
    return None

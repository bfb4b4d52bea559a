"""Bring a model of MLflow to a local folder: from a tracking server, a registry or a store of artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from truss.errors import PackagingError
from truss.frameworks.mlflow.folder import FILE, MlflowFolder, import_mlflow
from truss.frameworks.pickles import reason_of


@contextmanager
def fetched(uri: str) -> Iterator[MlflowFolder]:
    """A model's folder, for as long as the context lasts; one that is local already is not copied.

    Args:
        uri: As MLflow takes it: `runs:/`, `models:/`, a path, or the address of a store.

    Raises:
        PackagingError: MLflow finds no model there.
        MissingExtraError: MLflow, or what it reads that store with, is not installed.
    """
    mlflow = import_mlflow("fetching a model of MLflow")
    with TemporaryDirectory(prefix="truss-mlflow-") as scratch:
        try:
            folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=scratch))
        except Exception as error:
            raise PackagingError(
                f"MLflow does not find the model '{uri}': {reason_of(error)}",
                where=f"tracking server {mlflow.get_tracking_uri()}, registry {mlflow.get_registry_uri()}",
                hint="check the address, e.g. `models:/NAME/1`, `models:/NAME@ALIAS`, `runs:/RUN/PATH` or a "
                "folder; set MLFLOW_TRACKING_URI, or call `mlflow.set_tracking_uri`, for another server",
            ) from error
        if not (folder / FILE).is_file():
            raise PackagingError(
                f"'{uri}' is no model of MLflow: no {FILE} file is in it",
                where=str(folder),
                hint="give the address of the model itself, e.g. `runs:/RUN/model`",
            )
        yield MlflowFolder(folder)

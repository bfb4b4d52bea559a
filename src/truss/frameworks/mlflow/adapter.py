"""Package models of MLflow: pyfunc objects, and the folders that MLflow saves models to."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.bytecode import by_value_note
from truss.frameworks.contents import Contents, untrusted_error
from truss.frameworks.mlflow.anew import PICKLE, is_python_model
from truss.frameworks.mlflow.folder import FILE, Description, MlflowFolder, describe
from truss.frameworks.mlflow.naming import Named, named_by_files
from truss.frameworks.mlflow.objects import Found, folder_of, loaded_model
from truss.frameworks.mlflow.requirements import conda_packages, stated_requirements
from truss.frameworks.mlflow.signature import model_input, signature_of, trial_inputs
from truss.frameworks.precision import in_precision
from truss.frameworks.trial import Finding, try_rows

_OWN_CODE = "mlflow.pyfunc.model"

_TRIED = frozenset(
    {
        "mlflow.sklearn",
        "mlflow.xgboost",
        "mlflow.lightgbm",
        "mlflow.catboost",
        "mlflow.onnx",
        "mlflow.keras",
        "mlflow.tensorflow",
        "mlflow.pytorch",
        "mlflow.statsmodels",
    }
)
"""Loaders of libraries' models, which are asked random rows; a class of the user's may have side effects."""


class MlflowFramework:
    """The adapter for MLflow."""

    name = "mlflow"
    model_framework = "mlflow"
    summary = "MLflow's PyFuncModel, of any flavour, and PythonModel"
    files = "folders of MLflow, with an MLmodel file (if trusted, but for ONNX, CatBoost and XGBoost)"

    def recognises(self, model: object) -> bool:
        """Whether `model` is what `mlflow.pyfunc.load_model` gives or saves, or a folder opened here."""
        return (
            isinstance(model, MlflowFolder)
            or is_python_model(model)
            or any(
                base.__name__ == "PyFuncModel" and base.__module__.partition(".")[0] == "mlflow"
                for base in type(model).__mro__
            )
        )

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Copy the model's folder to `model/` below `data_dir`.

        Raises:
            PackagingError: the folder cannot be read or is not to be served, or there is none and the model
                cannot be saved.
            MissingExtraError: MLflow is not installed.
        """
        with folder_of(model) as found:
            described = describe(found.path)
            stated = stated_requirements(described)
            named = named_by_files(described) if stated.are_here else None
            notes = [*_notes(described), *([by_value_note()] if found.code.by_value else [])]
            ignored = shutil.ignore_patterns("__pycache__", ".git")
            shutil.copytree(found.path, data_dir / "model", ignore=ignored)
        finding = _trial(model, described)
        if finding is not Finding.INDEPENDENT:
            notes.append(f"rows of concurrent requests are not joined: {finding.value}")
        return Saved(
            model_class=model_class_source(__package__),
            model_type=_model_type(described),
            model_metadata={"model_binary_dir": "model"},
            requirements=stated.names,
            stated=stated.lines if named else (*stated.lines, *stated.if_needed),
            stated_if_needed=stated.if_needed if named else (),
            modules=named.modules if named else (),
            pickled_objects=found.code.references,
            pickle_files=_pickles(named, found, data_dir / "model"),
            python_version=described.python_version,
            batching="rows" if finding is Finding.INDEPENDENT else "none",
            repeatable=finding is not Finding.RANDOM,
            signature=signature_of(described.metadata.get_input_schema()),
            notes=tuple(notes),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What the live model answers, through the same steps as the packaged one.

        Numbers come in the precision of the model's output, which tells how closely a copy can agree.
        """
        from truss.frameworks.mlflow.model_class import Model, plain

        live = Model(data_dir=Path(), config={"model_metadata": {}}, secrets={})
        live.model = loaded_model(model)
        output = live.compute(live.preprocess(request))
        return live.postprocess({"predictions": in_precision(plain(output), _precision(output))})

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is a folder with an `MLmodel` file."""
        return contents.is_folder and FILE in contents.names

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:
        """The folder, whose model is loaded when it is asked.

        Raises:
            UntrustedFileError: loading it may run code of its maker, as most flavours do.
        """
        described = describe(contents.path)
        if described.runs_code and not trusted:
            raise untrusted_error(contents, f"a model of MLflow that is loaded by {described.loader}")
        return MlflowFolder(contents.path)


def _pickles(named: Named | None, found: Found, copied: Path) -> tuple[Path, ...]:
    """The pickles of the copied folder whose modules the requirements follow from."""
    own = (copied / PICKLE,) if found.code.references and (copied / PICKLE).is_file() else ()
    return (*own, *(copied / file.relative_to(found.path) for file in (named.pickles if named else ())))


def _model_type(described: Description) -> str:
    """The flavour, as the end of its loader's name: `sklearn`, `xgboost`; `PythonModel` for one's own."""
    loader = described.loader
    return "PythonModel" if loader == _OWN_CODE else loader.rpartition(".")[2] or "Model"


def _trial(model: Any, described: Description) -> Finding:
    """Ask for random rows, together and one by one."""
    schema = described.metadata.get_input_schema()
    inputs = trial_inputs(schema)
    if described.loader not in _TRIED or not inputs:
        return Finding.UNKNOWN
    try:
        loaded = loaded_model(model)
    except Exception:  # noqa: BLE001  # it may need other versions than are here; the Truss will have them
        return Finding.UNKNOWN

    def run(arrays: Mapping[str, Any]) -> Sequence[Any]:
        return _outputs(loaded.predict(model_input(arrays, schema)))

    return try_rows(run, inputs)


def _outputs(output: Any) -> list[Any]:
    """The arrays in an answer, one entry per row each."""
    if isinstance(output, Mapping):
        return list(output.values())
    return [output.to_numpy() if hasattr(output, "to_numpy") else output]


def _precision(output: Any) -> str:
    """NumPy's name of the least exact type of number in an answer."""
    parts = output.values() if isinstance(output, Mapping) else [output]
    dtypes = {str(dtype) for part in parts for dtype in _dtypes(part)}
    return next((name for name in ("float16", "float32") if name in dtypes), "float64")


def _dtypes(part: Any) -> list[Any]:
    """The types of a table's columns, of an array or a series; none of other values."""
    if hasattr(part, "columns"):
        return list(part.dtypes)
    return [part.dtype] if hasattr(part, "dtype") else []


def _notes(described: Description) -> Iterator[str]:
    python = described.python_version
    if python is not None and python != f"{sys.version_info.major}.{sys.version_info.minor}":
        yield f"the model was saved by Python {python}, and is to be served on it: `python_version` says so"
    packages = conda_packages(described)
    if packages:
        yield (
            f"the model states packages of conda, which pip does not install: {', '.join(packages)}; add "
            "what it needs of them to `requirements` or `system_packages`"
        )


if TYPE_CHECKING:
    _fits: OpensFiles = MlflowFramework()

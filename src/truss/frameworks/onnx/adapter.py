"""Package ONNX models, in memory or as files."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.base import OpensFiles, Saved, model_class_source
from truss.frameworks.contents import Contents
from truss.frameworks.onnx.fields import is_model_file
from truss.frameworks.onnx.files import import_onnx, is_path, read_graph, write
from truss.frameworks.onnx.graph import RANDOM, operators
from truss.frameworks.onnx.rowwise import reason_against_joining
from truss.frameworks.onnx.signature import signature_of
from truss.frameworks.precision import in_precision

_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
"""Two builds of one library, of which one is installed."""


class OnnxFramework:
    """The adapter for ONNX."""

    name = "onnx"
    model_framework = "onnx"
    summary = "ONNX models: an `onnx.ModelProto`, or the path of a file that ends in .onnx"
    files = "ONNX models (.onnx), with the files of their tensors beside them"

    def recognises(self, model: object) -> bool:
        """Whether `model` is a `ModelProto`, or a path whose name ends in `.onnx`."""
        if is_path(model):
            return str(model).lower().endswith(".onnx")
        return any(
            base.__name__ == "ModelProto" and base.__module__.partition(".")[0] == "onnx"
            for base in type(model).__mro__
        )

    def save(self, model: Any, data_dir: Path) -> Saved:
        """Write the graph and the files of its tensors to `model/` below `data_dir`.

        Raises:
            PackagingError: there is no such file, tensors are missing, ONNX Runtime cannot load the model,
                or a request cannot hold what it takes as input.
            MissingExtraError: onnx or onnxruntime is not installed.
        """
        graph = read_graph(model)
        folder = data_dir / "model"
        folder.mkdir()
        try:
            name = write(model, folder)
            session = open_session(folder / name)
            signature = signature_of(session)
        except (PackagingError, MissingExtraError):
            shutil.rmtree(folder)
            raise
        used = operators(graph)
        reason = reason_against_joining(session, signature, used)
        return Saved(
            model_class=model_class_source(__package__),
            model_metadata={"model_file": name, "providers": list(_PROVIDERS), **signature.metadata()},
            requirements=(_installed_runtime(), "numpy"),
            batching="none" if reason else "rows",
            repeatable=not used & RANDOM,
            signature=signature.of_requests(),
            notes=() if reason is None else (f"rows of concurrent requests are not joined: {reason}",),
        )

    def answer(self, model: Any, request: Any) -> Any:
        """What ONNX Runtime answers for the live model, through the steps of the packaged one.

        Numbers come in the precision of the model's outputs, which tells how closely a copy can agree.
        """
        from truss.frameworks.onnx.model_class import Model

        with TemporaryDirectory() as folder:
            path = Path(model) if is_path(model) else Path(folder, write(model, Path(folder)))
            session = open_session(path)
            signature = signature_of(session)
            metadata = {"model_file": path.name, **signature.metadata()}
            live = Model(data_dir=path.parent, config={"model_metadata": metadata}, secrets={})
            live.session = session
            answer = live.postprocess(live.predict(live.preprocess(request)))
            return in_precision(answer, signature.precision)

    def recognises_file(self, contents: Contents) -> bool:
        """Whether it is a `ModelProto`.

        Raises:
            PackagingError: it is one that is cut off.
        """
        return not contents.is_folder and is_model_file(contents.path)

    def open_file(self, contents: Contents, *, trusted: bool) -> Any:  # noqa: ARG002 - no code is in it
        """The path, whose file is copied as it is; the `ModelProto` when it has another ending."""
        if self.recognises(contents.path):
            return contents.path
        return import_onnx().load(contents.path)


def open_session(path: Path) -> Any:
    """A session on the CPU.

    Raises:
        PackagingError: ONNX Runtime cannot load the model; with what it says.
        MissingExtraError: it is not installed.
    """
    try:
        import onnxruntime
    except ImportError:
        raise MissingExtraError("onnxruntime", "onnx", "packaging an ONNX model") from None
    try:
        return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise PackagingError(
            f"ONNX Runtime {onnxruntime.__version__} cannot load this model: {' '.join(str(error).split())}",
            hint="export it for an operator set that this version knows, without operators of your own",
        ) from error


def _installed_runtime() -> str:
    for name in _DISTRIBUTIONS:
        try:
            distribution(name)
        except PackageNotFoundError:
            continue
        return name
    return _DISTRIBUTIONS[0]


if TYPE_CHECKING:
    _fits: OpensFiles = OnnxFramework()

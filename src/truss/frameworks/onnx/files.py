"""Lay an ONNX model out as files: the graph, and beside it the tensors that lie in files of their own."""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Any

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.onnx.graph import external_files, tensors

LARGEST_MESSAGE = 2**31 - 1
"""Bytes that one protobuf file can have; the tensors of a larger model go to a second file."""

_ROOM_FOR_GRAPH = 2**24


def is_path(model: object) -> bool:
    """Whether the model was given as the path of its file."""
    return isinstance(model, (str, Path))


def write(model: Any, folder: Path) -> str:
    """Write a `ModelProto`, or copy the files of the one at a path, to an existing, empty folder.

    Returns:
        The name of the graph's file in the folder.

    Raises:
        PackagingError: there is no such file, it is no ONNX model, or tensors are missing.
    """
    return _copy(Path(model), folder) if is_path(model) else _write_proto(model, folder)


def read_graph(model: Any) -> Any:
    """The `ModelProto` of a model or a path, its external tensors left where they are.

    Raises:
        PackagingError: there is no such file, or it is no ONNX model.
    """
    if not is_path(model):
        return model
    onnx = import_onnx()
    path = Path(model)
    if not path.is_file():
        raise PackagingError("there is no such file", where=str(path), hint="give the path of an ONNX model")
    try:
        return onnx.load(path, load_external_data=False)
    except Exception as error:
        raise PackagingError(
            f"this file is no ONNX model: {error}", where=str(path), hint="export the model again"
        ) from error


def import_onnx() -> Any:
    """The onnx module.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingExtraError("onnx", "onnx", "packaging an ONNX file") from None
    return onnx


def _copy(path: Path, folder: Path) -> str:
    for name in external_files(read_graph(path)):
        source = path.parent / name
        _check_external(name, source, path)
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    shutil.copyfile(path, folder / path.name)
    return path.name


def _check_external(name: str, source: Path, path: Path) -> None:
    """Refuse tensors outside of the model's folder, and such as are not there.

    Raises:
        PackagingError: the file is outside, or missing.
    """
    inside = PurePosixPath(name)
    if not name or inside.is_absolute() or ".." in inside.parts or "\\" in name:
        raise PackagingError(
            f"its tensors lie outside of the model's folder, in {name!r}",
            where=str(path),
            hint="save the model again with its tensors beside it: `onnx.save_model(model, path, "
            "save_as_external_data=True)`",
        )
    if not source.is_file():
        raise PackagingError(
            f"the file {name!r} with its tensors is missing",
            where=str(path),
            hint="copy it next to the model: an ONNX model and its data files belong together",
        )


def _write_proto(model: Any, folder: Path) -> str:
    missing = external_files(model)
    if missing:
        raise PackagingError(
            f"the tensors of this model are not loaded, they lie in the files {list(missing)}",
            hint="give the path of the .onnx file instead, or load it with `onnx.load(path)`",
        )
    if _size(model) > LARGEST_MESSAGE - _ROOM_FOR_GRAPH:
        _write_apart(model, folder)
    else:
        (folder / "model.onnx").write_bytes(model.SerializeToString())
    return "model.onnx"


def _size(model: Any) -> int:
    """Bytes of the tensors; a model that is too large cannot tell its own size."""
    return sum(len(tensor.raw_data) or tensor.ByteSize() for tensor in tensors(model))


def _write_apart(model: Any, folder: Path) -> None:
    """Write the tensors to `model.onnx.data`. A copy is written: saving empties the tensors it moves."""
    copy = type(model)()
    copy.CopyFrom(model)
    import_onnx().save_model(
        copy, folder / "model.onnx", save_as_external_data=True, location="model.onnx.data"
    )

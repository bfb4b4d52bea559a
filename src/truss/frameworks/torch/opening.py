"""Read the files that PyTorch saves modules to."""

from __future__ import annotations

import pickle
from pathlib import PurePosixPath
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.contents import Contents, untrusted_error
from truss.frameworks.torch.detect import Kind

# `torch.save` before version 1.6, or asked for its old format: a pickled number, then pickles.
_OLD_FORMAT = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

_PROGRAM = frozenset({"archive_format", "serialized_exported_program.json", "models/model.json"})


def is_model_file(contents: Contents) -> bool:
    """Whether it is what `torch.jit.save`, `torch.export.save` or `torch.save` writes."""
    return contents.head.startswith(_OLD_FORMAT) or _kind(contents) is not None


def read_model(contents: Contents, *, trusted: bool) -> Any:
    """The program or module in the file, on the CPU.

    Raises:
        UntrustedFileError: it was written by `torch.save`, and holds more than tensors.
        PackagingError: it holds tensors only.
    """
    import torch

    kind = _kind(contents)
    if kind == "program":
        return torch.export.load(contents.path)
    if kind == "script":
        return torch.jit.load(contents.path, map_location="cpu")  # type: ignore[no-untyped-call]
    return _saved_object(contents, trusted)


def _kind(contents: Contents) -> Kind | None:
    """What an archive holds, told by its members; all of them are in one folder of any name."""
    members = [PurePosixPath(name).parts for name in contents.names]
    inside = {"/".join(parts[1:]) for parts in members} | contents.names
    if inside & _PROGRAM:
        return "program"
    if "data.pkl" not in inside:
        return None
    return "script" if "constants.pkl" in inside else "module"


def _saved_object(contents: Contents, trusted: bool) -> Any:
    """What `torch.save` wrote: a module by trust, tensors without."""
    import torch

    try:
        found = torch.load(contents.path, map_location="cpu", weights_only=not trusted)
    except pickle.UnpicklingError as error:
        if trusted:
            raise
        raise untrusted_error(contents, "an object that `torch.save` pickled") from error
    if isinstance(found, torch.nn.Module):
        return found
    raise PackagingError(
        f"this file of `torch.save` holds an object of type {type(found).__name__} and no module: "
        "weights come without code",
        where=str(contents.path),
        hint="make the module, `module.load_state_dict(torch.load(path))`, and package the module",
    )

"""Open folders that a pipeline's `save_pretrained` wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

from truss.frameworks.contents import Contents

_INDEX = "model_index.json"
_FORMATS = MappingProxyType({"F16": "float16", "BF16": "bfloat16", "F32": "float32"})
# model.safetensors, model.fp16.safetensors, model-00001-of-00002.fp16.safetensors
_WEIGHTS = re.compile(r"[^.]+(?:\.(?P<variant>\w+))?\.safetensors")


def is_pipeline_folder(contents: Contents) -> bool:
    """Whether it is a folder with the index of a pipeline."""
    if not contents.is_folder:
        return False
    index = contents.json(_INDEX)
    return isinstance(index, dict) and "_class_name" in index


def read_pipeline(contents: Contents) -> Any:
    """The pipeline in the folder, each part in the number format that it was saved in.

    Neither code that the folder brings nor weights in pickles are read.
    """
    import diffusers

    from truss.frameworks.diffusers.model_class import DTYPE

    parts = dict(_parts(contents.path))
    return diffusers.DiffusionPipeline.from_pretrained(
        contents.path,
        local_files_only=True,
        use_safetensors=True,
        variant=_variant(parts),
        **{DTYPE: _formats(parts)},
    )


def _parts(folder: Path) -> Iterator[tuple[str, dict[str | None, Path]]]:
    """Each part with weights, by name: a file of them by variant, such as `fp16`; None for the plain one."""
    for path in sorted(folder.iterdir()):
        found = {
            match["variant"]: file
            for file in sorted(path.glob("*.safetensors"))
            if (match := _WEIGHTS.fullmatch(file.name))
        }
        if found:
            yield path.name, found


def _variant(parts: dict[str, dict[str | None, Path]]) -> str | None:
    """The variant that is there where the plain weights are not."""
    only = {next(iter(files)) for files in parts.values() if None not in files}
    return sorted(name for name in only if name is not None)[0] if only else None


def _formats(parts: dict[str, dict[str | None, Path]]) -> Any:
    """The number format of each part, as diffusers takes it."""
    import torch

    variant = _variant(parts)
    kinds = {name: _format(files.get(variant) or files[None]) for name, files in parts.items()}
    return {name: getattr(torch, kind) for name, kind in kinds.items()} or None


def _format(file: Path) -> str:
    """The number format of the most weights in a file."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as weights:
        found = [weights.get_slice(name).get_dtype() for name in weights.keys()]  # noqa: SIM118 - no mapping
    known = [_FORMATS[kind] for kind in found if kind in _FORMATS]
    return max(sorted(set(known)), key=known.count, default="float32")

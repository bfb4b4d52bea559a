"""Whether a module answers each row by itself, so that the rows of several requests may be joined.

Known are chains (`nn.Sequential`, also nested) of torch's own layers that never look beyond a row when they
are evaluated. Code of one's own may look at the whole batch, so it is not joined by default.
"""

from __future__ import annotations

import contextlib
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator
from types import MappingProxyType
from typing import Any

from truss.frameworks.trial import RowInput

_LENGTHS = (4, 32, 224)
"""Lengths tried, one after the other, for axes of a row whose length is not fixed."""

_COUNTS = (2, 3)
"""Numbers of rows tried."""

_ROW_BY_ROW_FILES = frozenset(
    {
        "activation",
        "batchnorm",
        "conv",
        "dropout",
        "flatten",
        "linear",
        "normalization",
        "padding",
        "pixelshuffle",
        "pooling",
        "upsampling",
    }
)
"""Files of `torch.nn.modules` whose layers answer row by row, with the arguments that are looked at below."""

_EXCEPTIONS = frozenset({"Bilinear", "MultiheadAttention", "Softmax2d"})
"""Layers in these files that take several inputs, or that take a batch of one axis less for a row."""

_ROW_SHAPES: MappingProxyType[str, Callable[[Any], tuple[int | None, ...]]] = MappingProxyType(
    {
        "Linear": lambda layer: (layer.in_features,),
        "Conv1d": lambda layer: (layer.in_channels, None),
        "Conv2d": lambda layer: (layer.in_channels, None, None),
        "Conv3d": lambda layer: (layer.in_channels, None, None, None),
        "Embedding": lambda _: (None,),
        "LayerNorm": lambda layer: layer.normalized_shape,
        "BatchNorm1d": lambda layer: (layer.num_features,),
        "BatchNorm2d": lambda layer: (layer.num_features, None, None),
    }
)
"""The shape of a row, by the layer that sees it first; None for an axis of any length."""


def reason_against_joining(module: Any) -> str | None:
    """Why rows of several requests must not be joined for `module`; None when its layers allow it."""
    reasons = (_reason(layer) for layer in _layers(module))
    return next((reason for reason in reasons if reason is not None), None)


def row_input(module: Any) -> RowInput | None:
    """What a row of a chain of layers looks like; None when its first layers take several shapes."""
    for layer in _layers(module):
        shape = _ROW_SHAPES.get(type(layer).__name__)
        if shape is not None:
            kind = "int64" if type(layer).__name__ == "Embedding" else "float32"
            return RowInput("inputs", kind, shape(layer))
    return None


def first_row_input(module: Any) -> RowInput | None:
    """What a row looks like to the layer that sees it first; None where that is not known of the layer.

    A later layer that is known says nothing of it: what is before may have given the row another shape.
    """
    return row_input(next(_layers(module), None))


def gives_a_row_for_each(module: Any) -> bool:
    """Whether a chain of known layers takes rows, and gives one for each; nothing is computed but shapes."""
    taken = row_input(module)
    return taken is not None and any(_keeps_rows(module, taken, length) for length in _LENGTHS)


@contextlib.contextmanager
def shapes_imported_meanwhile() -> Iterator[None]:
    """Have what torch computes shapes with imported beside the block: half a second, the first time.

    Writing gigabytes leaves Python's lock alone.
    """
    importing = threading.Thread(target=_import_shapes)
    importing.start()
    try:
        yield
    finally:
        importing.join()


def _import_shapes() -> None:
    # Another version of torch may have it elsewhere: then it is imported when shapes are computed.
    with contextlib.suppress(ImportError):
        importlib.import_module("torch.fx.experimental.symbolic_shapes")


def _keeps_rows(module: Any, taken: RowInput, length: int) -> bool:
    """Whether it does for rows whose open axes have this length."""
    import torch

    tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    shapes = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    row = [length if size is None else size for size in taken.row_shape]
    dtype = torch.int64 if taken.dtype == "int64" else _dtype(tensors.values())
    for count in _COUNTS:
        rows = torch.empty((count, *row), dtype=dtype, device="meta")
        try:
            with torch.inference_mode():
                answer = torch.func.functional_call(module, shapes, (rows,))
        except Exception:  # noqa: BLE001  # rows of this shape do not suit it
            return False
        if not isinstance(answer, torch.Tensor) or answer.ndim == 0 or len(answer) != count:
            return False
    return True


def _dtype(tensors: Iterable[Any]) -> Any:
    import torch

    return next((tensor.dtype for tensor in tensors if tensor.is_floating_point()), torch.float32)


def _layers(module: Any) -> Iterator[Any]:
    """The layers of a chain, in order; anything but a chain is a layer."""
    if _is_of_torch(module) and type(module).__name__ == "Sequential" and not _hooks(module):
        for part in module:
            yield from _layers(part)
    else:
        yield module


def _reason(layer: Any) -> str | None:
    kind = type(layer)
    if not _is_of_torch(layer):
        return f"{kind.__qualname__} is code of {kind.__module__}, which may look at all rows together"
    file = kind.__module__.rpartition(".")[2]
    known = kind.__name__ == "Embedding" or (file in _ROW_BY_ROW_FILES and kind.__name__ not in _EXCEPTIONS)
    if not known or _crosses_rows(layer):
        return f"{kind.__name__} may look at all rows together"
    if _hooks(layer):
        return f"a hook on {kind.__name__} may look at all rows together"
    return None


def _is_of_torch(module: Any) -> bool:
    return type(module).__module__.startswith("torch.nn.modules.")


def _crosses_rows(layer: Any) -> bool:
    """Whether a layer's arguments make it work along the first axis, or on statistics of the batch."""
    if hasattr(layer, "running_mean"):
        return layer.running_mean is None
    if hasattr(layer, "start_dim"):  # Flatten
        return bool(layer.start_dim < 1)
    dim = getattr(layer, "dim", 1)  # Softmax, GLU, Unflatten and the like
    # Counted from the end, only the last axis is certain not to be the first.
    return not isinstance(dim, int) or (dim < 1 and dim != -1)


def _hooks(module: Any) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)  # noqa: SLF001  # no public way

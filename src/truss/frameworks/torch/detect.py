"""Tell what an object is from its type alone, without importing torch."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, Literal

Kind = Literal["module", "script", "program"]
"""A module of Python code, a TorchScript module, or a program that `torch.export` made."""

_BASES: MappingProxyType[tuple[str, str], Kind] = MappingProxyType(
    {
        ("torch.export.exported_program", "ExportedProgram"): "program",
        ("torch.jit._script", "ScriptModule"): "script",  # before modules: it is one
        ("torch.nn.modules.module", "Module"): "module",
    }
)

# Modules that run another one in a way that belongs to the training process, and where that one is.
_WRAPPERS = MappingProxyType(
    {
        ("torch._dynamo.eval_frame", "OptimizedModule"): "_orig_mod",
        ("torch.nn.parallel.data_parallel", "DataParallel"): "module",
        ("torch.nn.parallel.distributed", "DistributedDataParallel"): "module",
        ("torch.optim.swa_utils", "AveragedModel"): "module",
    }
)


def kind_of(value: object) -> Kind | None:
    """What `value` is an instance of; None when it is not PyTorch's."""
    bases = {(base.__module__, base.__name__) for base in type(value).__mro__}
    return next((kind for base, kind in _BASES.items() if base in bases), None)


def unwrapped(model: Any) -> Any:
    """The module inside wrappers for compilation, for several devices, and for averaging."""
    attribute = _WRAPPERS.get((type(model).__module__, type(model).__name__))
    return model if attribute is None else unwrapped(getattr(model, attribute))


def is_compiled(model: Any) -> bool:
    """Whether `torch.compile` made it out of another module."""
    return type(model).__name__ == "OptimizedModule" and unwrapped(model) is not model

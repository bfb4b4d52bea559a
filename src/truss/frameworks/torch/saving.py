"""Write a module as two files: its structure without tensors, and its tensors.

`structure.pickle` holds the object with every tensor replaced by a reference to `model.safetensors`: not
the parameters and buffers only, but tensors in plain attributes and lists too. A tensor that is shared is
written once and shared again once read.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from truss.errors import MissingExtraError, PackagingError
from truss.frameworks.pickles import import_cloudpickle, unpicklable_error
from truss.frameworks.recording import recording_pickler
from truss.frameworks.torch.files import Written
from truss.frameworks.torch.parametrized import with_plain_weights


def write_module(module: Any, folder: Path) -> Written:
    """Write `structure.pickle` and `model.safetensors` to `folder`.

    Raises:
        PackagingError: a part of the module cannot be pickled, its weights have no values yet, or what
            computes them cannot be taken out.
        MissingExtraError: cloudpickle or safetensors is not installed.
    """
    import_cloudpickle()
    save_file = _import_save_file()
    module = with_plain_weights(module)
    weights = _Weights(module)
    structure = folder / "structure.pickle"
    with structure.open("wb") as file:
        pickler = recording_pickler(file, weights.reference)
        try:
            pickler.dump(module)
        except (OSError, PackagingError):
            raise
        except Exception as error:
            raise _unpicklable(module, error) from error
    save_file(weights.tensors, folder / "model.safetensors", {"format": "pt"})
    code = ("cloudpickle",) if pickler.by_value else ()
    return Written(
        requirements=("torch", "safetensors", "numpy", *code),
        pickle_files=(structure,),
        by_value=pickler.by_value,
        references=tuple(pickler.references),
    )


def _import_save_file() -> Any:
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise MissingExtraError("safetensors", "torch", "saving the weights of a PyTorch module") from None
    return save_file


def _unpicklable(module: Any, error: Exception) -> PackagingError:
    def without_tensors(part: object) -> None:
        recording_pickler(io.BytesIO(), _Weights(module).reference).dump(part)

    return unpicklable_error(module, error, f"this {type(module).__name__}", without_tensors)


@dataclass
class _Weights:
    """Collects the tensors that a pickler meets, under the names that the module gives them.

    Attributes:
        module: The module that is pickled.
        tensors: What goes to the weights file, by name.
    """

    module: Any
    tensors: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._names = {id(tensor): name for name, tensor in _named_tensors(self.module)}
        self._met: dict[int, tuple[int, Any]] = {}
        self._stored: dict[Any, str] = {}
        self._device = next((tensor.device for _, tensor in _named_tensors(self.module)), None)

    def reference(self, part: Any) -> object | None:
        """What the structure holds in place of a tensor, or of the device that the module is on.

        A tensor's: a number of its own, its name in the weights file, whether it is a parameter, and
        whether it takes gradients.
        """
        import torch

        if isinstance(part, torch.device):
            return "device" if self._device is not None and part.type == self._device.type else None
        if not (isinstance(part, torch.Tensor) and _is_plain(part)):
            return None
        _check_has_values(part, self._names.get(id(part)))
        # The tensor is kept, so that its id stays its own.
        number, _ = self._met.setdefault(id(part), (len(self._met), part))
        return number, self._name(part), isinstance(part, torch.nn.Parameter), part.requires_grad

    def _name(self, tensor: Any) -> str:
        """The name under which the tensor is stored, or one that is the very same piece of memory."""
        memory = (
            tensor.untyped_storage().data_ptr() or id(tensor),
            tensor.storage_offset(),
            tensor.shape,
            tensor.stride(),
            tensor.dtype,
        )
        if memory not in self._stored:
            name = self._names.get(id(tensor), f"tensors.{len(self._met) - 1}")
            self._stored[memory] = name
            self.tensors[name] = _own_memory(tensor)
        return self._stored[memory]


def _named_tensors(module: Any) -> Iterator[tuple[str, Any]]:
    """Parameters and buffers, those that a state dict leaves out included."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def _is_plain(tensor: Any) -> bool:
    """Whether a safetensors file can hold it.

    Others (sparse, quantized, of a class of their own) are pickled as torch does it.
    """
    import torch

    kinds = (torch.Tensor, torch.nn.Parameter, torch.nn.UninitializedParameter, torch.nn.UninitializedBuffer)
    return type(tensor) in kinds and tensor.layout == torch.strided and not tensor.is_quantized


def _check_has_values(tensor: Any, name: str | None) -> None:
    import torch

    place = f"its tensor `{name}`" if name else "one of its tensors"
    if torch.nn.parameter.is_lazy(tensor):
        raise PackagingError(
            f"this module cannot be saved: {place} has no shape yet",
            hint="a lazy layer takes its shape from the first call: call the module once before packaging",
        )
    if tensor.is_meta:
        raise PackagingError(
            f"this module cannot be saved: {place} is on the device `meta`, which holds no values",
            hint="load the weights first: `module.to_empty(device='cpu')`, then `load_state_dict`",
        )


def _own_memory(tensor: Any) -> Any:
    """The tensor in memory that no other tensor of the file uses: the same one, where that is so already."""
    import torch

    tensor = tensor.detach()
    if tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes:
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)

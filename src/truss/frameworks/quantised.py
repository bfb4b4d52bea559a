"""Weights that torch itself has quantised: packed for a kernel, in no format that a weights file has."""

from __future__ import annotations

from typing import Any

from truss.errors import PackagingError

_PACKAGES = ("torch.ao.nn.", "torch.nn.quantized.", "torch.nn.intrinsic.")


def check_not_packed(network: Any, what: str) -> None:
    """Refuse a network with layers of `torch.ao.quantization`, which `save_pretrained` cannot write.

    Args:
        network: A `torch.nn.Module`.
        what: Its name for the message, e.g. `the text encoder`.

    Raises:
        PackagingError: one of its layers is of that kind; the hint says what can be packaged instead.
    """
    for name, layer in network.named_modules():
        module = type(layer).__module__
        if module.startswith(_PACKAGES) and "quantized" in module:
            raise PackagingError(
                f"{what} was quantised by torch: its layer `{name}` holds packed weights, which cannot be "
                "written with `save_pretrained`",
                hint="package it as it was before, and quantise it in the model class's `load` "
                "(`torch.ao.quantization.quantize_dynamic`), or serve it in half precision: "
                "`model.to(torch.bfloat16)`",
            )

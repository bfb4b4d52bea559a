"""Which packages a model takes whose weights were quantised as its config says."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import packages_distributions
from typing import Any

_OWN = frozenset({"torch", "transformers", "transformers_modules", "__main__"})


def quantising_distributions(model: Any) -> tuple[str, ...]:
    """The distributions that the layers and weights of a quantised model come from, e.g. `torchao`.

    None for a model whose config names no quantisation: its layers are those of torch and transformers.
    """
    if getattr(model.config, "quantization_config", None) is None:
        return ()
    installed = packages_distributions()
    tops = dict.fromkeys(kind.__module__.partition(".")[0] for kind in _kinds(model))
    found = [name for top in tops if top not in _OWN for name in installed.get(top, ())]
    # transformers moves weights of bitsandbytes by accelerate.
    return (*found, "accelerate") if "bitsandbytes" in found else tuple(found)


def _kinds(model: Any) -> Iterator[type]:
    """The classes of layers and weights."""
    for layer in model.modules():
        yield type(layer)
        yield from (type(weight) for weight in layer.parameters(recurse=False))
        yield from (type(weight.data) for weight in layer.parameters(recurse=False))

"""Take out what computes a module's weights from others, such as weight and spectral normalisation.

A module that `torch.nn.utils.parametrize` has changed is of a class made on the spot, which no pickle takes.
Once training is over its weights no longer change, so they are computed once and for all.
"""

from __future__ import annotations

import copy
from typing import Any

from truss.errors import PackagingError
from truss.frameworks.pickles import reason_of


def is_parametrized(module: Any) -> bool:
    """Whether weights of the module, or of one in it, are computed by `torch.nn.utils.parametrize`."""
    from torch.nn.utils import parametrize

    return any(parametrize.is_parametrized(part) for part in module.modules())


def with_plain_weights(module: Any) -> Any:
    """The module itself; or a copy with the weights that it computes when it is evaluated, as plain ones.

    Raises:
        PackagingError: what computes them cannot be taken out.
    """
    if not is_parametrized(module):
        return module
    try:
        plain = copy.deepcopy(module).eval()
        for part in list(plain.modules()):
            _compute(part)
    except Exception as error:
        raise PackagingError(
            f"the parametrizations of this {type(module).__name__} cannot be replaced by plain weights: "
            f"{reason_of(error)}",
            hint="take them out: `torch.nn.utils.parametrize.remove_parametrizations(module, name)`",
        ) from error
    return plain


def _compute(part: Any) -> None:
    """Make plain weights of those that a copied module computes; nothing where it computes none.

    `remove_parametrizations` would change the class, which the copy has in common with the original.
    """
    import torch
    from torch.nn.utils import parametrize

    if not parametrize.is_parametrized(part):
        return
    with torch.no_grad():
        weights = {name: getattr(part, name).clone() for name in part.parametrizations}
    part.__class__ = parametrize.type_before_parametrizations(part)
    del part.parametrizations
    for name, weight in weights.items():
        part.register_parameter(name, torch.nn.Parameter(weight, requires_grad=False))

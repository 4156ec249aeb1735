"""Another activation in the place of a network's own."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from linbp.errors import ModelError, nearest_name

__all__ = ["Activation", "replace_activations"]

Activation = Literal["relu", "gelu"]

_LAYERS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}
_REPLACED = (nn.ReLU, nn.ReLU6, nn.GELU)


def replace_activations(network: nn.Module, name: str) -> None:
    """Put ReLU or GELU in the place of every ReLU, ReLU6 and GELU of a network; its weights stay.

    Args:
        network: changed in place.
        name: `relu` or `gelu`.

    Raises:
        ModelError: no such activation.
    """
    if name not in get_args(Activation):
        raise ModelError(f"There is no activation {name!r} here.", nearest_name(name, get_args(Activation)))
    for module in [*network.modules()]:
        for child, layer in [*module.named_children()]:
            if isinstance(layer, _REPLACED):
                setattr(module, child, _LAYERS[name]())

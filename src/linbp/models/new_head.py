"""A network for other classes: a copy whose last layer is new."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from torch import nn

from linbp.errors import ModelError
from linbp.models.checkpoint import preserved_random_state
from linbp.models.model import Model

__all__ = ["with_new_head"]


def with_new_head(model: Model, classes: int, class_names: Sequence[str] = ()) -> Model:
    """A copy of a network with a new last layer for `classes` classes; a network that has as many keeps its own.

    timm's networks say which layer that is (`reset_classifier`). Of others it is the last linear layer, or the last
    1 x 1 convolution, with as many outputs as the network has classes. Its weights are drawn with seed 0.

    Args:
        model: the network; it stays as it is.
        classes: how many the copy answers with, at least 2.
        class_names: of these classes, where they are known.

    Raises:
        ModelError: the network is an exported program, or its last layer is not found.
    """
    before = model.count_classes()
    if before == classes:
        return model
    if model.program is not None:
        raise ModelError(
            f"{model.name} is an exported program of {before} classes, whose last layer cannot be replaced.",
            f"Name the network by its source, such as timm:NAME@FILE, or export it with {classes} classes.",
        )
    module = copy.deepcopy(model.module)
    with preserved_random_state():
        _replace(module, before, classes, model.name)
    made = Model(
        module,
        **model.preprocessing_arguments,
        name=model.name,
        source={**model.source, "new_head": classes},
    )
    made.class_names = tuple(class_names)
    if (after := made.count_classes()) != classes:
        raise ModelError(
            f"{model.name} still answers with {after} classes after its last layer was replaced.", _BY_HAND
        )
    return made


_BY_HAND = "Build it with as many classes as the victim has, in file:model.py:function."


def _replace(module: nn.Module, before: int, classes: int, name: str) -> None:
    reset: Any = getattr(module, "reset_classifier", None)
    if callable(reset):
        reset(classes)
        return
    last = [path for path, layer in module.named_modules() if _outputs(layer) == before]
    if not last or not last[-1]:
        raise ModelError(
            f"The last layer of {name} is not found: no linear layer and no 1 x 1 convolution has {before} outputs.",
            _BY_HAND,
        )
    parent, _, attribute = last[-1].rpartition(".")
    old = module.get_submodule(last[-1])
    new = _like(old, classes).to(next(old.parameters()))
    setattr(module.get_submodule(parent), attribute, new)


def _outputs(layer: nn.Module) -> int | None:
    if isinstance(layer, nn.Linear):
        return layer.out_features
    if isinstance(layer, nn.Conv2d) and (layer.kernel_size, layer.stride, layer.groups) == ((1, 1), (1, 1), 1):
        return layer.out_channels
    return None


def _like(layer: nn.Module, classes: int) -> nn.Module:
    """A new layer of the same kind and inputs."""
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, classes, bias=bias)
    assert isinstance(layer, nn.Conv2d)
    return nn.Conv2d(layer.in_channels, classes, 1, bias=bias)

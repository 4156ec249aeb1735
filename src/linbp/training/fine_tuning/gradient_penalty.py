"""A penalty on the length of the gradient: training goes where the loss is flat in the weights."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
from torch import nn

from linbp.validation import check_range

__all__ = ["GradientPenalty"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientPenalty:
    """The gradient of loss + weight x |gradient|, to first order, by a second pass a little uphill.

        g + weight / radius (g' - g),    g' = gradient at w + radius g / |g|_2

    with the Euclidean norm over all trained weights together.

    Args:
        weight: of the norm, at least 0.
        radius: how far uphill the second pass is, above 0.

    Raises:
        RecipeError: a value that is out of range.
    """

    weight: float = 1.0
    radius: float = 0.1

    def __post_init__(self) -> None:
        check_range("penalty", self.weight, least=0)
        check_range("radius", self.radius, above=0)

    def backward(
        self, loss: torch.Tensor, again: Callable[[], torch.Tensor], parameters: Sequence[nn.Parameter]
    ) -> None:
        """Leave the gradient in `.grad` of each parameter; their values stay as they are.

        Args:
            loss: at the present weights.
            again: computes the same loss once more.
            parameters: that are trained; those that the loss does not depend on get no gradient.
        """
        loss.backward()  # type: ignore[no-untyped-call]
        moved = [parameter for parameter in parameters if parameter.grad is not None]
        first = [parameter.grad.detach().clone() for parameter in moved if parameter.grad is not None]
        length = torch.nn.utils.get_total_norm(first)
        if self.weight == 0 or not bool(length > 0):
            return
        with torch.no_grad():
            kept = [parameter.detach().clone() for parameter in moved]
            for parameter, gradient in zip(moved, first, strict=True):
                parameter.add_(gradient * (self.radius / length))
                parameter.grad = None
        again().backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            for parameter, value, gradient in zip(moved, kept, first, strict=True):
                parameter.copy_(value)
                uphill = torch.zeros_like(gradient) if parameter.grad is None else parameter.grad
                parameter.grad = gradient + (self.weight / self.radius) * (uphill - gradient)

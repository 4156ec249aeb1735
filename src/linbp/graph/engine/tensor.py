"""Any tensor of a network with another gradient; its value stays as it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from linbp.graph.engine.mode import BackwardMode

__all__ = ["OperandBackward", "Scale", "TensorBackward", "TensorModule"]

TensorBackward = Callable[[torch.Tensor], torch.Tensor]
"""From the gradient at a tensor (N, ...) to the one that is passed on, of the same shape, image by image."""

OperandBackward = Callable[[torch.Tensor, int], torch.Tensor]
"""The same for one operand of a concatenation, with the operand's number."""


@dataclass(frozen=True)
class Scale:
    """The gradient times a constant.

    Attributes:
        factor: the constant.
    """

    factor: float

    def __call__(self, gradient: torch.Tensor) -> torch.Tensor:
        return gradient * self.factor


class TensorModule(nn.Module):
    """The identity with a rule's gradient.

    Args:
        backward: the rule's.
        mode: of the network.
    """

    def __init__(self, backward: TensorBackward, mode: BackwardMode) -> None:
        super().__init__()
        self.backward, self.mode = backward, mode

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The value itself."""
        result: torch.Tensor = _Function.apply(value, self)
        return result


class _Function(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, module: TensorModule) -> torch.Tensor:
        ctx.module = module
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (gradient,) = gradients
        return gradient if ctx.module.mode.ordinary else ctx.module.backward(gradient), None

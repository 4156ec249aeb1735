"""Mean and standard deviation of a network's weights along a run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

__all__ = ["Moments"]

LEAST_VARIANCE = 1e-30


class Moments:
    """The running mean of tensors, and the sum of squared distances from it (Welford), in float64.

    Args:
        tensors: by name; their shapes and devices.

    Attributes:
        count: how many versions were counted.
    """

    def __init__(self, tensors: Mapping[str, torch.Tensor]) -> None:
        self.count = 0
        self._mean = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor in tensors.items()}
        self._squares = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor in tensors.items()}

    @torch.no_grad()
    def add(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Count one version."""
        self.count += 1
        for name, tensor in tensors.items():
            off = tensor.double() - self._mean[name]
            self._mean[name] += off / self.count
            self._squares[name] += off * (tensor.double() - self._mean[name])

    def mean(self) -> dict[str, torch.Tensor]:
        """The mean of each tensor, float64."""
        return dict(self._mean)

    def deviations(self) -> dict[str, torch.Tensor]:
        """The standard deviation of each value, float64: root of the mean squared distance, at least 1e-15."""
        return {
            name: (squares / self.count).clamp(min=LEAST_VARIANCE).sqrt() for name, squares in self._squares.items()
        }

    def state(self) -> dict[str, Any]:
        """For `torch.save`."""
        return {"count": self.count, "mean": self._mean, "squares": self._squares}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; a KeyError or a RuntimeError where it is that of other tensors."""
        self.count = int(state["count"])
        for own, kept in ((self._mean, state["mean"]), (self._squares, state["squares"])):
            for name, tensor in own.items():
                tensor.copy_(kept[name])

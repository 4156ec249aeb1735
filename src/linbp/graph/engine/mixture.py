"""A feature map that is mixed with another one's on the way."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import nn

__all__ = ["MixModule", "Mixture"]


class Mixture(threading.local):
    """What is mixed into a feature map while a network runs, thread by thread.

    Args:
        path: of the module whose result is the feature map.
        node: name of its node in the graph.
        share: of the network's own feature map; the other one has the rest.

    Attributes:
        other: the other feature map, of the same shape and without a graph; where it is None, nothing is mixed.
    """

    def __init__(self, path: str, node: str, share: float) -> None:
        self.path, self.node, self.share = path, node, share
        self.other: torch.Tensor | None = None

    def __reduce__(self) -> tuple[type[Mixture], tuple[str, str, float]]:
        """A copy mixes nothing, whatever the original is doing."""
        return Mixture, (self.path, self.node, self.share)

    @contextlib.contextmanager
    def of(self, other: torch.Tensor) -> Iterator[None]:
        """Inside, this other feature map is mixed in."""
        self.other = other
        try:
            yield
        finally:
            self.other = None


class MixModule(nn.Module):
    """share h + (1 - share) other, with the ordinary gradient of that.

    Args:
        mixture: with the other feature map.
    """

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.mixture = mixture

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The mixed feature map."""
        share, other = self.mixture.share, self.mixture.other
        return value if other is None else share * value + (1 - share) * other

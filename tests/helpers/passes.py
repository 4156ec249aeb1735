"""Networks with some of the passes over finished graphs, and how often each changed something."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import torch
from torch import fx, nn

import linbp
from linbp.graph.kernels import PASSES


def with_passes(surrogate: linbp.Surrogate, rule: Any, *names: str) -> tuple[linbp.Surrogate, dict[str, int]]:
    """A surrogate with a rule, after these passes only; and their counts, over all graphs of the network."""
    counts = dict.fromkeys(names, 0)

    def counted(name: str, apply: Callable[[fx.GraphModule], int]) -> Callable[[fx.GraphModule], int]:
        def run(network: fx.GraphModule) -> int:
            changed = apply(network)
            counts[name] += changed
            return changed

        return run

    chosen = {name: counted(name, apply) for name, apply in PASSES.items() if name in names}
    assert set(chosen) == set(names)
    with mock.patch.dict(PASSES, chosen, clear=True):
        return surrogate.with_rule(rule), counts


class Bottleneck(nn.Module):
    """A 1 x 1, a 3 x 3 and a 1 x 1 convolution beside an identity, and another module before the last of them."""

    def __init__(self, wide: int, middle: int, inner: nn.Module) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(wide, middle, 1), nn.Conv2d(middle, middle, 3, padding=1)
        self.third, self.inner = nn.Conv2d(middle, wide, 1), inner

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        inside = torch.relu(self.second(torch.relu(self.first(value))))
        return torch.relu(value + self.third(self.inner(inside)))


class Every(nn.Module):
    """Patches, a strided stem, a bottleneck in the branch of another: every pass finds something here."""

    side = 32

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.stem = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(4, 272, 7, 2, 3)
        self.block = Bottleneck(272, 264, Bottleneck(264, 256, nn.Identity()))
        self.head = nn.Linear(272, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.block(torch.relu(self.stem(self.patches(images)))).mean((2, 3)))
        return logits


def seeded(make: Callable[[], nn.Module], dtype: torch.dtype) -> nn.Module:
    """A module with weights that depend on nothing else."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return make().to(dtype).eval()


def random_images(count: int, side: int, dtype: torch.dtype) -> torch.Tensor:
    """Images (count, 3, side, side)."""
    draw = torch.Generator().manual_seed(2)
    return torch.rand(count, 3, side, side, dtype=torch.float64, generator=draw).to(dtype)

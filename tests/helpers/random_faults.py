"""Building blocks of random networks that no graph can stand for: refused in one line, or captured as they are."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from random_layers import Apply, Block, Draw, Tensor
from torch import nn


def mixes_the_batch(draw: Draw) -> nn.Module:
    if draw.integers(2):
        return nn.BatchNorm2d(4, track_running_stats=False)
    return Apply(lambda value: value - value.mean(0) * 0.5)


def draws_numbers(draw: Draw) -> nn.Module:
    kinds = [
        lambda value: value * (1 + 0.2 * torch.rand_like(value)),
        lambda value: value * random.uniform(0.5, 1.5),
        lambda value: value + float(np.random.normal()) * 0.3,
    ]
    return Apply(kinds[draw.integers(len(kinds))])


def branches_on_values(draw: Draw) -> nn.Module:
    kinds = [
        lambda value: value if value.mean() > 0 else value * 2,
        lambda value: value * value.detach().max().item(),
        lambda value: torch.from_numpy(value.detach().numpy() * 2).to(value.dtype) + value,
        lambda value: value[:, : max(1, int(value.detach().sum()) % 4)].mean(1, keepdim=True) + value,
        lambda value: value[value > -100].view(value.shape),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


def fixes_the_batch(draw: Draw) -> nn.Module:
    kinds = [
        lambda value: torch.stack([image * image.mean() for image in value]),
        lambda value: value.view(len(value) * 4, 8, 8).view(len(value), 4, 8, 8),
        lambda value: torch.cat([value, value])[: len(value)],
        lambda value: torch.cat([part.relu() for part in value.split(4)]),
        lambda value: torch.cat([part.relu() for part in value.chunk(2)]),
        lambda value: value.reshape(2, -1, 4, 8, 8).flatten(0, 1),
        lambda value: value * torch.ones(len(value), 1, 1, 1, dtype=value.dtype),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


def has_no_gradient(draw: Draw) -> nn.Module:
    kinds = [
        lambda value: (value * 4).round() / 4,
        lambda value: (value * 8).to(torch.int8).to(value.dtype) / 8,
        lambda value: value.detach() * 2,
        torch.sign,
        lambda value: value.argmax(1, keepdim=True).expand(value.shape).to(value.dtype),
        torch.no_grad()(lambda value: value * 2),
        torch.inference_mode()(lambda value: value * 2),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


class Remembers(nn.Module):
    """Its results depend on the calls before."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.last: Any = None

    def forward(self, value: Tensor) -> Tensor:
        self.calls += 1
        result = value * (1 + 0.1 * self.calls)
        return result if self.last is None else result + self.last

    def extra_repr(self) -> str:
        return f"calls={self.calls}"


def remembers(draw: Draw) -> nn.Module:
    return Remembers()


def another_language(draw: Draw) -> nn.Module:
    layer = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh()).eval()
    return torch.jit.script(layer) if draw.integers(2) else torch.jit.trace(layer, torch.rand(2, 4, 8, 8))


def fails(draw: Draw) -> nn.Module:
    kinds = [
        lambda value: value.view(-1, 7),
        lambda value: value @ torch.ones(3, 3, dtype=value.dtype),
        lambda value: value.missing,
    ]
    return Apply(kinds[draw.integers(len(kinds))])


FAULTS: tuple[Block, ...] = (
    mixes_the_batch,
    draws_numbers,
    branches_on_values,
    fixes_the_batch,
    has_no_gradient,
    remembers,
    another_language,
    fails,
)

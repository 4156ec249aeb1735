"""Small networks in float64 that a test can attack in milliseconds."""

from __future__ import annotations

import torch
from torch import nn

import linbp

SIZE = 12
CLASSES = 7


class Block(nn.Module):
    """A residual block with batch norm, the activation after the sum."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        branch = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(value)))))
        return torch.relu(branch + value)


class Residual(nn.Module):
    """Two residual blocks between a stem and a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.blocks = nn.Sequential(Block(6), Block(6))
        self.head = nn.Linear(6 * SIZE * SIZE, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(torch.relu(self.stem(images))).flatten(1))


def tiny(dtype: torch.dtype = torch.float64) -> linbp.Model:
    """A residual network with seeded weights; its statistics make all masks mixed."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        module = Residual()
        for name, buffer in module.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
    return linbp.Model(module.to(dtype), input_size=(3, SIZE, SIZE), mean=(0.5,) * 3, std=(0.25,) * 3, name="tiny")


class Chain(nn.Module):
    """No residual block: convolutions one after the other."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3), nn.ReLU(), nn.Flatten()]
        self.body = nn.Sequential(*layers, nn.Linear(4 * (size - 2) ** 2, CLASSES))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.body(images)


def tiny_chain(size: int = SIZE, dtype: torch.dtype = torch.float64) -> linbp.Model:
    """Another architecture than `tiny`, for images of the same size or another."""
    with torch.random.fork_rng():
        torch.manual_seed(6)
        module = Chain(size)
    return linbp.Model(module.to(dtype), input_size=(3, size, size), mean=(0.4,) * 3, std=(0.3,) * 3, name="chain")


class Dense(nn.Module):
    """One layer whose new channels are concatenated with what it was made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.layer = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 3, 3, padding=1)
        self.head = nn.Linear(7 * SIZE * SIZE, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        stem = torch.relu(self.stem(images))
        return self.head(torch.cat([stem, torch.relu(self.layer(stem))], 1).flatten(1))


def tiny_dense() -> linbp.Model:
    """A network with a dense layer and seeded weights, in float64."""
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = Dense().double()
    return linbp.Model(module, input_size=(3, SIZE, SIZE), mean=(0.5,) * 3, std=(0.25,) * 3, name="dense")


def images_and_labels(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """uint8 images, extremes included, and labels."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(-40, 296, (count, 3, SIZE, SIZE), generator=draw).clamp(0, 255).to(torch.uint8)
    return images, torch.randint(0, CLASSES, (count,), generator=draw)

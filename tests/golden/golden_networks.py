"""Three small seeded networks that hold everything a backward rule can meet, and SqueezeNet as it ships."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

import linbp

CLASSES, SIZE = 10, 16


class Normed(nn.Sequential):
    """Convolution and batch norm."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, groups: int = 1, kernel: int = 3) -> None:
        convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(outputs))


class ResidualBlock(nn.Module):
    """Two convolutions beside an identity or a projection, the activation after the sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = Normed(inputs, outputs, stride), Normed(outputs, outputs)
        same = inputs == outputs and stride == 1
        self.skip = nn.Identity() if same else Normed(inputs, outputs, stride, kernel=1)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.second(torch.relu(self.first(value))) + self.skip(value))


class Residual(nn.Module):
    """A stem with a max-pool and three residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Normed(3, 8), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1))
        self.early = ResidualBlock(8, 8, 1)
        self.late = nn.Sequential(ResidualBlock(8, 12, 2), ResidualBlock(12, 12, 1))
        self.head = nn.Linear(12, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.late(self.early(self.stem(images))).mean((2, 3)))


class Inverted(nn.Module):
    """An inverted residual block: expansion, depthwise convolution, gate, projection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.expand, self.depth = Normed(channels, 2 * channels, kernel=1), Normed(2 * channels, 2 * channels, 1, 16)
        self.squeeze, self.project = nn.Linear(2 * channels, 2 * channels), Normed(2 * channels, channels, kernel=1)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        wide = functional.relu6(self.depth(functional.hardswish(self.expand(value))))
        gate = torch.sigmoid(self.squeeze(wide.mean((2, 3))))[:, :, None, None]
        return value + self.project(wide * gate)


class Mobile(nn.Module):
    """Inverted residuals, a concatenation and an average pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Normed(3, 8, 2), nn.ReLU6())
        self.early, self.late = Inverted(8), Inverted(8)
        self.left, self.right = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 3, padding=1)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.late(self.early(self.stem(images)))
        both = torch.cat([functional.relu(self.left(value)), functional.relu(self.right(value))], 1)
        return self.head(functional.avg_pool2d(both, 2).mean((2, 3)))


class TransformerBlock(nn.Module):
    """Attention and a GELU perceptron, each behind a layer norm and beside an identity."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.qkv, self.out = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm2, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        count, tokens, width = value.shape
        query, key, inner = self.qkv(self.norm1(value)).view(count, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, inner).transpose(1, 2).reshape(count, tokens, width)
        value = value + self.out(seen)
        return value + self.down(functional.gelu(self.up(self.norm2(value))))


class Transformer(nn.Module):
    """Patches, a class token and two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 4, 4)
        self.token, self.places = nn.Parameter(torch.zeros(1, 1, 16)), nn.Parameter(torch.zeros(1, 17, 16))
        self.early, self.late = TransformerBlock(16, 2), TransformerBlock(16, 4)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.stem(images).flatten(2).transpose(1, 2)
        value = torch.cat([self.token.expand(images.shape[0], -1, -1), patches], 1) + self.places
        return self.head(self.norm(self.late(self.early(value)))[:, 0])


def seeded(build: Callable[[], nn.Module], seed: int, dtype: torch.dtype) -> nn.Module:
    """A module with every tensor drawn from a seed, in float32 precision whatever the dtype."""
    module, draw = build().eval(), torch.Generator().manual_seed(seed)
    for name, tensor in sorted(module.state_dict().items()):
        if not tensor.is_floating_point():
            continue
        fresh = torch.randn(tensor.shape, generator=draw)
        if name.endswith("running_var"):
            fresh = 0.5 + fresh.abs()
        elif tensor.ndim > 1:
            fresh = fresh * (2 / tensor[0].numel()) ** 0.5
        elif name.endswith("weight"):
            fresh = 0.8 + 0.2 * fresh
        else:
            fresh = 0.1 * fresh
        tensor.copy_(fresh)
    return module.to(dtype)


BUILDERS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "residual": (Residual, 101),
    "mobile": (Mobile, 102),
    "transformer": (Transformer, 103),
}
PLACES = {
    "residual": {"first": "stem", "second": "early", "third": "late.0"},
    "mobile": {"first": "stem", "second": "early", "third": "late"},
    "transformer": {"first": "early.norm1", "second": "early", "third": "late"},
    "squeezenet": {"first": "features.3", "second": "features.5", "third": "features.8"},
}
"""Module paths that a recipe of each network may name."""


@functools.cache
def model(name: str, dtype: torch.dtype) -> linbp.Model:
    """One of the networks as a model."""
    if name == "squeezenet":
        shipped = linbp.load_model("demo:squeezenet1_1")
        module = shipped.module.to(dtype)
        return linbp.Model(module, input_size=(3, 112, 112), mean=shipped.mean, std=shipped.std, name=name)
    build, seed = BUILDERS[name]
    module = seeded(build, seed, dtype)
    return linbp.Model(module, input_size=(3, SIZE, SIZE), mean=(0.5,) * 3, std=(0.25,) * 3, name=name)


@functools.cache
def surrogate(name: str, dtype: torch.dtype) -> linbp.Surrogate:
    """One of the networks, captured."""
    return linbp.Surrogate(model(name, dtype))


def images_of(name: str, count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Seeded uint8 images with coarse and fine structure and extremes, and labels."""
    size = model(name, torch.float64).input_size[1]
    draw = torch.Generator().manual_seed(1000 + seed)
    coarse = torch.randint(-40, 296, (count, 3, size // 8, size // 8), generator=draw)
    fine = torch.randint(-25, 26, (count, 3, size, size), generator=draw)
    images = (coarse.repeat_interleave(8, 2).repeat_interleave(8, 3) + fine).clamp(0, 255).to(torch.uint8)
    classes = 1000 if name == "squeezenet" else CLASSES
    return images, torch.randint(0, classes, (count,), generator=draw)


def residual() -> linbp.Model:
    """For `file:` on the command line."""
    return model("residual", torch.float64)

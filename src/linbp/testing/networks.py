"""Small networks and images on which a part can be tried in milliseconds."""

from __future__ import annotations

import functools

import torch
from torch import nn

from linbp.attack.pool import Pool
from linbp.graph import Surrogate
from linbp.models import Model

__all__ = ["CLASSES", "SIZE", "Turning", "images_and_labels", "mixing_pool", "small_surrogate"]

SIZE, CLASSES, COUNT = 12, 5, 4


class Attending(nn.Module):
    """A stem, a max-pool, two residual blocks, attention over what they leave, and a head: a place for every rule."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.blocks = nn.Sequential(Block(), Block())
        self.attention = Attention()
        self.head = nn.Linear(8 * (SIZE // 2) ** 2, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.blocks(self.pool(torch.relu(self.stem(images))))
        tokens = self.attention(maps.flatten(2).transpose(1, 2))
        logits: torch.Tensor = self.head(tokens.flatten(1))
        return logits


class Block(nn.Module):
    """conv, ReLU, conv, sum, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(maps + self.conv2(torch.relu(self.conv1(maps))))


class Attention(nn.Module):
    """One head of attention beside a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mixed = nn.functional.scaled_dot_product_attention(self.query(tokens), self.key(tokens), self.value(tokens))
        return tokens + mixed


class Turning(Model):
    """Networks of one architecture that take turns, as versions of one network's weights do.

    Args:
        members: the networks.
    """

    def __init__(self, *members: Model) -> None:
        super().__init__(members[0].module, **members[0].preprocessing_arguments, name="turning")
        self.members, self.turns = members, len(members)

    def of_turn(self, number: int) -> Model:
        """The network whose turn it is."""
        return self.members[number]


@functools.cache
def small_surrogate(seed: int = 0, dtype: torch.dtype = torch.float64) -> Surrogate:
    """The network with weights of a seed, captured once; its gradient changes from step to step."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        module = Attending()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(2)
    model = Model(
        module.to(dtype), input_size=(3, SIZE, SIZE), mean=(0.5,) * 3, std=(0.25,) * 3, name=f"small-network-{seed}"
    )
    return Surrogate(model)


def images_and_labels(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (4, 3, 12, 12) in uint8, black and white values among them, and labels."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.randint(-60, 316, (COUNT, 3, SIZE, SIZE), generator=draw).clamp(0, 255).to(torch.uint8)
    return images, torch.arange(COUNT) % CLASSES


def mixing_pool() -> Pool:
    """Images to mix in, for parts that do."""
    return Pool(*images_and_labels(seed=1))

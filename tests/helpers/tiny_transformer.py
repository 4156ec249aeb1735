"""A vision transformer in float64 that a test can attack in milliseconds, with hooks wherever a rule acts."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tiny_networks import CLASSES, SIZE
from torch import nn
from torch.nn import functional

import linbp

__all__ = ["DEPTH", "HEADS", "WIDTH", "Block", "Hook", "TinyTransformer", "gelu", "tiny_transformer"]

PATCH, WIDTH, HEADS, DEPTH = 4, 8, 2, 4
TOKENS = (SIZE // PATCH) ** 2 + 1
Hook = Callable[[str, int, torch.Tensor], torch.Tensor]
"""From the name of a place, the block's number and a tensor to the tensor that goes on."""


def as_it_is(place: str, block: int, value: torch.Tensor) -> torch.Tensor:
    return value


class Block(nn.Module):
    """Attention and MLP, each beside a skip and behind a layer norm."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.hook: Hook = as_it_is

    def at(self, place: str, value: torch.Tensor) -> torch.Tensor:
        return self.hook(place, self.number, value)

    def mlp(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.at("gelu", self.fc1(self.norm2(tokens))))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        batch, count, _ = tokens.shape
        qkv = self.at("qkv", self.qkv(self.norm1(tokens)))
        query, key, value = qkv.reshape(batch, count, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        logits = self.at("logits", (query * (WIDTH // HEADS) ** -0.5) @ key.transpose(-2, -1))
        mixed = (logits.softmax(-1) @ value).transpose(1, 2).reshape(batch, count, WIDTH)
        tokens = tokens + self.proj(mixed)
        return self.at("output", tokens + self.at("mlp", self.mlp(self.at("start", tokens))))


class TinyTransformer(nn.Module):
    """Patches of 4 x 4 and a class token, through some blocks; the head reads the class token."""

    def __init__(self, depth: int = DEPTH) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.token, self.places = nn.Parameter(torch.randn(1, 1, WIDTH)), nn.Parameter(torch.randn(1, TOKENS, WIDTH))
        self.blocks = nn.Sequential(*(Block(number) for number in range(depth)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.token.expand(images.shape[0], -1, -1), patches], 1) + self.places
        return self.head(self.norm(self.blocks(tokens))[:, 0])

    def hooked(self, hook: Hook) -> TinyTransformer:
        """The same network with a hook at each place; `gelu` stands where the activation is."""
        for block in self.blocks:
            block.hook = hook
        return self


def gelu(place: str, block: int, value: torch.Tensor) -> torch.Tensor:
    return functional.gelu(value) if place == "gelu" else value


def tiny_transformer(depth: int = DEPTH, dtype: torch.dtype = torch.float64) -> linbp.Model:
    """One with seeded weights; attention is far from uniform."""
    with torch.random.fork_rng():
        torch.manual_seed(11)
        module = TinyTransformer(depth).hooked(gelu)
    with torch.no_grad():
        for block in module.blocks:
            block.qkv.weight.mul_(4)
    settings = {"input_size": (3, SIZE, SIZE), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return linbp.Model(module.to(dtype), **settings, name="transformer")  # type: ignore[arg-type]

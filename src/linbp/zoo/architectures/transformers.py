"""Small vision transformers, of timm's blocks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from linbp.zoo.architectures.registry import CLASSES, INPUT_SIZE, architecture, initialise, scaled

__all__ = ["ConvolutionalStem", "EarlyConvolutions", "cct2_3x2", "cct7_3x2", "vit", "vit_c"]

HEAD = 64
"""Channels of one attention head."""


class ConvolutionalStem(nn.Module):
    """Tokens from two 3 x 3 convolutions, each with ReLU and a max-pool: 64 tokens of images of 32 x 32 pixels.

    It takes what timm gives a patch embedding and ignores all but the number of channels.
    """

    def __init__(self, embed_dim: int, **_: Any) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inside, outside in ((3, embed_dim // 2), (embed_dim // 2, embed_dim)):
            convolution = nn.Conv2d(inside, outside, 3, padding=1, bias=False)
            layers += [convolution, nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        self.layers = nn.Sequential(*layers)
        self.num_patches = (INPUT_SIZE[1] // 4) ** 2
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (N, 64, channels) of images (N, 3, 32, 32)."""
        tokens: torch.Tensor = self.layers(x).flatten(2).transpose(1, 2)
        return tokens


class EarlyConvolutions(nn.Module):
    """Tokens from three 3 x 3 convolutions with batch norms, two of stride 2, and a 1 x 1 one: 64 of 32 x 32 pixels.

    It takes what timm gives a patch embedding and ignores all but the number of channels.
    """

    def __init__(self, embed_dim: int, **_: Any) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inside = 3
        for outside, stride in ((embed_dim // 4, 1), (embed_dim // 2, 2), (embed_dim, 2)):
            convolution = nn.Conv2d(inside, outside, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(outside), nn.ReLU(inplace=True)]
            inside = outside
        self.layers = nn.Sequential(*layers, nn.Conv2d(embed_dim, embed_dim, 1))
        self.num_patches = (INPUT_SIZE[1] // 4) ** 2
        initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Tokens (N, 64, channels) of images (N, 3, 32, 32)."""
        tokens: torch.Tensor = self.layers(x).flatten(2).transpose(1, 2)
        return tokens


def _transformer(depth: int, channels: int, mlp_ratio: float, **options: Any) -> nn.Module:
    from timm.models.vision_transformer import VisionTransformer  # seconds that only this needs

    return VisionTransformer(
        INPUT_SIZE[1],
        patch_size=4,
        num_classes=CLASSES,
        global_pool="avg",
        class_token=False,
        embed_dim=channels,
        depth=depth,
        num_heads=channels // HEAD,
        mlp_ratio=mlp_ratio,
        **options,
    )


@architecture("vit")
def vit(width: float) -> nn.Module:
    """A small ViT: 7 blocks of 384 channels on patches of 4 x 4 pixels (Dosovitskiy et al., 2010.11929)."""
    return _transformer(7, scaled(384, width, HEAD), 2)


@architecture("cct7_3x2")
def cct7_3x2(width: float) -> nn.Module:
    """A compact convolutional transformer: two convolutions, 7 blocks of 256 channels (Hassani et al., 2104.05704)."""
    return _transformer(7, scaled(256, width, HEAD), 2, embed_layer=ConvolutionalStem)


@architecture("cct2_3x2")
def cct2_3x2(width: float) -> nn.Module:
    """A smaller one: two convolutions, 2 blocks of 128 channels (Hassani et al., 2104.05704)."""
    return _transformer(2, scaled(128, width, HEAD), 1, embed_layer=ConvolutionalStem)


@architecture("vit_c")
def vit_c(width: float) -> nn.Module:
    """A small ViT behind convolutions, as in ViT_C: 4 blocks of 128 channels (Xiao et al., 2106.14881)."""
    return _transformer(4, scaled(128, width, HEAD), 2, embed_layer=EarlyConvolutions)

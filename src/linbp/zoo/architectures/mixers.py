"""Networks that mix places and channels in turn: MLP-Mixer and ConvMixer, of timm's blocks."""

from __future__ import annotations

from torch import nn

from linbp.zoo.architectures.registry import CLASSES, INPUT_SIZE, architecture, scaled

__all__ = ["convmixer256_8", "mixer"]


@architecture("mixer")
def mixer(width: float) -> nn.Module:
    """MLP-Mixer: 8 blocks of 256 channels on patches of 4 x 4 pixels (Tolstikhin et al., 2105.01601)."""
    from timm.models.mlp_mixer import MlpMixer  # seconds that only this needs

    return MlpMixer(
        num_classes=CLASSES, img_size=INPUT_SIZE[1], patch_size=4, num_blocks=8, embed_dim=scaled(256, width, 16)
    )


@architecture("convmixer256_8")
def convmixer256_8(width: float) -> nn.Module:
    """ConvMixer-256/8: patches of 2 x 2 pixels, depthwise 5 x 5 convolutions (Trockman, Kolter, 2201.09792)."""
    from timm.models.convmixer import ConvMixer

    return ConvMixer(scaled(256, width), 8, kernel_size=5, patch_size=2, num_classes=CLASSES)

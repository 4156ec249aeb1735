"""Folders as `save_pretrained` of transformers writes them, with tiny untrained networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging

__all__ = ["ATTACKED", "CLASSES", "FAMILIES", "pipeline_logits", "save"]

CLASSES = ("tench", "goldfish", "shark", "ray", "cock")
LABELS: dict[str, Any] = {
    "id2label": dict(enumerate(CLASSES)),
    "label2id": {name: number for number, name in enumerate(CLASSES)},
}
BLOCKS: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 32, "patch_size": 8}
WIDE: dict[str, Any] = {**BLOCKS, "hidden_size": 32, "intermediate_size": 64}


def vit() -> Any:
    return transformers.ViTForImageClassification(transformers.ViTConfig(**WIDE, **LABELS))


def deit() -> Any:
    return transformers.DeiTForImageClassificationWithTeacher(transformers.DeiTConfig(**WIDE, **LABELS))


def swin() -> Any:
    sizes = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2]}
    return transformers.SwinForImageClassification(transformers.SwinConfig(**sizes, window_size=4, **LABELS))


def convnext() -> Any:
    sizes = {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "image_size": 32}
    return transformers.ConvNextForImageClassification(transformers.ConvNextConfig(**sizes, **LABELS))


def resnet() -> Any:
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "layer_type": "basic"}
    return transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes, **LABELS))


def beit() -> Any:
    config = transformers.BeitConfig(**WIDE, use_relative_position_bias=True, **LABELS)
    return transformers.BeitForImageClassification(config)


def dinov2() -> Any:
    config = transformers.Dinov2Config(**BLOCKS, hidden_size=32, mlp_ratio=2, **LABELS)
    return transformers.Dinov2ForImageClassification(config)


def mobilevit() -> Any:
    sizes = {"hidden_sizes": [16, 24, 32], "neck_hidden_sizes": [8, 8, 16, 16, 16, 16, 32], "image_size": 32}
    return transformers.MobileViTForImageClassification(transformers.MobileViTConfig(**sizes, **LABELS))


def efficientnet() -> Any:
    sizes: dict[str, Any] = {
        "width_coefficient": 0.2,
        "depth_coefficient": 0.1,
        "depth_divisor": 4,
        "image_size": 32,
        "hidden_dim": 256,
    }
    return transformers.EfficientNetForImageClassification(transformers.EfficientNetConfig(**sizes, **LABELS))


SQUARE = {"height": 32, "width": 32}
CROP: dict[str, Any] = {"do_center_crop": True, "crop_size": SQUARE}
FAMILIES: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
    "vit": (vit, lambda: transformers.ViTImageProcessor(size=SQUARE)),
    "deit": (deit, lambda: transformers.DeiTImageProcessor(size={"height": 37, "width": 37}, **CROP)),
    "swin": (swin, lambda: transformers.ViTImageProcessor(size=SQUARE, resample=3, image_mean=[0.4, 0.5, 0.6])),
    "convnext": (convnext, lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 32}, crop_pct=0.875)),
    "resnet": (resnet, lambda: transformers.ConvNextImageProcessor(size={"shortest_edge": 384})),
    "beit": (beit, lambda: transformers.BeitImageProcessor(size=SQUARE, do_center_crop=False, rescale_factor=1 / 127)),
    "dinov2": (dinov2, lambda: transformers.BitImageProcessor(size={"shortest_edge": 36}, **CROP)),
    "mobilevit": (mobilevit, lambda: transformers.MobileViTImageProcessor(size={"shortest_edge": 36}, **CROP)),
    "efficientnet": (
        efficientnet,
        lambda: transformers.EfficientNetImageProcessor(
            size=SQUARE, do_center_crop=False, rescale_factor=1 / 127.5, rescale_offset=True, resample=2
        ),
    ),
}
"""Of each family, its network and its processor: with the ways to resize, crop and scale that processors have."""
ATTACKED = ("vit", "deit", "swin", "convnext", "resnet", "beit", "dinov2")


def save(folder: Path, network: Any, processor: Any = None) -> Path:
    """Write what there is, with weights so large that logits depend on the image."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        wide = max(1, parameter[0].numel()) if parameter.ndim > 1 else 100
        noise = torch.randn(parameter.shape, generator=generator) * (2 / wide) ** 0.5
        parameter.data = (noise if parameter.ndim > 1 else parameter.data + noise).to(parameter.dtype)
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = None
    if norms:  # their statistics are those of a batch
        network.train()(pixel_values=torch.rand(8, 3, 32, 32, generator=generator))
    logging.disable_progress_bar()
    network.eval().save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return folder


def pipeline_logits(folder: Path, levels: Any) -> torch.Tensor:
    """What transformers itself answers for levels (H, W, 3)."""
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    network = transformers.AutoModelForImageClassification.from_pretrained(folder)
    with torch.no_grad():
        logits: torch.Tensor = network(
            **processor(levels, return_tensors="pt", input_data_format="channels_last")
        ).logits
    return logits

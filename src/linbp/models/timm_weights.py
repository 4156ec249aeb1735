"""What timm says of a network's weights: preprocessing, crop and classes."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Iterator, Mapping
from typing import Any

from timm.data.config import resolve_data_config
from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset
from torch import nn

from linbp.models.centre_crop import CentreCrop, read_crop
from linbp.models.model import Model

__all__ = ["class_names_of", "crop_of", "quiet", "with_preprocessing"]


def with_preprocessing(
    module: nn.Module, name: str, source: Mapping[str, Any], names: tuple[str, ...], given: Mapping[str, Any]
) -> Model:
    """A network of timm with the preprocessing of its weights.

    Args:
        module: the network.
        name: what results call it.
        source: further facts for the results.
        names: of its classes, or nothing.
        given: preprocessing that counts more than that of the weights.
    """
    config = resolve_data_config({}, model=module)  # type: ignore[no-untyped-call]
    usual = {key: config[key] for key in ("input_size", "mean", "std", "interpolation")}
    model = Model(module, **{**usual, **given}, name=name, source=source)
    model.published_crop = crop_of(config)
    model.class_names = names
    return model


def class_names_of(module: nn.Module) -> tuple[str, ...]:
    """The names of published weights' classes, where timm has them: in their settings, or ImageNet's of that number."""
    usual: dict[str, Any] = module.pretrained_cfg  # type: ignore[assignment]
    names = usual.get("label_names")
    if names is None and (subset := infer_imagenet_subset(usual)):
        names = ImageNetInfo(subset).label_descriptions()
    return tuple(names) if names is not None and len(names) == usual["num_classes"] else ()


def crop_of(config: dict[str, Any]) -> CentreCrop | None:
    """timm's resizing and crop for these weights (`timm.data.transforms_imagenet_eval`); None where it pads instead."""
    size = config["input_size"][1:]
    height, width = (math.floor(side / config["crop_pct"]) for side in size)
    if config["crop_mode"] == "squash":
        return read_crop(size, (height, width))
    return read_crop(size, height) if config["crop_mode"] == "center" and height == width else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, timm and the hub's client log errors only."""
    loggers = [logging.getLogger(part) for part in ("timm", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

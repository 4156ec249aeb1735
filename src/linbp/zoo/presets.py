"""Settings for every architecture: narrow networks for two slow cores, full widths for a large GPU."""

from __future__ import annotations

from typing import Any, Literal, get_args

from linbp.errors import RecipeError, nearest_name
from linbp.zoo.architectures import find_architecture
from linbp.zoo.settings import Training

__all__ = ["PRESETS", "Preset", "preset"]

Preset = Literal["cpu", "gpu"]

_COMMON: dict[str, dict[str, Any]] = {
    "cpu": {"batch_size": 128, "precision": "full"},
    "gpu": {"batch_size": 512, "precision": "mixed"},
}
_ATTENTION: dict[str, Any] = {
    "optimizer": "adamw",
    "learning_rate": 1e-3,
    "weight_decay": 0.05,
}
"""For networks without batch norm, which SGD trains badly."""
_SOURCE: dict[str, Any] = {"label_smoothing": 0.0, "unshifted": 0.25}
"""For networks that attacks start from: they fit the training images closely, and keep a slope (docs/zoo.md)."""
_LONG: dict[str, Any] = {"cutmix": 0.5, "average": 4.0}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "cpu": {
        "vgg19_bn": {"width": 0.3125, "epochs": 64, **_SOURCE},
        "resnet18": {"width": 0.25, "epochs": 24},
        "wrn16_8": {"width": 0.1875, "epochs": 20},
        "mobilenet_v2": {"width": 0.5, "epochs": 28},
        "plain": {"width": 0.5, "epochs": 20},
        "cct2_3x2": {"width": 1.0, "epochs": 20, **_ATTENTION},
        "vit_c": {"width": 1.0, "epochs": 28, **_ATTENTION},
        "preact_resnet18": {"width": 0.09375, "epochs": 30},
        "resnet50": {"width": 0.125, "epochs": 24, **_SOURCE},
        "convmixer256_8": {"width": 0.4375, "epochs": 12, **_ATTENTION, "learning_rate": 5e-3},
        "densenet_bc40_12": {"width": 1.0, "epochs": 9},
        "pyramidnet110_a84": {"width": 0.25, "epochs": 10},
        "resnext29_8x64d": {"width": 0.0625, "epochs": 8},
        "mixer": {"width": 0.125, "epochs": 16, **_ATTENTION},
    },
    "gpu": {
        "vgg19_bn": {"epochs": 60, "learning_rate": 0.03, **_SOURCE},  # 0.1 is too high (docs/cifar10-wide.md)
        "resnet18": {"epochs": 40},
        "preact_resnet18": {"epochs": 40},
        "resnet50": {"epochs": 40, **_SOURCE},
        "wrn16_8": {"epochs": 40},
        "wrn28_10": {"epochs": 20, "batch_size": 256},
        "resnext29_8x64d": {"epochs": 14, "batch_size": 256},
        "densenet_bc190_40": {"epochs": 6, "batch_size": 128},
        "densenet_bc100_12": {"epochs": 40, "batch_size": 256},
        "pyramidnet272_a200": {"epochs": 6, "batch_size": 128},
        "pyramidnet110_a84": {"epochs": 20, "batch_size": 256},
        "mobilenet_v2": {"epochs": 60},
        "plain": {"epochs": 60},
        "convmixer256_8": {"epochs": 60, **_ATTENTION, "learning_rate": 5e-3},
        "mixer": {"epochs": 200, **_ATTENTION, **_LONG},
        "vit": {"epochs": 200, **_ATTENTION, **_LONG},
        "cct7_3x2": {"epochs": 200, **_ATTENTION, **_LONG},
    },
}
"""What differs from the defaults of `Training`, for each preset and architecture; `--all` trains them in this order."""


def preset(name: str, architecture: str, **changes: Any) -> Training:
    """The settings of a preset for an architecture.

    Args:
        name: `cpu` (24 to 114 minutes a network on one core with bfloat16 instructions) or `gpu` (for a large one).
        architecture: to train.
        changes: settings that take the place of the preset's; those that are None are left as they are.

    Raises:
        RecipeError: no such preset, or none for this architecture without a width and epochs.
        ModelError: no such architecture.
    """
    find_architecture(architecture)
    if name not in get_args(Preset):
        raise RecipeError(f"There is no preset {name!r}.", nearest_name(name, get_args(Preset)))
    given = {key: value for key, value in changes.items() if value is not None}
    own = PRESETS[name].get(architecture)
    if own is None:
        if not {"width", "epochs"} <= given.keys():
            raise RecipeError(
                f"{architecture} has no settings in the preset {name}.",
                f"Give --width and --epochs too, or train one of: {', '.join(PRESETS[name])}.",
            )
        own = {}
    return Training(architecture=architecture, **{**_COMMON[name], **own, **given})

"""What the demonstrations attack, with what, and on which victims."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from linbp.models.demo import DemoImages, cifar10_images, demo_images

__all__ = ["CIFAR10", "IMAGENET", "Demonstration"]

FEW = (
    "Twenty images are few: the 95% intervals are wide, and recipes whose intervals overlap may be equally good. "
    "Rates count the images that the network gets right when they are clean."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demonstration:
    """One demonstration.

    Attributes:
        surrogate: network that the adversarial images are made on.
        victims: networks that classify them.
        words: what people call each of these networks.
        recipes: folder of each recipe's adversarial images, and the recipe.
        levels: the radius of all attacks, of 255 levels.
        steps: of each attack, one level each.
        images: loads the twenty images.
        remark: what to keep in mind when reading the table.
    """

    surrogate: str
    victims: tuple[str, ...]
    words: dict[str, str]
    recipes: dict[str, str]
    levels: int
    steps: int
    images: Callable[[], DemoImages]
    remark: str = FEW


def _recipes(start: str) -> dict[str, str]:
    """I-FGSM, MI-FGSM, MDI2-FGSM, LinBP, and LinBP with both."""
    return {
        "ifgsm": "ifgsm",
        "mifgsm": "mifgsm",
        "mdi2fgsm": "mdi2fgsm",
        "linbp": f"linbp(start={start})",
        "linbp-mi-di": f"linbp(start={start}) + mi + di",
    }


IMAGENET = Demonstration(
    surrogate="demo:squeezenet1_1",
    victims=("demo:efficientnet_lite0", "demo:efficientnet_lite1", "demo:efficientnet_lite2"),
    words={
        "demo:squeezenet1_1": "SqueezeNet 1.1",
        "demo:efficientnet_lite0": "EfficientNet-Lite0",
        "demo:efficientnet_lite1": "EfficientNet-Lite1",
        "demo:efficientnet_lite2": "EfficientNet-Lite2",
    },
    recipes=_recipes("3"),
    levels=16,
    steps=50,
    images=demo_images,
)
"""Photographs of ImageNet, on SqueezeNet."""

CIFAR10 = Demonstration(
    surrogate="demo:cifar10/vgg19_bn",
    victims=("demo:cifar10/resnet18", "demo:cifar10/wrn16_8", "demo:cifar10/plain"),
    words={
        "demo:cifar10/vgg19_bn": "VGG-19-BN",
        "demo:cifar10/resnet18": "ResNet-18",
        "demo:cifar10/wrn16_8": "WRN-16",
        "demo:cifar10/plain": "plain chain",
    },
    recipes=_recipes("default"),
    levels=4,
    steps=100,
    images=cifar10_images,
)
"""Images of CIFAR-10, on the paper's source network from the paper's position."""

"""Architectures for CIFAR-10, one family a file."""

from linbp.zoo.architectures import (  # noqa: F401  (each registers its architectures)
    densenet,
    mixers,
    mobilenet,
    plain,
    preact,
    pyramidnet,
    resnet,
    transformers,
    vgg,
)
from linbp.zoo.architectures.activation import Activation
from linbp.zoo.architectures.registry import (
    ARCHITECTURES,
    CLASS_NAMES,
    CLASSES,
    INPUT_SIZE,
    MEAN,
    STD,
    Architecture,
    build,
    count_parameters,
    find_architecture,
)

__all__ = [
    "ARCHITECTURES",
    "CLASSES",
    "CLASS_NAMES",
    "INPUT_SIZE",
    "MEAN",
    "STD",
    "Activation",
    "Architecture",
    "build",
    "count_parameters",
    "find_architecture",
]

"""Well-known networks with random weights, captured once for all tests of their structure."""

from __future__ import annotations

import functools
from collections.abc import Callable

import timm
import torch
import torchvision
from torch import nn

from linbp import Model, Surrogate

Build = Callable[[], nn.Module]


def inside(build: Build) -> Build:
    """The network behind another module, as user code often has it."""
    return lambda: nn.Sequential(nn.Identity(), build())


class Vgg(nn.Module):
    """VGG with a small classifier, of one layer as for CIFAR-10, or with two activations as for ImageNet."""

    def __init__(self, letter: str, batch_norm: bool, layers: int) -> None:
        super().__init__()
        self.features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs[letter], batch_norm=batch_norm)
        hidden = [layer for _ in range(layers - 1) for layer in (nn.Linear(512, 512), nn.ReLU())]
        self.classifier = nn.Sequential(*hidden, nn.Linear(512, 10))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(self.features(images).flatten(1))
        return logits


def vgg(letter: str, *, batch_norm: bool, layers: int) -> Build:
    return lambda: Vgg(letter, batch_norm, layers)


def cifar_resnet50() -> nn.Module:
    network = torchvision.models.resnet50(num_classes=10)
    network.conv1, network.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return network


def resnet50() -> nn.Module:
    return torchvision.models.resnet50(num_classes=10)


def inception(name: str) -> Build:
    if name == "timm":
        return lambda: timm.create_model("inception_v3", num_classes=10)
    return lambda: torchvision.models.inception_v3(num_classes=10, init_weights=False)


def small(name: str, **options: int) -> Build:
    return lambda: timm.create_model(name, num_classes=10, **options)


NETWORKS: dict[str, tuple[Build, int]] = {
    "VGG-19-BN for CIFAR-10": (vgg("E", batch_norm=True, layers=1), 32),
    "VGG-19-BN": (vgg("E", batch_norm=True, layers=3), 32),
    "VGG-19": (vgg("E", batch_norm=False, layers=3), 32),
    "VGG-16-BN": (vgg("D", batch_norm=True, layers=3), 32),
    "ResNet-18": (lambda: torchvision.models.resnet18(num_classes=10), 32),
    "ResNet-34": (lambda: torchvision.models.resnet34(num_classes=10), 32),
    "ResNet-50": (resnet50, 32),
    "ResNet-50 inside another module": (inside(resnet50), 32),
    "ResNet-50 of timm": (small("resnet50"), 32),
    "ResNet-50 for CIFAR-10": (cifar_resnet50, 32),
    "Wide ResNet-50": (lambda: torchvision.models.wide_resnet50_2(num_classes=10), 32),
    "SE-ResNet-50": (small("seresnet50"), 32),
    "MobileNet v2": (lambda: torchvision.models.mobilenet_v2(num_classes=10), 32),
    "SqueezeNet": (lambda: torchvision.models.squeezenet1_1(num_classes=10), 32),
    "Inception v3": (inception("torchvision"), 139),
    "Inception v3 of timm": (inception("timm"), 80),
    "DenseNet-121": (lambda: torchvision.models.densenet121(num_classes=10), 32),
    "DenseNet-121 of timm": (small("densenet121"), 32),
    "ViT": (small("vit_tiny_patch16_224", img_size=32), 32),
    "ViT of torchvision": (
        lambda: torchvision.models.VisionTransformer(32, 16, 12, 2, 32, 64, num_classes=10),
        32,
    ),
    "DeiT3": (small("deit3_small_patch16_224", img_size=32), 32),
    "Mixer": (small("mixer_b16_224", img_size=32), 32),
    "ConvNeXt-B": (small("convnext_base"), 32),
    "ConvNeXt-S": (small("convnext_small"), 32),
    "Swin-B": (small("swin_base_patch4_window7_224", img_size=64, window_size=2), 64),
}
"""Builder of a network with ten classes, and the size of its images."""


@functools.cache
def captured(name: str) -> Surrogate:
    """One of the networks, with its batch norms."""
    build, size = NETWORKS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build().eval()
    model = Model(module, input_size=(3, size, size))
    return Surrogate(model, fold_batch_norm=False, memory_format="contiguous", cache=False)

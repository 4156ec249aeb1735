"""Capture equals the module, forward and backward, on networks of many families with random weights.

In float64, on a small input, on a batch of another size than the export's, and image by image. Deep networks have
fewer blocks than published: every kind of block stays.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import pytest
import timm
import torch
import torchvision
from exhaustive import marked
from torch import nn
from torch.nn import functional

from linbp import LinBP, Model, Surrogate
from linbp.errors import RuleError

CLASSES = 10
TOLERANCE = 1e-9


def vgg11_bn() -> nn.Module:
    """torchvision's features; its classifier of 100 million weights adds nothing."""
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["A"], batch_norm=True)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, CLASSES))


def alexnet() -> nn.Module:
    """torchvision's, with narrow linear layers."""
    module = torchvision.models.alexnet()
    layers = module.classifier
    layers[1], layers[4], layers[6] = nn.Linear(256 * 36, 64), nn.Linear(64, 64), nn.Linear(64, CLASSES)
    return module


def densenet() -> nn.Module:
    """torchvision's, with two layers a block."""
    return torchvision.models.DenseNet(
        growth_rate=16, block_config=(2, 2, 2, 2), num_init_features=32, num_classes=CLASSES
    )


class Later(nn.Module):
    """In place of a cell of PNASNet: the later of its two inputs."""

    def forward(self, earlier: torch.Tensor, later: torch.Tensor) -> torch.Tensor:
        return later


def pnasnet() -> nn.Module:
    """timm's, without those cells that repeat the one in front of them."""
    module = timm.create_model("pnasnet5large", pretrained=False, num_classes=CLASSES)
    for number in (1, 2, 3, 6, 7, 10, 11):
        setattr(module, f"cell_{number}", Later())
    return module


TIMM: dict[str, tuple[int, dict[str, Any]]] = {
    "resnet18": (64, {}),
    "resnetv2_18": (64, {}),  # pre-activation
    "resnext26ts": (64, {}),
    "nf_resnet26": (64, {}),  # standardised weights
    "eca_nfnet_l0": (64, {"drop_path_rate": 0.0}),
    "inception_v3": (80, {}),
    "seresnet18": (64, {}),
    "legacy_seresnet18": (64, {}),
    "skresnet18": (64, {}),
    "resnest14d": (64, {}),
    "res2net50_14w_8s": (64, {"layers": [1, 1, 1, 1]}),
    "dpn48b": (64, {"k_sec": (1, 2, 2, 1)}),
    "hrnet_w18_small": (64, {}),
    "dla46_c": (64, {}),
    "ese_vovnet19b_slim": (64, {}),
    "regnetx_002": (64, {}),
    "regnety_002": (64, {}),
    "repvgg_a0": (64, {}),
    "tinynet_e": (64, {}),  # EfficientNet
    "tf_efficientnet_lite0": (64, {}),
    "mobilenetv3_small_050": (64, {}),
    "ghostnet_050": (64, {}),
    "lcnet_050": (64, {}),
    "fasternet_t0": (64, {}),
    "convnext_atto": (64, {}),
    "edgenext_xx_small": (64, {}),
    "mobilevit_xxs": (64, {}),
    "poolformer_s12": (64, {}),
    "vit_tiny_patch16_224": (64, {"img_size": 64}),
    "deit_tiny_distilled_patch16_224": (64, {"img_size": 64, "depth": 4}),
    "beit_base_patch16_224": (32, {"img_size": 32, "depth": 2}),
    "cait_xxs24_224": (64, {"img_size": 64, "depth": 4}),
    "xcit_nano_12_p16_224": (64, {"img_size": 64, "depth": 3}),
    "pit_ti_224": (64, {"img_size": 64}),
    "swin_tiny_patch4_window7_224": (56, {"img_size": 56, "depths": (2, 2, 2), "num_heads": (3, 6, 12)}),
    "maxvit_rmlp_pico_rw_256": (64, {"img_size": 64, "depths": (1, 1, 1, 1)}),
    "coat_lite_tiny": (64, {"img_size": 64}),
    "pvt_v2_b0": (64, {}),
    "levit_128s": (224, {"depth": (1, 1, 1)}),  # takes no other size
    "mixer_s32_224": (64, {"img_size": 64}),
    "resmlp_12_224": (64, {"img_size": 64}),
}
"""Size of the input, and what else the builder takes, by timm's name; the same for torchvision's."""

TORCHVISION: dict[str, tuple[int, dict[str, Any]]] = {
    "squeezenet1_1": (64, {}),
    "googlenet": (64, {"init_weights": False}),
    "inception_v3": (80, {"init_weights": False}),
    "shufflenet_v2_x0_5": (64, {}),
    "mobilenet_v2": (64, {}),
    "mnasnet0_5": (64, {}),
    "regnet_y_400mf": (64, {}),
}

SMALLER: dict[str, tuple[int, Callable[[], nn.Module]]] = {
    "alexnet": (64, alexnet),
    "densenet": (64, densenet),
    "pnasnet": (48, pnasnet),
    "vgg11_bn": (32, vgg11_bn),
}
"""Size of the input, and the builder."""


def shaken(module: nn.Module) -> nn.Module:
    """Weights that let gradients through: many networks start with branches of gain zero, or statistics of a rest."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if not tensor.is_floating_point():
                continue
            noise = torch.randn(tensor.shape, generator=draw)
            if name.endswith("running_mean"):
                tensor.copy_(0.1 * noise)
            elif name.endswith("running_var"):
                tensor.copy_(0.75 + 0.5 * torch.rand(tensor.shape, generator=draw))
            elif tensor.ndim < 2:
                tensor.copy_(1 + 0.2 * noise if name.endswith("weight") else tensor + 0.1 * noise)
            elif not tensor.any():
                tensor.copy_(0.02 * noise)
    return module.double().eval()


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Relative L2 difference."""
    return float((found - expected).norm() / expected.norm())


def check(module: nn.Module, size: int) -> None:
    """Forward, backward, one image alone, and LinBP from the middle on."""
    images = torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    labels = torch.tensor([1, 2, 3])
    surrogate = Surrogate(Model(module, input_size=(3, size, size), mean=(0.4,) * 3, std=(0.3,) * 3), cache=False)

    leaf = images.clone().requires_grad_()
    logits = module((leaf - 0.4) / 0.3)
    (expected,) = torch.autograd.grad(functional.cross_entropy(logits, labels, reduction="sum"), leaf)
    assert surrogate.classes == CLASSES
    assert error(surrogate.logits(images), logits.detach()) < TOLERANCE
    assert error(surrogate.gradient(images, labels), expected) < TOLERANCE
    assert error(surrogate.gradient(images[:1], labels[:1]), expected[:1]) < TOLERANCE

    assert surrogate.sites
    try:
        linear = surrogate.with_rule(LinBP(start=0.5))
    except RuleError:  # RepVGG has no activation but those after sums
        assert {site.kind for site in surrogate.sites} == {"after a sum"}
        linear = surrogate.with_rule(LinBP(start=0.5, sites="all"))
    changed = linear.gradient(images, labels)
    assert bool(torch.isfinite(changed).all())
    assert error(changed, expected) > 1e-7
    assert error(linear.gradient(images[1:2], labels[1:2]), changed[1:2]) < TOLERANCE
    assert error(linear.run(images).detach(), logits.detach()) < TOLERANCE


ALWAYS = {
    "resnet18", "resnetv2_18", "mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224", "mixer_s32_224",
    "squeezenet1_1", "alexnet", "densenet",
}  # fmt: skip
"""One of each kind; the others are tried in continuous integration."""


def some(names: Collection[str]) -> list[Any]:
    """The names, those beyond one of each kind marked as exhaustive."""
    return marked(names, {*names} - ALWAYS)


@pytest.mark.slow
@pytest.mark.parametrize("name", some(TIMM))
def test_timm(name: str) -> None:
    size, options = TIMM[name]
    torch.manual_seed(0)
    check(shaken(timm.create_model(name, pretrained=False, num_classes=CLASSES, **options)), size)


@pytest.mark.slow
@pytest.mark.parametrize("name", some(TORCHVISION))
def test_torchvision(name: str) -> None:
    size, options = TORCHVISION[name]
    torch.manual_seed(0)
    check(shaken(torchvision.models.get_model(name, num_classes=CLASSES, **options)), size)


@pytest.mark.slow
@pytest.mark.parametrize("name", some(SMALLER))
def test_smaller(name: str) -> None:
    size, build = SMALLER[name]
    torch.manual_seed(0)
    check(shaken(build()), size)

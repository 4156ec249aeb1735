"""The architectures have the sizes and shapes of the literature, and capture agrees with each of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from exhaustive import marked
from torch import nn
from torch.nn import functional

from linbp import LinBP, Model, Surrogate
from linbp.errors import ModelError
from linbp.models import load_model
from linbp.zoo.architectures import ARCHITECTURES, INPUT_SIZE, build, count_parameters
from linbp.zoo.architectures.registry import architecture, scaled

MILLIONS = {
    "vgg19_bn": "20.04",
    "resnet18": "11.17",  # 11.27 with the 100 classes that are often counted
    "preact_resnet18": "11.17",
    "resnet50": "23.52",
    "wrn28_10": "36.5",  # Zagoruyko, Komodakis, table 4
    "wrn16_8": "11.0",  # the same table
    "resnext29_8x64d": "34.4",  # Xie et al., table 7
    "densenet_bc190_40": "25.6",  # Huang et al., table 2
    "densenet_bc100_12": "0.8",  # the same table
    "pyramidnet272_a200": "26.0",  # Han, Kim, Kim, table 4
    "convmixer256_8": "0.6",  # Trockman, Kolter, table of CIFAR-10, patches of 2 x 2 pixels and kernels of 5 x 5
    "cct2_3x2": "0.28",  # Hassani et al., table 1
}
"""Parameters at full width in millions, with the digits that the literature gives."""

JUNCTIONS = {
    "vgg19_bn": 0,
    "plain": 0,
    "densenet_bc40_12": 0,
    "densenet_bc100_12": 0,
    "resnet18": 8,
    "preact_resnet18": 8,
    "resnet50": 16,
    "wrn16_8": 6,
    "wrn28_10": 12,
    "resnext29_8x64d": 9,
    "pyramidnet110_a84": 36,
    "mobilenet_v2": 10,  # repeated blocks of 1, 2, 3, 4, 3, 3 and 1
    "convmixer256_8": 8,
    "mixer": 16,
    "vit": 14,
    "cct7_3x2": 14,
    "cct2_3x2": 4,
    "vit_c": 8,
}
"""Residual sums of each."""

LONG = {"densenet_bc40_12", "densenet_bc100_12", "pyramidnet110_a84", "resnet50", "vit"}
HUGE = {"densenet_bc190_40", "pyramidnet272_a200"}  # the same code as their small sisters


@pytest.mark.parametrize("name", MILLIONS)
def test_sizes_are_those_of_the_literature(name: str) -> None:
    digits = len(MILLIONS[name].partition(".")[2])
    assert f"{count_parameters(name) / 1e6:.{digits}f}" == MILLIONS[name]


def test_mobilenet_has_the_size_that_torchvision_publishes_less_its_classes() -> None:
    assert count_parameters("mobilenet_v2") == 3_504_872 - 1000 * 1281 + 10 * 1281


@pytest.mark.parametrize("name", [name for name in ARCHITECTURES if name not in HUGE])
@pytest.mark.parametrize("width", [0.1, 1.0])
def test_every_width_takes_images_and_gives_ten_logits(name: str, width: float) -> None:
    with torch.device("meta"):
        network = build(name, width)
        assert network(torch.empty(2, *INPUT_SIZE)).shape == (2, 10)
    assert (count_parameters(name, width) < count_parameters(name)) == (width < 1)


@pytest.mark.parametrize(("activation", "layer"), [("relu", nn.ReLU), ("gelu", nn.GELU)])
@pytest.mark.parametrize("name", ["vit_c", "resnet18", "mobilenet_v2"])
def test_another_activation_takes_the_place_of_each(name: str, activation: str, layer: type[nn.Module]) -> None:
    torch.manual_seed(0)
    usual = build(name, 0.1)
    torch.manual_seed(0)
    other = build(name, 0.1, activation)
    kinds = (nn.ReLU, nn.ReLU6, nn.GELU)
    places = [[path for path, found in one.named_modules() if isinstance(found, kinds)] for one in (usual, other)]
    assert places[0] == places[1] != []
    assert {type(other.get_submodule(path)) for path in places[0]} == {layer}
    first, second = usual.state_dict(), other.state_dict()
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)
    with pytest.raises(ModelError, match="There is no activation 'gelo'"):
        build(name, 0.1, "gelo")


def feature_sizes(name: str) -> list[tuple[int, int]]:
    """Channels and side of the feature map of every convolution, at full width."""
    with torch.device("meta"):
        network = build(name)
        found: list[tuple[int, int]] = []
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda _module, _inputs, out: found.append((out.shape[1], out.shape[3])))
        network(torch.empty(1, *INPUT_SIZE))
    return found


def test_shapes_inside() -> None:
    assert feature_sizes("vgg19_bn") == [
        *[(64, 32)] * 2,
        *[(128, 16)] * 2,
        *[(256, 8)] * 4,
        *[(512, 4)] * 4,
        *[(512, 2)] * 4,
    ]
    assert feature_sizes("resnet18")[0] == (64, 32)  # no 7 x 7 convolution, no max-pool
    assert feature_sizes("resnet18")[-1] == (512, 4)
    assert feature_sizes("wrn28_10")[-1] == (640, 8)
    assert feature_sizes("resnext29_8x64d")[-1] == (1024, 8)
    assert feature_sizes("densenet_bc190_40")[0] == (80, 32)
    assert feature_sizes("densenet_bc190_40")[-1] == (40, 8)
    assert feature_sizes("pyramidnet272_a200")[-1] == (4 * 216, 8)
    assert feature_sizes("mobilenet_v2")[0] == (32, 32)
    assert feature_sizes("mobilenet_v2")[-1] == (1280, 4)


def test_the_position_of_the_paper_is_there() -> None:
    network = build("vgg19_bn", 0.125)
    convolution = network.get_submodule("features.23")
    assert isinstance(convolution, nn.Conv2d)
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    assert convolutions.index("features.23") == 7  # conv3_4, counted from 0
    model = Model(network, input_size=INPUT_SIZE)
    rule = LinBP(start="features.23")
    surrogate = Surrogate(model, rule=rule)
    assert sorted(rule.plan(surrogate.structure).sites) == list(range(7, 16))
    assert [site.module_path for site in surrogate.sites][7] == "features.25"


@pytest.mark.parametrize(
    "name",
    marked([name for name in ARCHITECTURES if name not in HUGE], LONG, pytest.mark.slow),
)
def test_capture_agrees_with_the_module(name: str) -> None:
    torch.manual_seed(0)
    # Narrower, MobileNet v2 has stages of equal channels, and so more sums.
    module = build(name, 0.5 if name == "mobilenet_v2" else 0.125).double()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):  # statistics of their own, so that folding them matters
            layer.running_mean.normal_(0, 0.1)  # type: ignore[union-attr]
            layer.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
        elif isinstance(layer, nn.Linear):  # timm's heads start at 0, and give no gradients
            nn.init.normal_(layer.weight, 0, 0.1)
    model = Model(module, input_size=INPUT_SIZE)
    surrogate = Surrogate(model)
    assert len(surrogate.junctions) == JUNCTIONS[name]
    images, labels = torch.rand(3, *INPUT_SIZE, dtype=torch.float64), torch.tensor([0, 4, 9])
    module.eval()
    eager = images.clone().requires_grad_()
    logits = module(eager)
    (wanted,) = torch.autograd.grad(functional.cross_entropy(logits, labels, reduction="sum"), eager)
    torch.testing.assert_close(surrogate.logits(images), logits.detach(), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(
        surrogate.gradient(images, labels), wanted, rtol=1e-9, atol=1e-9 * float(wanted.abs().max())
    )
    assert float(wanted.abs().max()) > 0


def test_networks_draw_nothing_while_they_are_trained() -> None:
    # A kill would lose the generator's state, so there must be none to lose.
    for name in ARCHITECTURES:
        if name in HUGE:
            continue
        network = build(name, 0.1).train()
        state = torch.get_rng_state()
        network(torch.zeros(2, *INPUT_SIZE))
        assert torch.equal(torch.get_rng_state(), state), name


def test_weights_are_drawn_from_the_generator() -> None:
    for name in ("plain", "mobilenet_v2", "cct2_3x2"):
        torch.manual_seed(3)
        first = build(name, 0.1).state_dict()
        torch.manual_seed(3)
        again = build(name, 0.1).state_dict()
        assert all(torch.equal(first[key], again[key]) for key in first)


def test_channels_are_rounded_to_multiples() -> None:
    assert [scaled(64, width) for width in (0.01, 0.125, 0.2, 1, 1.1)] == [8, 8, 16, 64, 72]


def test_a_name_is_taken_once() -> None:
    with pytest.raises(ValueError, match="already"):
        architecture("plain")(ARCHITECTURES["plain"].build)


@pytest.mark.parametrize("width", [0, -1, float("nan"), float("inf"), 17, "1"])
def test_impossible_widths_are_refused(width: float) -> None:
    with pytest.raises(ModelError, match="The width is"):
        build("plain", width)


def test_unknown_architectures_are_refused() -> None:
    with pytest.raises(ModelError, match="'resnet19'") as caught:
        build("resnet19")
    assert "resnet18" in caught.value.hint
    with pytest.raises(ModelError, match="no CIFAR-10 architecture"):
        load_model("cifar10:resnet19@random")


def test_an_untrained_network_by_name() -> None:
    model = load_model("cifar10:plain@random")
    assert isinstance(model, Model)
    assert model.class_names[3] == "cat"
    torch.testing.assert_close(
        model.normalise(torch.full((1, 3, 1, 1), 0.5))[0, 0, 0, 0].item(), (0.5 - 0.4914) / 0.247
    )
    again = load_model("cifar10:plain@random")
    assert isinstance(again, Model)
    assert model.identity()["weights_sha256"] == again.identity()["weights_sha256"]


def test_the_page_has_every_architecture_with_its_size() -> None:
    page = (Path(__file__).parents[2] / "docs" / "zoo.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in page.splitlines() if re.match(r"\| `\w+`.*\| [\d, ]+ \|", line)]
    shown = {
        name: int(number.replace(",", ""))
        for _, names, numbers, *_ in rows
        for name, number in zip(re.findall(r"`(\w+)`", names), numbers.strip().split(", "), strict=True)
    }
    assert shown == {name: count_parameters(name) for name in ARCHITECTURES}

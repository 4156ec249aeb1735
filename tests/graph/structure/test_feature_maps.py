"""Feature maps of named modules: what the module returned, whatever became of the graph since."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Literal

import pytest
import torch
import torchvision
from known_networks import captured as known
from torch import nn
from torchvision.models.densenet import DenseNet
from torchvision.models.swin_transformer import SwinTransformer
from torchvision.models.vision_transformer import VisionTransformer
from torchvision.ops import StochasticDepth

import linbp
from linbp.errors import RuleError
from linbp.graph import stage_outputs

MEAN, STD = 0.5, 0.25
COUNT = 3


class Shared(nn.Module):
    """One convolution and one in-place activation, called twice, and a sum of its own input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.act, self.adv_image = nn.ReLU(inplace=True), nn.Hardtanh(inplace=True)
        self.head = nn.Linear(3 * 16, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.act(self.norm(self.conv(images)))
        value = self.act(self.conv(value))
        value = self.adv_image(value + images)
        return self.head(nn.functional.adaptive_avg_pool2d(value, 4).flatten(1))


def small_vgg() -> nn.Module:
    """VGG-11 with batch norm and one linear layer."""
    module = torchvision.models.vgg11_bn()
    module.classifier = nn.Linear(512 * 7 * 7, 5)
    return module


BUILD: dict[str, Callable[[], tuple[nn.Module, int]]] = {
    "resnet": lambda: (torchvision.models.resnet18(num_classes=5), 64),
    "vgg": lambda: (small_vgg(), 32),
    "densenet": lambda: (DenseNet(growth_rate=4, block_config=(2, 2), num_init_features=8, num_classes=5), 64),
    "vit": lambda: (
        VisionTransformer(
            image_size=32, patch_size=8, num_layers=5, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=5
        ),
        32,
    ),
    "shared": lambda: (Shared(), 16),
    "mobilenet": lambda: (torchvision.models.mobilenet_v2(num_classes=5, width_mult=0.5), 64),
    "swin": lambda: (
        SwinTransformer(
            patch_size=[4, 4], embed_dim=8, depths=[1, 1, 1], num_heads=[1, 1, 1], window_size=[2, 2], num_classes=5
        ),
        32,
    ),
}


def build(name: str) -> tuple[nn.Module, int]:
    """A network in float64 with seeded weights and statistics, and its input size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, size = BUILD[name]()
        for buffer_name, buffer in module.named_buffers():
            if buffer_name.endswith("running_mean"):
                buffer.normal_(0, 0.2)
            elif buffer_name.endswith("running_var"):
                buffer.uniform_(0.5, 1.5)
        for parameter_name, parameter in module.named_parameters():
            if "head" in parameter_name:  # a vision transformer's begins at zero
                nn.init.normal_(parameter, 0, 0.1)
    return module.eval().double(), size


def hooked(module: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Logits and every module's last result, as it was when the module returned it."""
    seen: dict[str, torch.Tensor] = {}
    handles = []
    for path, child in module.named_modules():
        if path:

            def hook(_: nn.Module, __: object, result: object, path: str = path) -> None:
                value = result[0] if isinstance(result, tuple) else result  # attention returns its weights too
                assert isinstance(value, torch.Tensor)
                seen[path] = value.clone()  # an activation in place would change it afterwards

            handles.append(child.register_forward_hook(hook))
    logits = module((images - MEAN) / STD)
    for handle in handles:
        handle.remove()
    return logits, seen


def images_of(size: int, count: int = COUNT) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, size, size, dtype=torch.float64, generator=draw)


@functools.cache
def captured(name: str) -> tuple[nn.Module, int, linbp.Surrogate]:
    """The network, its input size, and its capture."""
    module, size = build(name)
    model = linbp.Model(module, input_size=(3, size, size), mean=(MEAN,) * 3, std=(STD,) * 3, name=name)
    return module, size, linbp.Surrogate(model)


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    assert found.shape == expected.shape
    return float((found - expected).norm() / expected.norm().clamp(min=1e-12))


@pytest.mark.parametrize("name", sorted(BUILD))
def test_every_module_has_its_result_and_every_value_is_the_hook_s(name: str) -> None:
    module, size, surrogate = captured(name)
    images = images_of(size)
    with torch.no_grad():
        expected_logits, expected = hooked(module, images)
        idle = {path for path, child in module.named_modules() if isinstance(child, StochasticDepth)}
        assert set(surrogate.structure.outputs) == set(expected) - idle  # what returns its input leaves no trace
        logits, found = surrogate.reading(tuple(surrogate.structure.outputs)).observe(images)
    assert error(logits, expected_logits) < 1e-10
    worst = {path: error(value, expected[path]) for path, value in found.items()}
    assert max(worst.values()) < 1e-10, max(worst, key=worst.__getitem__)


@pytest.mark.parametrize("name", sorted(BUILD))
def test_one_feature_map_alone_is_the_hook_s_too(name: str) -> None:
    """Reading one leaves all other batch norms folded: another graph for every path."""
    module, size, surrogate = captured(name)
    images = images_of(size)
    with torch.no_grad():
        _, expected = hooked(module, images)
        paths = [
            path
            for path, child in module.named_modules()
            if path in surrogate.structure.outputs and not list(child.children())
        ]
        for path in paths if name in ("shared", "densenet") else paths[:: max(len(paths) // 8, 1)]:
            _, found = surrogate.reading([path]).observe(images)
            assert error(found[path], expected[path]) < 1e-10, path


@pytest.mark.parametrize("name", ["vgg", "densenet"])
def test_a_convolution_in_front_of_a_folded_batch_norm_is_read_before_it(name: str) -> None:
    module, size, surrogate = captured(name)
    assert any("folded" in note for note in surrogate.notes)
    convolution, norm = {"vgg": ("features.4", "features.5"), "densenet": ("features.conv0", "features.norm0")}[name]
    with torch.no_grad():
        _, expected = hooked(module, images_of(size))
        difference = error(expected[convolution], expected[norm])
        _, found = surrogate.reading([convolution]).observe(images_of(size))
        _, behind = surrogate.reading([norm]).observe(images_of(size))
    assert difference > 0.1, "the test could not tell them apart"
    assert error(found[convolution], expected[convolution]) < 1e-12
    assert error(behind[norm], expected[norm]) < 1e-12
    assert any("kept" in note for note in surrogate.reading([convolution]).notes)
    assert not any("kept" in note for note in surrogate.reading([norm]).notes)


@pytest.mark.parametrize("name", sorted(BUILD))
def test_gradients_of_a_feature_map_are_autograd_s(name: str) -> None:
    module, size, surrogate = captured(name)
    path = {
        "resnet": "layer2.0.conv2",
        "vgg": "features.11",
        "densenet": "features.denseblock1.denselayer2.norm2",
        "vit": "encoder.layers.encoder_layer_1.mlp.0",
        "shared": "conv",
        "mobilenet": "features.2.conv.1",
        "swin": "features.3.0.attn",
    }[name]
    images = images_of(size).requires_grad_()
    logits, expected = hooked(module, images)
    weights = torch.randn(expected[path].shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    (wanted,) = torch.autograd.grad((expected[path] * weights).sum() + logits[:, 0].sum(), images)
    again = images.detach().requires_grad_()
    seen, found = surrogate.reading([path]).observe(again)
    (gradient,) = torch.autograd.grad((found[path] * weights).sum() + seen[:, 0].sum(), again)
    assert error(gradient, wanted) < 1e-10


@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_feature_maps_in_float32_whose_groups_are_put_together(layout: Literal["contiguous", "channels_last"]) -> None:
    """Eleven images are computed as two groups of four and one of three that is filled up."""
    module, size = build("shared")
    module = module.float()
    model = linbp.Model(module, input_size=(3, size, size), mean=(MEAN,) * 3, std=(STD,) * 3, name="shared")
    images = images_of(size, 11).float()
    with torch.no_grad():
        logits, expected = hooked(module, images)
        seen, found = linbp.Surrogate(model, memory_format=layout).reading(tuple(expected)).observe(images)
    assert error(seen, logits) < 1e-5
    assert max(error(found[path], value) for path, value in expected.items()) < 1e-5


@pytest.mark.slow
def test_reading_changes_neither_logits_nor_a_rule_s_gradient() -> None:
    _, size, plain = captured("resnet")
    images, labels = images_of(size), torch.tensor([0, 3, 1])
    ruled = plain.with_rule(linbp.LinBP(start="layer2.0"))
    for surrogate in (plain, ruled):
        for paths in (["layer1.0.conv1"], ["layer1.0.conv1", "layer3", "conv1", "bn1"]):
            reading = surrogate.reading(paths)
            assert error(reading.gradient(images, labels), surrogate.gradient(images, labels)) < 1e-9
            assert error(reading.logits(images), surrogate.logits(images)) < 1e-10
            assert reading.reads == tuple(paths)
        assert surrogate.reads == ()
    after = plain.reading(["layer1.0.conv1"]).with_rule(linbp.LinBP(start="layer2.0"))
    assert error(after.gradient(images, labels), ruled.gradient(images, labels)) < 1e-9
    assert error(ruled.gradient(images, labels), plain.gradient(images, labels)) > 1e-2


def test_what_cannot_be_read_is_refused() -> None:
    _, _, surrogate = captured("resnet")
    with pytest.raises(RuleError, match=r"'layer2\.3'") as caught:
        surrogate.reading(["layer2.3"])
    assert "layer2.0, layer2.1" in caught.value.hint
    for words in ("linbp inspect", "--feature-maps", "67"):
        assert words in caught.value.hint
    assert len(surrogate.structure.outputs) == 67
    assert surrogate.reading(["layer1", "layer1"]).reads == ("layer1",)
    for nothing in ("", "layer5"):
        with pytest.raises(RuleError, match="no feature map"):
            surrogate.reading([nothing])
    ruled = surrogate.with_rule(linbp.LinBP(start="layer3.0"))
    with pytest.raises(RuleError, match=r"'layer3\.0\.conv1'.*branch") as caught:
        ruled.reading(["layer3.0.conv1"])
    with pytest.raises(RuleError, match=r"'layer3\.0\.bn1'.*branch"):  # the same value, under another name
        ruled.reading(["layer3.0.bn1"])
    assert "rebalance=site" in caught.value.hint
    assert ruled.reading(["layer3.0"]).reads == ("layer3.0",)
    other = surrogate.with_rule(linbp.LinBP(start="layer3.0", rebalance="site"))
    assert other.reading(["layer3.0.conv1"]).reads == ("layer3.0.conv1",)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("resnet", ("relu", "layer1", "layer2", "layer3", "layer4")),
        ("vgg", ("features.2", "features.6", "features.13", "features.20", "features.27", "avgpool")),
        ("densenet", ("features.relu0", "features.denseblock1", "features")),
        ("mobilenet", ("features.1", "features.3", "features.6", "features.13", "features")),
        ("swin", ("features.1", "features.3", "permute")),
        ("vit", tuple(f"encoder.layers.encoder_layer_{number}" for number in (1, 2, 3, 4))),
    ],
)
def test_the_stages_of_a_network(name: str, expected: tuple[str, ...]) -> None:
    """A ResNet's layers, a VGG's last maps in front of each pool, blocks of others, four blocks of a transformer."""
    _, size, surrogate = captured(name)
    assert stage_outputs(surrogate.structure) == expected
    with torch.no_grad():
        _, values = surrogate.reading(expected).observe(images_of(size))
    if name != "vit":
        assert len({value.shape[2] for value in values.values()}) == len(expected)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_the_stages_of_inception_are_those_that_ta_bench_lists() -> None:
    """Repository qizhangli/TA-Bench, configs/tap.py, its list for inception_v3."""
    listed = "Conv2d_1a_3x3,Conv2d_2b_3x3,Conv2d_3b_1x1,Conv2d_4a_3x3,Mixed_5d,Mixed_6e,Mixed_7c"
    assert stage_outputs(known("Inception v3").structure) == tuple(listed.split(","))


def test_a_network_without_stages_says_so() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 5)).double()
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=(3, 8, 8)))
    with pytest.raises(RuleError, match="no stages") as caught:
        stage_outputs(surrogate.structure)
    assert "at=[" in caught.value.hint
    assert set(surrogate.structure.outputs) == {"0", "1", "2", "3"}

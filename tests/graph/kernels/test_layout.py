"""The order of feature maps in memory is chosen by the kinds of layers, and changes no value and no gradient."""

from __future__ import annotations

import pytest
import torch
from passes import Every, random_images, seeded
from torch import nn

import linbp
from linbp.graph.kernels.layout import MemoryFormat, best_memory_format, in_memory_format


def capture(module: nn.Module, dtype: torch.dtype, **options: MemoryFormat) -> linbp.Surrogate:
    model = linbp.Model(seeded(lambda: module, dtype), input_size=(3, Every.side, Every.side))
    return linbp.Surrogate(model, cache=False, **options)


@pytest.mark.parametrize("rule", [None, linbp.LinBP(start=0)], ids=["ordinary", "branches"])
@pytest.mark.parametrize(("dtype", "agreement"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_both_orders_compute_the_same(dtype: torch.dtype, agreement: float, rule: linbp.LinBP | None) -> None:
    module, images = seeded(Every, dtype), random_images(3, Every.side, dtype)
    orders: tuple[MemoryFormat, ...] = ("contiguous", "channels_last")
    first, last = (capture(module, dtype, memory_format=order).with_rule(rule) for order in orders)
    for found, expected in (
        (last.run(images), first.run(images)),
        (last.gradient(images, [0, 1, 2]), first.gradient(images, [0, 1, 2])),
    ):
        assert (found - expected).norm() <= agreement * expected.norm()


class OneDimension(nn.Module):
    """A convolution along the pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Conv1d(3, 4, 3), nn.Linear(4, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layer(images.flatten(2)).mean(2))
        return logits


def headed(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


@pytest.mark.parametrize(
    ("module", "dtype", "expected"),
    [
        (headed(nn.Conv2d(3, 4, 3)), torch.float32, "channels_last"),
        (headed(nn.Conv2d(3, 4, 3)), torch.float64, "contiguous"),
        (headed(nn.Conv2d(3, 4, 7, stride=2)), torch.float32, "channels_last"),
        (headed(nn.Conv2d(3, 4, 4, stride=4)), torch.float32, "contiguous"),  # a patch embedding
        (headed(nn.Conv2d(3, 4, 4, stride=4), nn.Conv2d(4, 4, 1)), torch.float32, "contiguous"),
        (headed(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3)), torch.float32, "channels_last"),
        (OneDimension(), torch.float32, "contiguous"),
    ],
)
def test_the_choice_goes_by_kernels_that_overlap(module: nn.Module, dtype: torch.dtype, expected: str) -> None:
    surrogate = capture(module, dtype)
    assert surrogate.memory_format == best_memory_format(surrogate._ordinary) == expected


def test_only_weights_of_convolutions_are_laid_out_anew() -> None:
    network = capture(headed(nn.Conv2d(3, 4, 3)), torch.float32, memory_format="contiguous")._ordinary
    before = {name: tensor.clone() for name, tensor in network.named_buffers()}
    assert in_memory_format(network, "contiguous") is network
    assert all(tensor.is_contiguous() for tensor in network.buffers())
    in_memory_format(network, "channels_last")
    for name, tensor in network.named_buffers():
        assert torch.equal(tensor, before[name])
        assert tensor.is_contiguous() == (tensor.ndim != 4)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("rule", [None, linbp.LinBP(start=3)], ids=["ordinary", "linbp"])
def test_a_last_group_of_few_images_has_the_bits_of_a_whole_one(
    squeezenet: linbp.Surrogate, rule: linbp.LinBP | None, count: int
) -> None:
    images, surrogate = random_images(8, 64, torch.float32), squeezenet.with_rule(rule)
    labels = torch.arange(8)
    whole = surrogate.gradient(images, labels)
    assert torch.equal(surrogate.gradient(images[-count:], labels[-count:]), whole[-count:])
    assert torch.equal(surrogate.run(images[-count:]), surrogate.run(images)[-count:])


def test_groups_are_filled_up_to_four(squeezenet: linbp.Surrogate, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    prepared = squeezenet._prepared

    def noted(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return prepared(images)

    monkeypatch.setattr(squeezenet, "_prepared", noted)
    for count in (1, 4, 5, 8, 12):
        squeezenet.run(random_images(count, 32, torch.float32))
    assert sizes == [4, 4, 4, 4, 4, 4, 4, 4, 4]


@pytest.fixture(scope="module")
def squeezenet() -> linbp.Surrogate:
    return linbp.Surrogate(linbp.load_model("demo:squeezenet1_1"))

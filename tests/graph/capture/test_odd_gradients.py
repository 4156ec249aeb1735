"""Gradients that are not what they should be: torch's own mistakes, and values that are not finite."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import linbp
from linbp.errors import CaptureError
from linbp.graph.capture import compare
from linbp.graph.capture.compare import _images_off, check_logits_of
from linbp.graph.capture.owner import IMAGES, Owner
from linbp.models import Model

SIZE = (3, 8, 8)


class Tokens(nn.Module):
    """A normalisation whose result a recurrent layer reads row by row, so that gradients come back transposed."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.first, self.norm, self.cell = nn.Conv2d(3, 4, 3, padding=1), norm, nn.GRU(4, 4, batch_first=True)
        self.head = nn.Linear(256, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(self.first(images)).flatten(2).transpose(1, 2)
        logits: torch.Tensor = self.head(self.cell(tokens)[0].flatten(1))
        return logits


def seeded(norm: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    return Tokens(norm).double().eval()


def test_instance_norm_is_refused_where_torch_differentiates_it_wrongly_and_its_equal_is_captured() -> None:
    instance, group = seeded(nn.InstanceNorm2d(4, affine=True)), seeded(nn.GroupNorm(4, 4))
    group.load_state_dict(instance.state_dict())
    images = torch.rand(3, *SIZE, dtype=torch.float64)
    assert torch.allclose(instance(images), group(images), atol=1e-12)
    with pytest.raises(CaptureError, match="InstanceNorm is wrong") as refused:
        linbp.Surrogate(linbp.Model(instance, input_size=SIZE), cache=False)
    assert "GroupNorm" in refused.value.hint
    labels = torch.tensor([0, 1, 2])
    found = linbp.Surrogate(linbp.Model(group, input_size=SIZE), cache=False).gradient(images, labels)
    # central differences along a few directions
    loss = nn.CrossEntropyLoss(reduction="sum")
    for seed in range(3):
        way = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 1e-5
        slope = (loss(group(images + way), labels) - loss(group(images - way), labels)) / 2
        assert float(slope.detach()) == pytest.approx(float((found * way).sum()), rel=1e-6)


def test_a_gradient_that_only_the_graph_has_not_finite_is_a_difference() -> None:
    theirs = torch.ones(2, 3, 2, 2)
    ours = theirs.clone()
    assert _images_off(ours, theirs) == 0
    ours[0, 0, 0, 0] = float("nan")
    assert _images_off(ours, theirs) == float("inf")
    theirs[0, 0, 0, 0] = float("nan")
    assert _images_off(ours, theirs) == 0
    assert _images_off(theirs[:1], theirs[:1]) == 0


class Counting(nn.Module):
    """Writes into a buffer on which its result does not depend."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("average", torch.zeros(()))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.average.mul_(0.9).add_(0.1)
        return value + 1


class Viewed(nn.Module):
    """Writes into a part of a value, which is read afterwards as a whole and in part."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        result = value * 1.0
        half = result[:, :2]
        half.add_(1)
        return result + half.repeat(1, 2, 1, 1)


def test_a_module_that_stands_twice_and_writes_into_its_buffer() -> None:
    torch.manual_seed(0)
    counting = Counting()
    layers = [nn.Conv2d(3, 4, 3), counting, nn.Tanh(), counting, Viewed(), nn.Flatten(), nn.Linear(144, 5)]
    module = nn.Sequential(*layers).double().eval()
    surrogate = linbp.Surrogate(linbp.Model(module, input_size=SIZE), cache=False)
    images = torch.rand(3, *SIZE, dtype=torch.float64)
    leaf = images.clone().requires_grad_()
    logits = module(leaf)
    (expected,) = torch.autograd.grad(
        nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2]), reduction="sum"), leaf
    )
    assert torch.allclose(surrogate.logits(images), logits.detach())
    assert torch.allclose(surrogate.gradient(images, torch.tensor([0, 1, 2])), expected)
    assert counting.average is module[1].average is module[3].average


class Bright(nn.Module):
    """Looks at bright images only: at noise every gradient is zero."""

    def __init__(self, hook: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.hook, self.body, self.head = hook, nn.Conv2d(3, 4, 3), nn.Linear(144, 5)
        if hook == "module":
            self.body.register_full_backward_hook(lambda module, at_inputs, at_outputs: (at_inputs[0] * 2,))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.body((images.mean((1, 2, 3), keepdim=True) - 0.9).relu() * images)
        if self.hook == "tensor" and value.requires_grad:
            value.register_hook(lambda gradient: gradient * 2)
        logits: torch.Tensor = self.head(value.flatten(1))
        return logits


def test_a_hook_that_no_image_of_noise_shows_is_kept_or_refused() -> None:
    images, labels = torch.rand(3, *SIZE, dtype=torch.float64) * 0.04 + 0.96, torch.tensor([0, 1, 2])
    plain, hooked = Bright("").double().eval(), Bright("module").double().eval()

    def own(module: nn.Module) -> torch.Tensor:
        leaf = images.clone().requires_grad_()
        loss = nn.functional.cross_entropy(module(leaf), labels, reduction="sum")
        return torch.autograd.grad(loss, leaf)[0]

    assert torch.allclose(own(hooked), 2 * own(plain))
    for module in (plain, hooked):
        surrogate = linbp.Surrogate(linbp.Model(module, input_size=SIZE))
        assert torch.allclose(surrogate.gradient(images, labels), own(module))
    with pytest.raises(CaptureError, match="zero or not finite at every image"):
        linbp.Surrogate(linbp.Model(Bright("tensor").double().eval(), input_size=SIZE))


@pytest.mark.parametrize("cell", [nn.LSTM, nn.GRU, nn.RNN])
def test_a_recurrent_layer_whose_first_state_is_of_two_images_is_refused(cell: type[nn.Module]) -> None:
    """Asked about three, torch would read past the state's end, and write there in the backward pass."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first, self.cell, self.head = (
                nn.Conv2d(3, 4, 3, stride=2),
                cell(4, 4, batch_first=True),
                nn.Linear(36, 5),
            )

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            value = self.first(images)
            value = torch.cat([part.relu() for part in value.chunk(2)])  # fixes the number of images at export
            logits: torch.Tensor = self.head(self.cell(value.flatten(2).transpose(1, 2))[0].flatten(1))
            return logits

    with pytest.raises(CaptureError, match="batch"):
        linbp.Surrogate(linbp.Model(Halves().eval(), input_size=SIZE, name="halves"), cache=False)


class Rounded(nn.Module):
    """Logits that float32 rounds to whole multiples of 8."""

    def __init__(self, rounds: bool) -> None:
        super().__init__()
        self.head, self.rounds = nn.Linear(12, 3), rounds

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.flatten(1))
        return (logits + 1e8) - 1e8 if self.rounds else logits


def test_logits_that_are_mostly_rounding_are_refused_as_such() -> None:
    torch.manual_seed(0)
    module = Rounded(rounds=True)
    plain = Rounded(rounds=False)
    plain.load_state_dict(module.state_dict())
    owner = Owner.asked(Model(module, input_size=2))
    with pytest.raises(CaptureError) as caught:
        check_logits_of(torch.fx.symbolic_trace(plain), owner, IMAGES)
    assert "module.double()" in caught.value.hint
    torch.nn.init.normal_(plain.head.weight)
    with pytest.raises(CaptureError) as caught:
        check_logits_of(torch.fx.symbolic_trace(plain), owner, IMAGES)
    assert "module.double()" not in caught.value.hint


@pytest.mark.parametrize(("off", "fine"), [(0.5, True), (1.5, False)])
def test_float64_decides_where_float32_is_in_doubt(off: float, fine: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding alone turns gradients of deep networks by tenths, where activations near zero fall on another side."""
    real = compare._gradients_off

    def rounded(found: compare.Answer, owner: Owner) -> float:
        return off if owner.images.dtype == torch.float32 else real(found, owner)

    monkeypatch.setattr(compare, "_gradients_off", rounded)
    model = Model(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)), input_size=SIZE)
    if fine:
        linbp.Surrogate(model, cache=False)
    else:
        with pytest.raises(compare.GradientFault):
            linbp.Surrogate(model, cache=False)

"""Operations that write into memory become operations that do not, with the same values and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from linbp import LinBP, Model, Surrogate

Tensor = torch.Tensor


def in_place_relu(net: Network, x: Tensor) -> Tensor:
    return net.b(functional.relu_(net.a(x)))


def value_before_and_after(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    before = x * 2
    x.relu_()
    return before + x


def slice_plus_one(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    x[:, :2] += 1
    return net.b(functional.relu(x))


def relu_of_a_slice(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    functional.relu_(x[:, :2])
    return net.b(x)


def copy_into_a_slice(net: Network, x: Tensor) -> Tensor:
    y = net.a(x)
    y[:, 1:3].copy_(functional.relu(net.b(x))[:, 1:3])
    return y


def broadcast_copy(net: Network, x: Tensor) -> Tensor:
    y = net.a(x)
    y[:, 1:3].copy_(functional.relu(net.b(x))[:, :1])
    return y


def assignment(net: Network, x: Tensor) -> Tensor:
    y = net.a(x)
    y[:, 0] = functional.relu(net.b(x))[:, 1]
    y[:, :, 0] = 0.5
    return y


def assignment_by_list(net: Network, x: Tensor) -> Tensor:
    y = net.a(x)
    y[:, [0, 2]] = functional.relu(net.b(x))[:, [1, 3]]
    return y


def a_new_tensor_filled(net: Network, x: Tensor) -> Tensor:
    y = torch.zeros_like(net.a(x))
    y[:, :2] = net.b(functional.relu(x))[:, :2]
    y[:, 2:] = net.a(x)[:, 2:]
    return y


def base_changed_under_a_view(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    flat = x.flatten(2)
    x.relu_()
    return net.b((flat * 2).view_as(x))


def view_changed_over_a_base(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    x.flatten(2).relu_()
    return net.b(x)


def moved_axes(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    last = x.movedim(1, -1)
    last -= 0.1
    return net.b(functional.relu(x))


def swapped_axes(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    x.swapaxes(2, 3).mul_(2)
    return net.b(functional.relu(x))


def halves(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    x[:, 2:].add_(1).mul_(0.5)
    x[:, :2].relu_()
    return net.b(x)


def diagonal(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    x.diagonal(dim1=2, dim2=3).zero_()
    return net.b(functional.relu(x))


def in_place_sum(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    out = net.b(functional.relu(x))
    out += x
    return out


def chain_in_place(net: Network, x: Tensor) -> Tensor:
    return net.b(net.a(x).mul_(0.5).sub_(0.1).add_(0.05).relu_())


def masked(net: Network, x: Tensor) -> Tensor:
    x = net.a(x)
    x.masked_fill_(x < 0, 0.0)
    return net.b(functional.silu(x, inplace=True))


def casts(net: Network, x: Tensor) -> Tensor:
    x = net.a(x).to(torch.float64)
    x.relu_()
    return net.b(x.double().contiguous())


FORMS = [
    in_place_relu,
    value_before_and_after,
    slice_plus_one,
    relu_of_a_slice,
    copy_into_a_slice,
    broadcast_copy,
    assignment,
    assignment_by_list,
    a_new_tensor_filled,
    base_changed_under_a_view,
    view_changed_over_a_base,
    moved_axes,
    swapped_axes,
    halves,
    diagonal,
    in_place_sum,
    chain_in_place,
    masked,
    casts,
]


class Network(nn.Module):
    """Two convolutions with batch norms, put together by one of the functions above."""

    def __init__(self, form: Callable[[Network, Tensor], Tensor]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 1)
        self.a = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.b = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4))
        self.form, self.head = form, nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.form(self, self.stem(images)).mean((2, 3)))
        return logits


def network(form: Callable[[Network, Tensor], Tensor]) -> Network:
    torch.manual_seed(0)
    module = Network(form).double().eval()
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
    return module


def ordinary(module: nn.Module, images: Tensor) -> tuple[Tensor, Tensor]:
    leaf = images.clone().requires_grad_()
    logits = module(leaf)
    loss = functional.cross_entropy(logits, torch.arange(len(images)), reduction="sum")
    return logits.detach(), torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_values_and_gradients_are_those_of_the_module(form: Callable[[Network, Tensor], Tensor]) -> None:
    module = network(form)
    images = torch.rand(3, 3, 6, 6, dtype=torch.float64)
    logits, gradient = ordinary(module, images)
    surrogate = Surrogate(Model(module, input_size=(3, 6, 6)), cache=False)
    assert torch.allclose(surrogate.logits(images), logits, rtol=1e-10)
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient, rtol=1e-9, atol=1e-14)
    for node in surrogate._capture.network.graph.nodes:
        assert not str(node.target).split(".")[-2:][0].endswith("_"), node
    again = surrogate.gradient(images, [0, 1, 2])
    assert torch.equal(again, surrogate.gradient(images, [0, 1, 2]))


@pytest.mark.exhaustive
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_linbp_runs_on_them(form: Callable[[Network, Tensor], Tensor]) -> None:
    module = network(form)
    surrogate = Surrogate(Model(module, input_size=(3, 6, 6)), cache=False)
    if not surrogate.sites:
        assert form is masked
        return
    images = torch.rand(3, 3, 6, 6, dtype=torch.float64)
    linear = surrogate.with_rule(LinBP(start=0, rebalance="site", sites="all"))
    found = linear.gradient(images, [0, 1, 2])
    assert bool(torch.isfinite(found).all())
    assert not torch.allclose(found, surrogate.gradient(images, [0, 1, 2]))
    assert torch.allclose(linear.run(images).detach(), ordinary(module, images)[0], rtol=1e-10)


class Fixed(nn.Module):
    """What depends on parameters only: standardised weights, and a table that is looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 5)
        self.table = nn.Parameter(torch.randn(9, 4))
        self.register_buffer("index", torch.arange(4) * 2)

    def forward(self, images: Tensor) -> Tensor:
        weight = self.conv.weight
        weight = (weight - weight.mean((1, 2, 3), keepdim=True)) / weight.std((1, 2, 3), keepdim=True)
        value = functional.relu(functional.conv2d(images, weight, self.conv.bias, padding=1))
        value = value + self.table[self.index].sum(1).softmax(0).view(1, -1, 1, 1)
        logits: Tensor = self.head(value.mean((2, 3)) * torch.arange(4, dtype=torch.float64).exp())
        return logits


def test_what_depends_on_parameters_only_is_computed_once() -> None:
    torch.manual_seed(0)
    module = Fixed().double().eval()
    images = torch.rand(3, 3, 6, 6, dtype=torch.float64)
    surrogate = Surrogate(Model(module, input_size=(3, 6, 6)), cache=False)
    logits, gradient = ordinary(module, images)
    assert torch.allclose(surrogate.logits(images), logits, rtol=1e-12)
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient, rtol=1e-10)
    names = [str(node.target) for node in surrogate._capture.network.graph.nodes if node.op == "call_function"]
    assert not [name for name in names if any(word in name for word in ("std", "softmax", "index", "arange", "exp"))]
    used = {node.target for node in surrogate._capture.network.graph.nodes if node.op == "get_attr"}
    assert {name for name, _ in surrogate._capture.network.named_buffers()} == used


class Normed(nn.Module):
    """Batch norms behind a convolution, a linear layer, a sum and a concatenation: two of them can be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.second, self.third = nn.BatchNorm2d(4, affine=False), nn.BatchNorm2d(8)
        self.hidden, self.fourth, self.head = nn.Linear(8, 6), nn.BatchNorm1d(6), nn.Linear(6, 5)

    def forward(self, images: Tensor) -> Tensor:
        value = functional.relu(self.first(self.conv(images)))
        value = torch.cat([self.second(value + images.mean(1, keepdim=True)), value], 1)
        value = functional.relu(self.third(value)).mean((2, 3))
        logits: Tensor = self.head(functional.relu(self.fourth(self.hidden(value))))
        return logits


def normed() -> Normed:
    torch.manual_seed(0)
    module = Normed().double().eval()
    for name, tensor in module.state_dict().items():
        if name.endswith(("running_var", "first.weight", "third.weight", "fourth.weight")):
            tensor.uniform_(0.5, 1.5)
        elif name.endswith(("running_mean", "first.bias", "third.bias", "fourth.bias")):
            tensor.normal_()
    return module


@pytest.mark.parametrize("fold", [True, False], ids=["folded", "kept"])
def test_batch_norms_folded_or_not_give_the_same(fold: bool) -> None:
    module = normed()
    images = torch.rand(3, 3, 6, 6, dtype=torch.float64)
    logits, gradient = ordinary(module, images)
    surrogate = Surrogate(Model(module, input_size=(3, 6, 6)), fold_batch_norm=fold, cache=False)
    assert torch.allclose(surrogate.logits(images), logits, rtol=1e-10)
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient, rtol=1e-9, atol=1e-14)
    assert any("2 batch norms folded" in note for note in surrogate.notes) is fold
    assert len(surrogate.sites) == 3


def test_batch_norms_stay_where_folding_would_not_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linbp.graph.capture.folding.AGREEMENT", -1.0)
    module = normed()
    images = torch.rand(3, 3, 6, 6, dtype=torch.float64)
    surrogate = Surrogate(Model(module, input_size=(3, 6, 6)), cache=False)
    assert any(note.startswith("batch norms kept: folding 2 of them would change") for note in surrogate.notes)
    logits, gradient = ordinary(module, images)
    assert torch.allclose(surrogate.logits(images), logits, rtol=1e-10)
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient, rtol=1e-9, atol=1e-14)


def test_without_batch_norms_nothing_is_said() -> None:
    surrogate = Surrogate(Model(Fixed().double().eval(), input_size=(3, 6, 6)), cache=False)
    assert not any("batch norm" in note for note in surrogate.notes)


class Flattened(nn.Module):
    """A patch embedding: the batch norm's gradient comes through a transposition, which PyTorch misreads alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 2, stride=2), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.norm(functional.silu(self.conv(images))).flatten(2).transpose(1, 2)
        logits: Tensor = self.head(functional.gelu(tokens @ tokens.transpose(1, 2) @ tokens).mean(1))
        return logits


@pytest.mark.parametrize("fold", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_one_image_alone_has_the_gradient_that_it_has_among_others(fold: bool, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = Model(Flattened().to(dtype).eval(), input_size=(3, 8, 8))
    surrogate = Surrogate(model, fold_batch_norm=fold, cache=False)
    images = torch.rand(3, 3, 8, 8, dtype=dtype)
    together = surrogate.gradient(images, [0, 1, 2])
    for index in range(3):
        alone = surrogate.gradient(images[index : index + 1], [index])
        assert torch.allclose(alone[0], together[index], rtol=1e-4, atol=1e-9)


class Casting(nn.Module):
    """A float named in the forward pass: the comparison in float64 must not stumble over it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 5)

    def forward(self, images: Tensor) -> Tensor:
        value = functional.relu(self.norm(self.conv(images)).to(torch.float32))
        scale = torch.ones(1, dtype=torch.float32, device=images.device)
        logits: Tensor = self.head(value.mean((2, 3), dtype=torch.float32) * scale)
        return logits


def test_a_float_that_the_forward_pass_names_is_no_hindrance_to_folding() -> None:
    torch.manual_seed(0)
    surrogate = Surrogate(Model(Casting().eval(), input_size=(3, 6, 6)), cache=False)
    assert any("1 batch norms folded" in note for note in surrogate.notes)
    images = torch.rand(3, 3, 6, 6)
    logits, gradient = ordinary(surrogate.model.module, images)
    assert torch.allclose(surrogate.logits(images), logits, rtol=1e-5)
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient, rtol=1e-3, atol=1e-7)


def test_a_network_that_writes_over_its_images_and_a_view_leaves_them_alone() -> None:
    class Writes(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            images.sub_(0.5)
            doubled = images * 2.0
            doubled[:, 1:].mul_(0.5)  # through a view: the whole program is made functional
            return doubled.flatten(1)[:, :4] ** 2

    surrogate = Surrogate(Model(Writes().double(), input_size=(3, 4, 4)), cache=False)
    images = torch.rand(2, 3, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept = images.clone()
    assert torch.allclose(surrogate.run(images), (2 * (kept - 0.5)).flatten(1)[:, :4] ** 2)
    assert torch.equal(images, kept)

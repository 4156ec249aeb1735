"""Every activation, however it is written, is a site; LinBP goes through it as if it were not there."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn import functional

from linbp import LinBP, Model, Surrogate

SIZE = (3, 6, 6)
Activation = Callable[[torch.Tensor], torch.Tensor]


def gelu_by_erf(value: torch.Tensor) -> torch.Tensor:
    return value * 0.5 * (1.0 + torch.erf(value / math.sqrt(2.0)))


def gelu_by_tanh(value: torch.Tensor) -> torch.Tensor:
    return 0.5 * value * (1.0 + torch.tanh(math.sqrt(2 / math.pi) * (value + 0.044715 * value**3)))


def relu_by_mask(value: torch.Tensor) -> torch.Tensor:
    return value * (value > 0)


FORMS: dict[str, tuple[str, Callable[[], Activation]]] = {
    "relu": ("relu", nn.ReLU),
    "relu in place": ("relu", lambda: nn.ReLU(inplace=True)),
    "functional.relu": ("relu", lambda: functional.relu),
    "functional.relu_": ("relu", lambda: functional.relu_),
    "functional.relu(inplace=True)": ("relu", lambda: lambda value: functional.relu(value, inplace=True)),
    "torch.relu": ("relu", lambda: torch.relu),
    "tensor.relu": ("relu", lambda: torch.Tensor.relu),
    "tensor.relu_": ("relu", lambda: torch.Tensor.relu_),
    "clamp(min=0)": ("clamp", lambda: lambda value: value.clamp(min=0)),
    "clamp_min(0)": ("clamp", lambda: lambda value: value.clamp_min(0)),
    "clamp_(0)": ("clamp", lambda: lambda value: value.clamp_(0)),
    "threshold": ("threshold", lambda: nn.Threshold(0, 0)),
    "relu6": ("hardtanh|relu6", nn.ReLU6),
    "relu6 in place": ("hardtanh|relu6", lambda: nn.ReLU6(inplace=True)),
    "functional.relu6": ("hardtanh|relu6", lambda: functional.relu6),
    "clamp(0, 6)": ("clamp", lambda: lambda value: value.clamp(0, 6)),
    "hardtanh": ("hardtanh", nn.Hardtanh),
    "functional.hardtanh_": ("hardtanh", lambda: functional.hardtanh_),
    "leaky_relu": ("leaky_relu", lambda: nn.LeakyReLU(0.2)),
    "leaky_relu in place": ("leaky_relu", lambda: nn.LeakyReLU(0.2, inplace=True)),
    "functional.leaky_relu": ("leaky_relu", lambda: functional.leaky_relu),
    "prelu": ("prelu", nn.PReLU),
    "prelu of channels": ("prelu", lambda: nn.PReLU(4)),
    "rrelu": ("rrelu", nn.RReLU),
    "elu": ("elu", nn.ELU),
    "elu in place": ("elu", lambda: nn.ELU(0.7, inplace=True)),
    "functional.elu_": ("elu", lambda: functional.elu_),
    "selu": ("selu", nn.SELU),
    "celu": ("celu", nn.CELU),
    "gelu": ("gelu", nn.GELU),
    "gelu by tanh": ("gelu", lambda: nn.GELU(approximate="tanh")),
    "functional.gelu": ("gelu", lambda: functional.gelu),
    "gelu written with erf": ("gelu", lambda: gelu_by_erf),
    "gelu written with tanh": ("gelu", lambda: gelu_by_tanh),
    "relu written with a mask": ("relu", lambda: relu_by_mask),
    "silu": ("silu", nn.SiLU),
    "silu in place": ("silu", lambda: nn.SiLU(inplace=True)),
    "functional.silu": ("silu", lambda: functional.silu),
    "x sigmoid(x)": ("silu", lambda: lambda value: value * torch.sigmoid(value)),
    "sigmoid(x) x": ("silu", lambda: lambda value: value.sigmoid() * value),
    "x.mul_(sigmoid(x))": ("silu", lambda: lambda value: value.mul_(value.sigmoid())),
    "quick gelu": ("quick_gelu", lambda: lambda value: value * torch.sigmoid(1.702 * value)),
    "hardswish": ("hardswish", nn.Hardswish),
    "hardswish in place": ("hardswish", lambda: nn.Hardswish(inplace=True)),
    "functional.hardswish": ("hardswish", lambda: functional.hardswish),
    "x hardsigmoid(x)": ("hardswish", lambda: lambda value: value * functional.hardsigmoid(value)),
    "x (relu6(x + 3) / 6)": ("hardswish", lambda: lambda value: value * (functional.relu6(value + 3) / 6)),
    "x clamp(x + 3, 0, 6) / 6": ("hardswish", lambda: lambda value: value * (value + 3).clamp(0, 6) / 6),
    "x relu6(x + 3) / 6": ("hardswish", lambda: lambda value: value * functional.relu6(value + 3, inplace=True) / 6),
    "mish": ("mish", nn.Mish),
    "mish in place": ("mish", lambda: nn.Mish(inplace=True)),
    "x tanh(softplus(x))": ("mish", lambda: lambda value: value * torch.tanh(functional.softplus(value))),
    "softplus": ("softplus", nn.Softplus),
    "softplus with a slope": ("softplus", lambda: nn.Softplus(beta=2)),
    "functional.softplus": ("softplus", lambda: functional.softplus),
    "log_sigmoid": ("log_sigmoid", nn.LogSigmoid),
    "tanh": ("tanh", nn.Tanh),
    "tensor.tanh_": ("tanh", lambda: torch.Tensor.tanh_),
    "sigmoid": ("sigmoid", nn.Sigmoid),
    "hardsigmoid": ("hardsigmoid", nn.Hardsigmoid),
}
"""The site's name, or several, and how the activation is made."""


class Twice(nn.Module):
    """Two convolutions, each followed by one and the same activation."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.act, self.head = activation, nn.Linear(4, 5)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.act(3 * self.first(value))
        logits: torch.Tensor = self.head(self.act(3 * self.second(value)).mean((2, 3)))
        return logits


class Straight(nn.Module):
    """The activation's value with the gradient of the identity."""

    def __init__(self, activation: Activation) -> None:
        super().__init__()
        self.activation = activation

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            result = self.activation(value.detach().clone())
        return value + (result - value).detach()


def gradient(module: nn.Module, images: torch.Tensor) -> torch.Tensor:
    leaf = images.clone().requires_grad_()
    loss = functional.cross_entropy(module(leaf), torch.tensor([0, 1, 2]), reduction="sum")
    (found,) = torch.autograd.grad(loss, leaf)
    return found


@pytest.mark.parametrize("name", FORMS)
def test_an_activation_is_a_site_that_linbp_goes_through(name: str) -> None:
    ops, make = FORMS[name]
    torch.manual_seed(0)
    module = Twice(make()).double().eval()
    images = torch.rand(3, *SIZE, dtype=torch.float64)
    surrogate = Surrogate(Model(module, input_size=SIZE), cache=False)

    assert len(surrogate.sites) == 2
    assert {site.op for site in surrogate.sites} <= set(ops.split("|"))
    assert [site.kind for site in surrogate.sites] == ["plain", "plain"]
    assert [site.shape for site in surrogate.sites] == [(4, 6, 6)] * 2
    assert [site.index for site in surrogate.sites] == [0, 1]
    if isinstance(make(), nn.Module):
        assert [site.module_path for site in surrogate.sites] == ["act", "act"]

    ordinary = gradient(module, images)
    # a form written by hand is computed as the activation that it is, with 1 / 6 or sqrt(2 / pi) to more digits
    close = {"rtol": 1e-6, "atol": 1e-9} if "x" in name or "written" in name else {"rtol": 1e-9, "atol": 1e-15}
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), ordinary, **close)
    linear = surrogate.with_rule(LinBP(start=0)).gradient(images, [0, 1, 2])
    activation = module.act
    module.act = Straight(activation)
    expected = gradient(module, images)
    assert not torch.allclose(expected, ordinary, rtol=1e-3)
    assert torch.allclose(linear, expected, **close)


class Halves(nn.Module):
    """A gated linear unit: the sigmoid multiplies something else than its own input."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.first, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(4, 5)
        self.form = form

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        value = self.first(value)
        if self.form == "glu":
            value = functional.glu(value, 1)
        elif self.form == "halves":
            left, right = value.chunk(2, 1)
            value = left * torch.sigmoid(right)
        elif self.form == "pooled":
            gate = torch.sigmoid(value.mean((2, 3)))[:, :4, None, None]
            value = value[:, 4:] * gate
        else:
            gate = functional.hardsigmoid(functional.adaptive_avg_pool2d(value, 1)[:, :4])
            value = value[:, 4:] * gate.expand_as(value[:, 4:])
        logits: torch.Tensor = self.head(functional.relu(value).mean((2, 3)))
        return logits


@pytest.mark.parametrize("form", ["halves", "pooled", "expanded"])
def test_a_gate_is_listed_and_left_alone(form: str) -> None:
    torch.manual_seed(0)
    module = Halves(form).double().eval()
    surrogate = Surrogate(Model(module, input_size=SIZE), LinBP(start=0), cache=False)
    assert [site.kind for site in surrogate.sites] == ["gate", "plain"]
    assert list(surrogate.plan.sites) == [1]


def test_a_gated_linear_unit_of_one_operation_is_no_site() -> None:
    module = Halves("glu").double().eval()
    surrogate = Surrogate(Model(module, input_size=SIZE), LinBP(start=0), cache=False)
    assert [site.op for site in surrogate.sites] == ["relu"]


@pytest.mark.parametrize(
    "written",
    [
        lambda value: value * value,
        lambda value: value * (2 * value + 1),
        lambda value: value * torch.sigmoid(value) * torch.sigmoid(value),
        lambda value: value * torch.sigmoid(value.mean(1, keepdim=True)),
        lambda value: value * torch.tanh(value),
        lambda value: value * (value > 0.5),
    ],
    ids=["square", "quadratic", "two gates", "mean", "x tanh(x)", "another mask"],
)
def test_a_product_that_is_no_known_activation_stays_a_product(written: Activation) -> None:
    torch.manual_seed(0)
    module = Twice(written).double().eval()
    images = torch.rand(3, *SIZE, dtype=torch.float64)
    surrogate = Surrogate(Model(module, input_size=SIZE), cache=False)
    assert {site.op for site in surrogate.sites} <= {"sigmoid", "tanh", "silu"}
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient(module, images), rtol=1e-9, atol=1e-15)


def test_an_activation_of_an_activation_is_two_sites() -> None:
    torch.manual_seed(0)
    module = Twice(lambda value: gelu_by_erf(gelu_by_erf(value))).double().eval()
    surrogate = Surrogate(Model(module, input_size=SIZE), cache=False)
    assert [site.op for site in surrogate.sites] == ["gelu"] * 4


def test_what_only_looks_like_an_activation_near_zero_stays_as_written() -> None:
    def capped(value: torch.Tensor) -> torch.Tensor:
        return value.clamp(max=20) * torch.sigmoid(value)

    torch.manual_seed(0)
    surrogate = Surrogate(Model(Twice(capped).double().eval(), input_size=SIZE), cache=False)
    assert "silu" not in {site.op for site in surrogate.sites}
    assert not any("whole ones" in note for note in surrogate.notes)
    images = 1000 * torch.rand(3, *SIZE, dtype=torch.float64)
    torch.manual_seed(0)
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient(Twice(capped).double().eval(), images))


def test_activations_that_were_put_together_are_told() -> None:
    torch.manual_seed(0)
    for activation, told in ((gelu_by_tanh, True), (functional.gelu, False)):
        surrogate = Surrogate(Model(Twice(activation).double().eval(), input_size=SIZE), cache=False)
        assert any("computed as whole ones: 2" in note for note in surrogate.notes) == told


def test_activations_stay_as_written_where_the_logits_would_change(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("linbp.graph.capture.composite.CLOSE", 0.5)  # a bad match: 0.9 x sigmoid(x) is no SiLU

    def weaker(value: torch.Tensor) -> torch.Tensor:
        return value * (0.9 * torch.sigmoid(value))

    torch.manual_seed(0)
    module = Twice(weaker).double().eval()
    surrogate = Surrogate(Model(module, input_size=SIZE), cache=False)
    assert "silu" not in {site.op for site in surrogate.sites}
    images = torch.rand(3, *SIZE, dtype=torch.float64)
    assert torch.allclose(surrogate.gradient(images, [0, 1, 2]), gradient(module, images))

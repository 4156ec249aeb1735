"""Building blocks of random networks: what people write into a forward, from hooks to gradients of their own."""

from __future__ import annotations

import functools
from typing import Any

import torch
from random_layers import Apply, Block, Draw, Tensor
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

FACTOR = 0.7
"""A number outside the module that a forward reads."""


class Round(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return (value * 4).round() / 4

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


class Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.factor * gradient, None


class Clipped(torch.autograd.Function):
    @staticmethod
    def forward(value: Tensor) -> Tensor:
        return value * 1.5

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.factor = 1.5

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return (gradient * ctx.factor).clamp(-1e-3, 1e-3)


class ThriftySilu(torch.autograd.Function):
    """SiLU with its own derivative, which keeps one tensor."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        ctx.save_for_backward(value)
        return value * torch.sigmoid(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        (value,) = ctx.saved_tensors
        gates = torch.sigmoid(value)
        return gradient * (gates * (1 + value * (1 - gates)))


class Two(torch.autograd.Function):
    """Two inputs, two outputs."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        return first + second, first - second

    @staticmethod
    def backward(ctx: Any, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return first * 0.5, second * 2


def written_gradient(draw: Draw) -> nn.Module:
    taken = Round.apply  # as many people do, before anyone can look
    kinds = [
        taken,
        lambda value: Reverse.apply(value, 0.5),
        Clipped.apply,
        ThriftySilu.apply,
        lambda value: sum(Two.apply(value, value.flip(2))),
        lambda value: Round.apply(Reverse.apply(value, 2.0)) + value,
    ]
    return Apply(kinds[draw.integers(len(kinds))])


def straight_through(draw: Draw) -> nn.Module:
    kinds = [
        lambda value: value + ((value * 4).round() / 4 - value).detach(),
        lambda value: value + (value.sign() - value).detach(),
        lambda value: value * (value > 0).to(value.dtype) + 0.1 * value,
        lambda value: value + (value * 8).to(torch.int8).to(value.dtype).detach() * 0.1,
        lambda value: value - value.mean((2, 3), keepdim=True).detach(),
        lambda value: value + value.data.abs() * 0.1,
    ]
    return Apply(kinds[draw.integers(len(kinds))])


def _statistic(value: Tensor) -> Tensor:
    with torch.no_grad():
        mean = value.mean((1, 2, 3), keepdim=True)
        with torch.enable_grad():
            slope = value * 0.1
    return value - mean + slope


def _inference_statistic(value: Tensor) -> Tensor:
    with torch.inference_mode():
        mean = value.mean((1, 2, 3), keepdim=True)
    return value + mean


def without_gradient(draw: Draw) -> nn.Module:
    return Apply(_statistic if draw.integers(2) else _inference_statistic)


def forward_hook(draw: Draw) -> nn.Module:
    layer = nn.Conv2d(4, 4, 1)
    if draw.integers(2):
        layer.register_forward_hook(lambda module, given, result: result * 1.5)
    else:
        layer.register_forward_pre_hook(lambda module, given: (given[0] - 0.2,))
    return layer


def backward_hook(draw: Draw) -> nn.Module:
    layer = nn.Conv2d(4, 4, 1)
    kind = draw.integers(4)
    if kind == 0:
        layer.register_full_backward_hook(lambda module, at_inputs, at_outputs: (at_inputs[0] * 2,))
    elif kind == 1:
        layer.register_full_backward_pre_hook(lambda module, at_outputs: (at_outputs[0].tanh(),))
    elif kind == 2:
        layer.register_full_backward_hook(lambda module, at_inputs, at_outputs: None)
    else:
        layer.register_full_backward_pre_hook(lambda module, at_outputs: None)
    return layer


def tensor_hook(draw: Draw) -> nn.Module:
    watched = bool(draw.integers(2))

    def forward(value: Tensor) -> Tensor:
        result = value * 1.1
        if result.requires_grad:
            result.register_hook((lambda gradient: None) if watched else (lambda gradient: gradient * 2))
        return result

    return Apply(forward)


def in_place(draw: Draw) -> nn.Module:
    def slices(value: Tensor) -> Tensor:
        result = value.clone()
        result[:, 1:3] *= 0.5
        result[:, :, 0] = 0.3
        return result

    def views(value: Tensor) -> Tensor:
        result = value * 1.0
        half = result[:, :2]
        half.add_(1)
        return result + half.repeat(1, 2, 1, 1)

    def filled(value: Tensor) -> Tensor:
        result = torch.zeros_like(value)
        result[:, :2] = value[:, 2:]
        result[:, 2:].copy_(value[:, :2] * 2)
        return result

    kinds = [
        slices,
        views,
        filled,
        lambda value: value.mul(2).add_(0.1).clamp_(-2, 2),
        lambda value: value.clone().masked_fill_(value < -1, 0.0),
        lambda value: (value + 0).sub_(value.detach() * 0.1).relu_(),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


class Loose(nn.Module):
    """Tensors in every place but the state dict, and code of every kind."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self.register_buffer("table", torch.randn(4, 1, 1), persistent=False)
        self.scale, self.rows = torch.rand(4, 1, 1) + 0.5, [torch.randn(1), {"shift": torch.randn(1)}]
        self.number, self.flag = float(draw.normal()), bool(draw.integers(2))
        self.act = functools.partial(functional.leaky_relu, negative_slope=float(draw.random()))

    @property
    def shift(self) -> Any:
        return self.rows[1]["shift"]  # type: ignore[index]

    def forward(self, value: Tensor) -> Tensor:
        value = (value * self.scale.to(value) + self.table) * FACTOR
        return self.act(value + self.shift.to(value)) if self.flag else value * self.number + self.rows[0].to(value)  # type: ignore[union-attr]


def loose(draw: Draw) -> nn.Module:
    return Loose(draw)


def closure(draw: Draw) -> nn.Module:
    factor, layer, steps = float(draw.normal()), nn.Conv2d(4, 4, 1), int(draw.integers(1, 4))

    def forward(value: Tensor, inner: nn.Module) -> Tensor:
        for _ in range(steps):  # one layer, several times
            value = inner(value) * factor + value
        return value

    return Apply(forward, layer)


class Hidden(nn.Module):
    """A layer that the module does not know of, and one that is there twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [nn.Conv2d(4, 4, 1)]
        self.first = nn.Conv2d(4, 4, 1)
        self.second = nn.Conv2d(4, 4, 1)
        self.second.weight = self.first.weight

    def forward(self, value: Tensor) -> Tensor:
        return self.second(self.first(value) + self.layers[0].to(value.dtype)(value))


def hidden(draw: Draw) -> nn.Module:
    return Hidden()


class Counting(nn.Module):
    """Keeps state that its results do not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.seen, self.cache = 0, [], None
        self.register_buffer("average", torch.zeros(()))

    def forward(self, value: Tensor) -> Tensor:
        self.calls += 1
        self.seen.append(tuple(value.shape[1:]))
        self.average.mul_(0.9).add_(0.1)
        if self.cache is None:
            self.cache = torch.linspace(0, 1, 8, dtype=value.dtype)
        return value + self.cache


def counting(draw: Draw) -> nn.Module:
    return Counting()


def checkpointed(draw: Draw) -> nn.Module:
    reentrant = bool(draw.integers(2))
    layer = nn.Sequential(nn.Conv2d(4, 4, 1), nn.Tanh())
    return Apply(lambda value, inner: checkpoint(inner, value, use_reentrant=reentrant), layer)


def other_dtype(draw: Draw) -> nn.Module:
    def mixed(value: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            product = torch.matmul(value, value)
        return product.to(value.dtype) * 0.1

    kinds = [
        mixed,
        lambda value: value.double().sin().to(value.dtype),
        lambda value: value.float().exp().to(value.dtype),
        lambda value: value * value.new_tensor([1.0, 2.0, 0.5, 1.0]).view(4, 1, 1),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


class Switching(nn.Module):
    """Control flow on settings and shapes, and `train` and `eval` of its own."""

    def __init__(self, draw: Draw) -> None:
        super().__init__()
        self.layers = nn.ModuleDict({"a": nn.Conv2d(4, 4, 1), "b": nn.Conv2d(4, 4, 3, padding=1)})
        self.chosen, self.ready = str(draw.choice(["a", "b"])), False

    def train(self, mode: bool = True) -> Switching:
        self.ready = not mode
        return super().train(mode)

    def forward(self, value: Tensor) -> Tensor:
        if value.shape[1] != 4 or not self.ready:
            return value * 0
        answers = {name: layer(value) for name, layer in self.layers.items() if name == self.chosen}
        return answers[self.chosen] if value.shape[-1] > 4 else value


def switching(draw: Draw) -> nn.Module:
    return Switching(draw)


class Trains(nn.Module):
    """A method `train` that is another thing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(4, 4, 1)

    def train(self, loader: Any, epochs: int = 1) -> None:  # type: ignore[override]
        raise AssertionError("nobody asked for training")

    def forward(self, value: Tensor) -> Tensor:
        return self.layer(value).relu()


def trains(draw: Draw) -> nn.Module:
    return Trains()


def wrapped(draw: Draw) -> nn.Module:
    layer = nn.Sequential(nn.Conv2d(4, 4, 1), nn.ReLU())
    return nn.DataParallel(layer) if draw.integers(2) else Apply(lambda *values: values[1](values[0]), layer)


def mapped(draw: Draw) -> nn.Module:
    return Apply(torch.vmap(lambda image: image * image.mean()))


HABITS: tuple[Block, ...] = (
    written_gradient,
    straight_through,
    without_gradient,
    forward_hook,
    backward_hook,
    tensor_hook,
    in_place,
    loose,
    closure,
    hidden,
    counting,
    checkpointed,
    other_dtype,
    switching,
    trains,
    wrapped,
    mapped,
)

"""LinBP, SGM, ConBP and BPA, layer by layer and by hand: slow, plain, and without a graph.

Nothing here imports linbp or calls autograd: every layer has its own vector-Jacobian product, every block its own
formula. An activation's true derivative is written down; whether it is taken depends on the walk.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn

__all__ = [
    "Activation",
    "Affine",
    "Chain",
    "Gated",
    "Layer",
    "MaxPool",
    "Pool",
    "Residual",
    "RuleByHand",
    "gradient_by_hand",
    "linear_sites",
    "numbered",
]

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True)
class RuleByHand:
    """A rule in numbers.

    Attributes:
        linear: numbers of the sites whose derivative is left out.
        rebalance: `branch`, `site` or None.
        gamma: multiplies branches with linear sites.
        sgm: multiplies every branch,
        beside: or those beside an `identity` or a `projection` only.
        leak: how far linear sites are from ordinary (0) to linear (1).
        smooth: numbers of the sites whose kinks are smooth.
        smooth_by: `silu`, or softplus with this slope.
        smooth_norm: whether those sites keep the ordinary gradient's norm.
        temperature: of every max-pool, or None where they are ordinary.
    """

    linear: frozenset[int] = frozenset()
    rebalance: str | None = None
    gamma: float = 1.0
    sgm: float = 1.0
    beside: str | None = None
    leak: float = 1.0
    smooth: frozenset[int] = frozenset()
    smooth_by: str | float = "silu"
    smooth_norm: bool = False
    temperature: float | None = None


def norms(gradient: Tensor) -> Tensor:
    """L2 norm of each image's part, shaped to multiply it."""
    return torch.stack([one.square().sum().sqrt() for one in gradient]).view(-1, *[1] * (gradient.ndim - 1))


def scaled_to(gradient: Tensor, like: Tensor) -> Tensor:
    """The gradient with another's norm, image by image; 0 where it is 0 itself."""
    above, below = norms(like), norms(gradient)
    return torch.where(below == 0, torch.zeros_like(gradient), gradient * above / below.clamp_min(1e-300))


class Layer:
    """A map with a forward pass that remembers and a backward pass, ordinary or as a rule has it."""

    def forward(self, value: Tensor) -> Tensor:
        raise AssertionError

    def back(self, gradient: Tensor, settings: RuleByHand | None) -> Tensor:
        """The gradient at the input; without settings, the ordinary one."""
        raise AssertionError

    def activations(self) -> Iterator[Activation]:
        """The activations inside, in execution order."""
        yield from ()


class Affine(Layer):
    """A convolution, a linear layer, or a batch norm with fixed statistics."""

    def __init__(self, module: nn.Conv2d | nn.Linear | nn.BatchNorm2d) -> None:
        self.module = module

    def forward(self, value: Tensor) -> Tensor:
        self.shape = value.shape
        with torch.no_grad():
            module = self.module
            if isinstance(module, nn.BatchNorm2d):
                shift = module.bias.view(1, -1, 1, 1) - module.running_mean.view(1, -1, 1, 1) * self._scale()
                return value * self._scale() + shift
            if isinstance(module, nn.Linear):
                return value @ module.weight.T + module.bias
            return nn.functional.conv2d(value, module.weight, module.bias, module.stride, module.padding)

    def back(self, gradient: Tensor, settings: RuleByHand | None) -> Tensor:
        with torch.no_grad():
            module = self.module
            if isinstance(module, nn.BatchNorm2d):
                return gradient * self._scale()
            if isinstance(module, nn.Linear):
                return gradient @ module.weight
            return nn.grad.conv2d_input(self.shape, module.weight, gradient, module.stride, module.padding)

    def _scale(self) -> Tensor:
        assert isinstance(self.module, nn.BatchNorm2d)
        return (self.module.weight / (self.module.running_var + self.module.eps).sqrt()).detach().view(1, -1, 1, 1)


def _relu(value: Tensor) -> tuple[Tensor, Tensor]:
    return value * (value > 0), (value > 0).to(value.dtype)


def _relu6(value: Tensor) -> tuple[Tensor, Tensor]:
    return value.clamp(0, 6), ((value > 0) & (value < 6)).to(value.dtype)


def _silu(value: Tensor) -> tuple[Tensor, Tensor]:
    gate = 1 / (1 + torch.exp(-value))
    return value * gate, gate * (1 + value * (1 - gate))


def _leaky(value: Tensor) -> tuple[Tensor, Tensor]:
    slope = torch.where(value > 0, torch.ones_like(value), torch.full_like(value, 0.1))
    return value * slope, slope


def _gelu(value: Tensor) -> tuple[Tensor, Tensor]:
    below = 0.5 * (1 + torch.erf(value / math.sqrt(2)))
    density = torch.exp(-value.square() / 2) / math.sqrt(2 * math.pi)
    return value * below, below + value * density


ACTIVATIONS: dict[str, Callable[[Tensor], tuple[Tensor, Tensor]]] = {
    "relu": _relu,
    "relu6": _relu6,
    "silu": _silu,
    "leaky": _leaky,
    "gelu": _gelu,
}
"""Value and derivative by name."""


class Activation(Layer):
    """One site.

    Args:
        name: of the function.
        kind: as the site's; written down by whoever writes the network down.
    """

    def __init__(self, name: str, kind: str = "in a branch") -> None:
        self.name, self.kind, self.index = name, kind, -1

    def forward(self, value: Tensor) -> Tensor:
        result, self.derivative = ACTIVATIONS[self.name](value)
        self.value = value
        return result

    def back(self, gradient: Tensor, settings: RuleByHand | None) -> Tensor:
        ordinary = gradient * self.derivative
        if settings is not None and self.index in settings.smooth:
            passed = gradient * self._smooth(settings.smooth_by)
            return scaled_to(passed, ordinary) if settings.smooth_norm else passed
        if settings is None or self.index not in settings.linear:
            return ordinary
        passed = gradient * (self.derivative + settings.leak * (1 - self.derivative))
        return scaled_to(passed, ordinary) if settings.rebalance == "site" else passed

    def _smooth(self, by: str | float) -> Tensor:
        """The derivative of the smooth function that stands for the activation, by hand."""

        def at(shift: float) -> Tensor:
            moved = self.value - shift
            if by == "silu":
                return _silu(moved)[1]
            assert isinstance(by, float)
            rising = torch.exp(by * moved)
            return rising / (1 + rising)

        return {"relu": lambda: at(0), "relu6": lambda: at(0) - at(6)}[self.name]()

    def activations(self) -> Iterator[Activation]:
        yield self


class Chain(Layer):
    """Layers one after the other."""

    def __init__(self, *layers: Layer) -> None:
        self.layers: Sequence[Layer] = layers

    def forward(self, value: Tensor) -> Tensor:
        for layer in self.layers:
            value = layer.forward(value)
        return value

    def back(self, gradient: Tensor, settings: RuleByHand | None) -> Tensor:
        for layer in reversed(self.layers):
            gradient = layer.back(gradient, settings)
        return gradient

    def activations(self) -> Iterator[Activation]:
        for layer in self.layers:
            yield from layer.activations()


class Pool(Layer):
    """The mean over a feature map: (N, C, H, W) to (N, C)."""

    def forward(self, value: Tensor) -> Tensor:
        self.shape = value.shape
        return value.sum((2, 3)) / (value.shape[2] * value.shape[3])

    def back(self, gradient: Tensor, settings: RuleByHand | None) -> Tensor:
        _, _, height, width = self.shape
        return (gradient / (height * width))[:, :, None, None].expand(self.shape)


class MaxPool(Layer):
    """The largest value of every window, window by window; in a tie, the first in reading order."""

    def __init__(self, kernel: int, stride: int, padding: int, dilation: int, ceil: bool) -> None:
        self.kernel, self.stride, self.padding, self.dilation, self.ceil = kernel, stride, padding, dilation, ceil

    def _windows(self, size: int) -> list[list[int]]:
        """The places along one side that every window holds, those outside left out."""
        span = self.dilation * (self.kernel - 1) + 1
        starts = list(range(-self.padding, size + self.padding - span + 1, self.stride))
        if self.ceil and starts[-1] + span < size + self.padding and starts[-1] + self.stride < size:
            starts.append(starts[-1] + self.stride)  # one more, where it begins inside the map or the padding before it
        places = [[start + step * self.dilation for step in range(self.kernel)] for start in starts]
        return [[place for place in window if 0 <= place < size] for window in places]

    def forward(self, value: Tensor) -> Tensor:
        self.value = value
        rows, columns = self._windows(value.shape[2]), self._windows(value.shape[3])
        result = value.new_empty(*value.shape[:2], len(rows), len(columns))
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                result[:, :, i, j] = value[:, :, row][:, :, :, column].amax((2, 3))
        return result

    def back(self, gradient: Tensor, settings: RuleByHand | None) -> Tensor:
        passed = torch.zeros_like(self.value)
        rows, columns = self._windows(self.value.shape[2]), self._windows(self.value.shape[3])
        temperature = None if settings is None else settings.temperature
        for image in range(len(gradient)):
            for channel in range(gradient.shape[1]):
                plane = self.value[image, channel]
                for i, row in enumerate(rows):
                    for j, column in enumerate(columns):
                        cells = [(y, x) for y in row for x in column]
                        values = [float(plane[cell]) for cell in cells]
                        shares = self._shares(values, temperature)
                        for cell, share in zip(cells, shares, strict=True):
                            passed[image, channel][cell] += share * gradient[image, channel, i, j]
        return passed

    @staticmethod
    def _shares(values: list[float], temperature: float | None) -> list[float]:
        if temperature is None:
            first = values.index(max(values))
            return [float(at == first) for at in range(len(values))]
        weights = [math.exp(temperature * (value - max(values))) for value in values]
        return [weight / sum(weights) for weight in weights]


class Gated(Layer):
    """Squeeze and excitation: x sigmoid(W2 act(W1 mean x)); the product rule, the sigmoid always ordinary."""

    def __init__(self, first: nn.Linear, inner: Activation, second: nn.Linear) -> None:
        self.squeeze = Chain(Pool(), Affine(first), inner, Affine(second))

    def forward(self, value: Tensor) -> Tensor:
        self.value = value
        self.gate = (1 / (1 + torch.exp(-self.squeeze.forward(value))))[:, :, None, None]
        return value * self.gate

    def back(self, gradient: Tensor, settings: RuleByHand | None) -> Tensor:
        at_gate = (gradient * self.value).sum((2, 3), keepdim=True) * self.gate * (1 - self.gate)
        return gradient * self.gate + self.squeeze.back(at_gate[:, :, 0, 0], settings)

    def activations(self) -> Iterator[Activation]:
        yield from self.squeeze.activations()
        yield Activation("sigmoid", "gate")


class Residual(Layer):
    """skip(x) + branch(x)."""

    def __init__(self, branch: Layer, skip: Layer | None = None) -> None:
        self.branch, self.skip = branch, skip

    def forward(self, value: Tensor) -> Tensor:
        through = self.branch.forward(value)
        return through + (value if self.skip is None else self.skip.forward(value))

    def back(self, gradient: Tensor, settings: RuleByHand | None) -> Tensor:
        around = gradient if self.skip is None else self.skip.back(gradient, settings)
        if settings is None:
            return around + self.branch.back(gradient, None)
        through = self.branch.back(gradient, settings)
        if any(site.index in settings.linear for site in self.branch.activations()):
            if settings.rebalance == "branch":
                through = scaled_to(through, self.branch.back(gradient, None))
            through = settings.gamma * through
        kind = "identity" if self.skip is None else "projection"
        return around + (settings.sgm if settings.beside in (None, kind) else 1.0) * through

    def activations(self) -> Iterator[Activation]:
        yield from self.branch.activations()


def numbered(network: Layer) -> list[Activation]:
    """The activations, after each has been given its number."""
    sites = list(network.activations())
    for index, site in enumerate(sites):
        site.index = index
    return sites


def linear_sites(network: Layer, start: int, which: str | None = None) -> frozenset[int]:
    """Number the activations and choose those that LinBP linearises from `start` on."""
    kinds = {
        None: ("plain", "in a branch"),
        "inside": ("in a branch",),
        "outside": ("plain",),
        "all": ("plain", "in a branch", "after a sum"),
    }[which]
    chosen = set()
    for site in numbered(network):
        if site.index >= start and site.kind in kinds:
            chosen.add(site.index)
    return frozenset(chosen)


def gradient_by_hand(network: Layer, images: Tensor, labels: Tensor, settings: RuleByHand) -> tuple[Tensor, Tensor]:
    """Logits, and the rule's gradient of each image's own cross-entropy."""
    logits = network.forward(images)
    exponents = torch.exp(logits - logits.max(1, keepdim=True).values)
    at_logits = exponents / exponents.sum(1, keepdim=True)
    at_logits[torch.arange(len(labels)), labels] -= 1
    return logits, network.back(at_logits, settings)

"""Small residual networks as modules, each with the same network written down by hand."""

from __future__ import annotations

import torch
from blocks_by_hand import Activation, Affine, Chain, Gated, Layer, MaxPool, Pool, Residual
from torch import nn

__all__ = ["ACTIVATION_MODULES", "NETWORKS", "Written", "build"]

ACTIVATION_MODULES = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "leaky": lambda: nn.LeakyReLU(0.1),
    "gelu": nn.GELU,
}
CLASSES = 5


class Written(nn.Module):
    """A module that can say what it is, layer by layer."""

    def by_hand(self) -> Layer:
        raise AssertionError


def convolution(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


class SqueezeExcitation(Written):
    """x sigmoid(W2 act(W1 mean x))."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, 3), nn.Linear(3, width)
        self.inner, self.name = ACTIVATION_MODULES[activation](), activation

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        gate = torch.sigmoid(self.second(self.inner(self.first(value.mean((2, 3))))))
        return value * gate[:, :, None, None]

    def by_hand(self) -> Layer:
        return Gated(self.first, Activation(self.name), self.second)


class PostActivation(Written):
    """Activations after normalisation, one after the sum: the blocks of ResNet."""

    def __init__(
        self, inputs: int, outputs: int, activation: str, *, stride: int = 1, deep: bool = False, gated: bool = False
    ) -> None:
        super().__init__()
        make, self.name = ACTIVATION_MODULES[activation], activation
        middle = 3 if deep else outputs
        sizes = [(inputs, middle, 1), (middle, middle, 3), (middle, outputs, 1)] if deep else []
        sizes = sizes or [(inputs, outputs, 3), (outputs, outputs, 3)]
        self.convolutions = nn.ModuleList(
            convolution(a, b, size, stride if size == 3 and at < 2 and (deep or at == 0) else 1)
            for at, (a, b, size) in enumerate(sizes)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _ in sizes)
        self.shared = make()  # called at several places
        self.gate = SqueezeExcitation(outputs, activation) if gated else None
        self.projection = (
            nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
            if stride != 1 or inputs != outputs
            else None
        )

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        through = value
        for at, (layer, norm) in enumerate(zip(self.convolutions, self.norms, strict=True)):
            through = norm(layer(through))
            if at + 1 < len(self.norms):
                through = self.shared(through)
        if self.gate is not None:
            through = self.gate(through)
        around = value if self.projection is None else self.projection(value)
        return self.shared(through + around)

    def by_hand(self) -> Layer:
        branch: list[Layer] = []
        for layer, norm in zip(self.convolutions, self.norms, strict=True):
            branch += [Affine(layer), Affine(norm), Activation(self.name)]
        branch.pop()
        if self.gate is not None:
            branch.append(self.gate.by_hand())
        skip = None if self.projection is None else Chain(*(Affine(layer) for layer in self.projection))
        return Chain(Residual(Chain(*branch), skip), Activation(self.name, "after a sum"))


class PreActivation(Written):
    """Normalisation and activation in front of each convolution; nothing after the sum.

    Args:
        first: whether the block follows a convolution and not a sum.
        stride: a stride other than 1 makes a projection, of the activated input.
    """

    def __init__(self, inputs: int, outputs: int, activation: str, *, stride: int = 1, first: bool = False) -> None:
        super().__init__()
        make, self.name, self.first = ACTIVATION_MODULES[activation], activation, first
        self.norm1, self.norm2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)
        self.conv1, self.conv2 = convolution(inputs, outputs, 3, stride), convolution(outputs, outputs)
        self.act1, self.act2 = make(), make()
        self.projection = convolution(inputs, outputs, 1, stride) if stride != 1 or inputs != outputs else None

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        active = self.act1(self.norm1(value))
        around = value if self.projection is None else self.projection(active)
        return around + self.conv2(self.act2(self.norm2(self.conv1(active))))

    def by_hand(self) -> Layer:
        rest = [Affine(self.conv1), Affine(self.norm2), Activation(self.name), Affine(self.conv2)]
        if self.projection is None:
            return Residual(Chain(Affine(self.norm1), Activation(self.name), *rest))
        # the fork is the first activation: it is in front of the branch
        front = Activation(self.name, "plain" if self.first else "after a sum")
        return Chain(Affine(self.norm1), front, Residual(Chain(*rest), Affine(self.projection)))


class Nested(Written):
    """A residual block in the branch of another."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        make, self.name = ACTIVATION_MODULES[activation], activation
        self.before, self.after = convolution(width, width), convolution(width, width)
        self.inner1, self.inner2 = convolution(width, width), convolution(width, width)
        self.act1, self.act2, self.act3 = make(), make(), make()

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        through = self.act1(self.before(value))
        through = through + self.inner2(self.act2(self.inner1(through)))
        return value + self.after(self.act3(self.after(through)))

    def by_hand(self) -> Layer:
        inner = Residual(Chain(Affine(self.inner1), Activation(self.name), Affine(self.inner2)))
        return Residual(
            Chain(
                Affine(self.before),
                Activation(self.name),
                inner,
                Affine(self.after),
                Activation(self.name),
                Affine(self.after),
            )
        )


class Maximum(Written):
    """A max-pool; its windows may overlap, hang over the edge and have holes."""

    def __init__(self, kernel: int, stride: int, padding: int = 0, dilation: int = 1, ceil: bool = False) -> None:
        super().__init__()
        self.geometry = (kernel, stride, padding, dilation, ceil)
        self.pool = nn.MaxPool2d(kernel, stride, padding, dilation, ceil_mode=ceil)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        pooled: torch.Tensor = self.pool(value)
        return pooled

    def by_hand(self) -> Layer:
        return MaxPool(*self.geometry)


class PooledBranch(Written):
    """A branch that smooths by maxima: x + W2 max(act(W1 x))."""

    def __init__(self, width: int, activation: str) -> None:
        super().__init__()
        self.name, self.act = activation, ACTIVATION_MODULES[activation]()
        self.first, self.second = convolution(width, width), convolution(width, width)
        self.maximum = Maximum(3, 1, 1)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + self.second(self.maximum(self.act(self.first(value))))

    def by_hand(self) -> Layer:
        return Residual(Chain(Affine(self.first), Activation(self.name), self.maximum.by_hand(), Affine(self.second)))


class Bare(Written):
    """x + act(x): a branch of nothing but a site."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.name, self.act = activation, ACTIVATION_MODULES[activation]()

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value + self.act(value)

    def by_hand(self) -> Layer:
        return Residual(Activation(self.name))


class Network(Written):
    """A convolution, an activation where wanted, blocks, the mean and a linear layer."""

    def __init__(self, width: int, activation: str | None, blocks: list[Written], outputs: int) -> None:
        super().__init__()
        self.stem, self.norm = convolution(3, width), nn.BatchNorm2d(width)
        self.name = activation
        self.act = ACTIVATION_MODULES[activation]() if activation else nn.Identity()
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(outputs, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.blocks(self.act(self.norm(self.stem(images)))).mean((2, 3)))
        return logits

    def by_hand(self) -> Layer:
        front: list[Layer] = [Affine(self.stem), Affine(self.norm)]
        if self.name:
            front.append(Activation(self.name, "plain"))
        blocks = [block.by_hand() for block in self.blocks if isinstance(block, Written)]
        return Chain(*front, *blocks, Pool(), Affine(self.head))


def _post(activation: str) -> Written:
    blocks: list[Written] = [PostActivation(4, 4, activation), PostActivation(4, 6, activation, stride=2)]
    return Network(4, activation, [*blocks, PostActivation(6, 6, activation)], 6)


def _bottleneck(activation: str) -> Written:
    blocks: list[Written] = [PostActivation(4, 6, activation, deep=True), PostActivation(6, 6, activation, deep=True)]
    return Network(4, activation, [*blocks, PostActivation(6, 8, activation, deep=True, stride=2)], 8)


def _gated(activation: str) -> Written:
    blocks: list[Written] = [PostActivation(4, 4, activation, gated=True)]
    return Network(4, activation, [*blocks, PostActivation(4, 6, activation, gated=True, deep=True, stride=2)], 6)


def _pre(activation: str) -> Written:
    blocks: list[Written] = [PreActivation(4, 4, activation), PreActivation(4, 6, activation, stride=2)]
    return Network(4, None, [*blocks, PreActivation(6, 6, activation)], 6)


def _pre_projected_first(activation: str) -> Written:
    blocks: list[Written] = [PreActivation(4, 6, activation, first=True), PreActivation(6, 6, activation)]
    return Network(4, None, blocks, 6)


def _nested(activation: str) -> Written:
    return Network(4, activation, [Nested(4, activation), Nested(4, activation)], 4)


def _pooled(activation: str) -> Written:
    blocks: list[Written] = [Maximum(3, 2, 1), PooledBranch(4, activation), PostActivation(4, 6, activation)]
    return Network(4, activation, [*blocks, Maximum(2, 2, 1, 2, True), PooledBranch(6, activation)], 6)


def _wide(activation: str) -> Written:
    blocks: list[Written] = [Maximum(3, 2, 1), PooledBranch(8, activation), PostActivation(8, 8, activation)]
    return Network(8, activation, [*blocks, Maximum(2, 2, 0, 1, True)], 8)


def _bare(activation: str) -> Written:
    return Network(4, None, [Bare(activation), PostActivation(4, 4, activation), Bare(activation)], 4)


NETWORKS = {
    "post-activation": _post,
    "bottleneck": _bottleneck,
    "squeeze and excitation": _gated,
    "pre-activation": _pre,
    "pre-activation, projected first": _pre_projected_first,
    "nested": _nested,
    "pooled": _pooled,
    "pooled, wide": _wide,
    "bare": _bare,
}
"""Builders by name; each takes the name of an activation."""


def build(name: str, activation: str = "relu", seed: int = 0) -> Written:
    """A network in float64 and evaluation mode with random weights and batch norm statistics from a seed."""
    network = NETWORKS[name](activation).double().eval()
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, tensor in network.state_dict().items():
            if key.endswith("num_batches_tracked"):
                continue
            noise = torch.randn(tensor.shape, generator=draw, dtype=torch.float64)
            if key.endswith("running_var"):
                tensor.copy_(0.5 + noise.abs())
            elif tensor.ndim > 1:
                tensor.copy_(noise * (2 / tensor[0].numel()) ** 0.5)
            elif "norm" in key and key.endswith("weight"):
                tensor.copy_(1 + 0.3 * noise)
            else:
                tensor.copy_(0.3 * noise)
    return network

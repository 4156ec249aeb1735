"""What `analyse.py` measures: networks taken apart block by block, and figures of one gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import torch
from common.photographs import modules
from torch import nn
from torch.nn import functional

import linbp
from linbp.graph import norm_ratio

Mode = Literal["ordinary", "linear", "site"]
BY_HAND = ("every block", "true ratio", "half")
"""What no rule of the library does."""


class _Gated(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor, gate: Gate) -> torch.Tensor:
        ctx.save_for_backward(value)
        ctx.gate = gate
        return value.relu()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (value,), gradient, gate = ctx.saved_tensors, gradients[0], ctx.gate
        mask, energy = value > 0, gradient.square()
        gate.active = float(mask.float().mean())
        gate.met = (energy * mask).flatten(1).sum(1) / energy.flatten(1).sum(1).clamp_min(1e-40)
        if gate.mode == "ordinary":
            return gradient * mask, None
        return gradient if gate.mode == "linear" else gradient * norm_ratio(gradient * mask, gradient), None


class Gate(nn.Module):
    """A ReLU whose backward pass can be switched, and that notes how much of the gradient meets active units.

    Attributes:
        mode: `ordinary`, `linear`, or `site`, which is linear at the norm of the ordinary gradient.
        active: in the last backward pass the share of active units.
        met: in the same the share of the gradient's energy that met them, image by image.
    """

    mode: Mode = "ordinary"
    active: float
    met: torch.Tensor

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """ReLU."""
        result: torch.Tensor = _Gated.apply(value, self)
        return result


def with_gates(module: nn.Module, surrogate: linbp.Surrogate) -> list[Gate]:
    """Put a `Gate` in the place of each of a surrogate's sites, in their order, in another copy of its module."""
    gates = []
    for site in surrogate.sites:
        parent, _, name = site.module_path.rpartition(".")
        gates.append(Gate())
        setattr(module.get_submodule(parent), name, gates[-1])
    return gates


class Blocks:
    """MobileNet EdgeTPU as a list of blocks: an implementation of LinBP that is independent of the library's."""

    def __init__(self, surrogate: linbp.Surrogate) -> None:
        module = modules().mobilenet_edgetpu().requires_grad_(False)
        self.gates = with_gates(module, surrogate)
        net = module.network
        resized = partial(functional.interpolate, size=(224, 224), mode="bilinear", antialias=True)
        self.parts: list[tuple[str, bool, Callable[[torch.Tensor], torch.Tensor]]] = [
            ("stem", False, lambda x: net.bn1(net.conv_stem(2 * resized(x) - 1)))
        ]
        for stage, blocks in enumerate(net.blocks):
            for number, block in enumerate(blocks):
                skip = bool(block.has_skip)
                block.has_skip = False
                self.parts.append((f"blocks.{stage}.{number}", skip, block))
        self.parts.append(("head", False, lambda x: net.classifier(net.global_pool(net.bn2(net.conv_head(x))))))

    def passed(self, part: Callable[..., torch.Tensor], at: torch.Tensor, g: torch.Tensor, mode: Mode) -> torch.Tensor:
        """The gradient at a block's input, from the one at its output."""
        for gate in self.gates:
            gate.mode = mode
        start = at.detach().requires_grad_()
        (result,) = torch.autograd.grad(part(start), start, g)
        return result

    def backward(
        self, images: torch.Tensor, labels: torch.Tensor, how: str
    ) -> tuple[torch.Tensor, list[dict[str, Any]]]:
        """The input gradient, all sites linear unless `how` is `ordinary`, and figures of each block.

        `branch`, `site`, `none`: as the rule. `every block`: the ratio in blocks without a skip too. `true ratio`: the
        branch gets the share of the fork's gradient that it has in ordinary backpropagation. `half`: the mean of the
        linear branch (rescaled) and the ordinary one.
        """
        values, rows = [images], []
        with torch.no_grad():
            for _, skip, part in self.parts:
                values.append(part(values[-1]) + values[-1] if skip else part(values[-1]))
        g = values.pop().softmax(1)
        g[range(len(labels)), labels] -= 1
        true = g
        for (name, skip, part), at in reversed(list(zip(self.parts, values, strict=True))):
            v, linear = (self.passed(part, at, g, mode) for mode in ("ordinary", "linear"))
            w = self.passed(part, at, true, "ordinary")
            u = v if how == "ordinary" else self.passed(part, at, g, "site") if how == "site" else linear
            if how == "every block" or (how in ("branch", "half") and skip):
                u = u * norm_ratio(v, u)
            elif how == "true ratio" and skip:
                u = u * norm_ratio(w, u) * norm_ratio(g, true)
            if how == "half":
                u = (u + v) / 2
            below = g + u if skip else u
            row = {"block": name, "skip": skip, "in": norm(below), "out": norm(g), "u": norm(linear), "v": norm(v)}
            rows.append({**row, "cos": cosine(linear, v), "cos_skip": cosine(u, g) if skip else None})
            g, true = below, true + w if skip else w
        return g, rows


def rounded(values: torch.Tensor) -> list[float]:
    """Values with four digits behind the point."""
    return [round(float(value), 4) for value in values]


def norm(value: torch.Tensor) -> list[float]:
    """L2 norm, image by image."""
    return [float(f"{x:.4g}") for x in value.flatten(1).norm(dim=1)]


def cosine(one: torch.Tensor, other: torch.Tensor) -> list[float]:
    """Cosine, image by image."""
    return rounded(functional.cosine_similarity(one.flatten(1), other.flatten(1), dim=1))


def same_sign(one: torch.Tensor, other: torch.Tensor) -> list[float]:
    """Share of values with the same sign, image by image."""
    return rounded((one.sign() == other.sign()).flatten(1).float().mean(1))


def periodic(gradient: torch.Tensor, period: int) -> list[float]:
    """Share of the energy in what repeats itself every `period` pixels: the mean of all whole tiles.

    White noise of T tiles has 1 / T.
    """
    whole = gradient.shape[-1] // period
    side = whole * period
    tiles = gradient[..., :side, :side].reshape(len(gradient), 3, whole, period, whole, period)
    mean = tiles.mean(dim=(2, 4))
    share = mean.square().flatten(1).sum(1) * whole**2 / tiles.square().flatten(1).sum(1).clamp_min(1e-40)
    return rounded(share)


def alike(gradients: torch.Tensor) -> float:
    """Mean cosine between the gradients of different images."""
    unit = functional.normalize(gradients.flatten(1), dim=1)
    table = unit @ unit.T
    n = len(table)
    return round(float((table.sum() - table.trace()) / (n * (n - 1))), 4)


def logits(model: linbp.Model, images: torch.Tensor) -> torch.Tensor:
    """A network's logits, sixteen images at a time."""
    return torch.cat([model.logits(part) for part in images.split(16)])


def losses(model: linbp.Model, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, image by image."""
    return functional.cross_entropy(logits(model, images), labels, reduction="none")


def rise(models: Sequence[linbp.Model], before: torch.Tensor, after: torch.Tensor, labels: torch.Tensor) -> list[float]:
    """By how much the cross-entropy rose, image by image; mean over networks."""
    return rounded(torch.stack([losses(m, after, labels) - losses(m, before, labels) for m in models]).mean(0))


def copies(images: torch.Tensor) -> list[torch.Tensor]:
    """Three changed copies of each image: mirrored, moved by (9, 5) pixels, at 0.85 of its size on grey."""
    side = images.shape[-1]
    small = functional.interpolate(images, size=(int(side * 0.85),) * 2, mode="bilinear", antialias=True)
    rest = side - small.shape[-1]
    return [
        images.flip(-1),
        images.roll((9, 5), (-2, -1)),
        functional.pad(small, (rest // 2, rest - rest // 2, rest // 2, rest - rest // 2), value=0.5),
    ]

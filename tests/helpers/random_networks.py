"""Random small networks out of a grammar of building blocks, and what capture has to do with each.

As a program it goes through many, and writes a line for each that is wrong; started again, it goes on where it was:

    PYTHONPATH=tests/helpers python tests/helpers/random_networks.py --count 20000 --log random_networks.txt
"""

from __future__ import annotations

import argparse
import copy
import random
import time
import traceback
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from random_faults import FAULTS
from random_habits import HABITS, Trains
from random_layers import LAYERS, Apply, Block, Draw, Tensor
from torch import nn
from torch.nn import functional

from linbp import Model, Surrogate
from linbp.errors import LinbpError, ModelError

__all__ = ["Network", "check", "random_network"]

CLASSES, SIZE = 5, (3, 8, 8)


@dataclass(frozen=True)
class Network:
    """A random network.

    Attributes:
        module: from images (N, 3, 8, 8) to logits.
        blocks: what it is made of.
        may_be_refused: whether anything in it may be.
    """

    module: nn.Module
    blocks: tuple[str, ...]
    may_be_refused: bool


class Residual(nn.Module):
    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, value: Tensor) -> Tensor:
        return value + self.inner(value)


class Branches(nn.Module):
    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second, self.merge = first, second, nn.Conv2d(8, 4, 1)

    def forward(self, value: Tensor) -> Tensor:
        return self.merge(torch.cat([self.first(value), self.second(value)], 1))


ALMOST = frozenset(
    {"tensor_hook", "straight_through", "without_gradient", "other_dtype", "trains", "mapped", "spectrum"}
)
"""Blocks of which some kinds are refused for a reason that is not a fault of theirs."""


def random_network(seed: int) -> Network:
    """The network of a seed: two to five blocks, some inside others, a head, and something done to the whole."""
    draw = np.random.default_rng(seed)
    torch.manual_seed(seed)
    names: list[str] = []

    def block(depth: int = 0) -> nn.Module:
        kind = draw.random()
        if depth < 2 and kind < 0.15:
            names.append("residual")
            return Residual(block(depth + 1))
        if depth < 2 and kind < 0.25:
            names.append("branches")
            return Branches(block(depth + 1), block(depth + 1))
        if depth < 2 and kind < 0.3:
            names.append("twice")
            inner = block(depth + 1)
            return nn.Sequential(inner, nn.Tanh(), inner)
        family: tuple[Block, ...] = LAYERS if kind < 0.65 else HABITS if kind < 0.95 else FAULTS
        chosen = family[draw.integers(len(family))]
        names.append(chosen.__name__)
        return chosen(draw)

    stem = nn.Conv2d(3, 4, 3, padding=1)
    body = [block() for _ in range(draw.integers(2, 6))]
    pooled = nn.AdaptiveAvgPool2d(4) if draw.integers(2) else nn.MaxPool2d(2)
    module: nn.Module = nn.Sequential(stem, *body, pooled, nn.Flatten(), nn.Linear(64, CLASSES))
    module, whole = _whole(module, draw)
    names += whole
    refusable = ALMOST | {fault.__name__ for fault in FAULTS} | {"half", "a dictionary"}
    return Network(module, tuple(names), not refusable.isdisjoint(names))


def _whole(module: nn.Module, draw: Draw) -> tuple[nn.Module, list[str]]:
    """What may be done to a network as a whole."""
    names: list[str] = []
    draw.random()
    for child in module.modules():
        child.training = bool(draw.integers(2)) if draw.random() < 0.1 else False
    kind = draw.random()
    if kind < 0.5:
        module = module.double()
        names.append("double")
    elif kind < 0.55:
        module = module.bfloat16()
        names.append("half")
    kind = draw.random()
    if kind < 0.05:
        module, names = nn.DataParallel(module), [*names, "data parallel"]
    elif kind < 0.08:
        module, names = Apply(lambda images, inner: inner(images.sub_(0.5)), module), [*names, "over the input"]
    elif kind < 0.11:
        module, names = Apply(lambda images, inner: inner(images * 2 - 1), module), [*names, "scaled"]
    elif kind < 0.12:
        module, names = Apply(lambda images, inner: {"logits": inner(images)}, module), [*names, "a dictionary"]  # type: ignore[arg-type, return-value]
    elif kind < 0.16:
        module.register_forward_hook(lambda _, given, result: result * 1.5)
        names.append("hooked")
    elif kind < 0.18:
        module.requires_grad_(False)
        names.append("frozen")
    return module, names


def check(seed: int) -> str:
    """Capture the network of a seed: `captured` or `refused: why`.

    Raises:
        AssertionError: it is captured as something else, refused without a reason, or changed.
    """
    network = random_network(seed)
    before = _facts(network.module)
    random.seed(seed)
    state = torch.get_rng_state()
    try:
        surrogate = Surrogate(Model(network.module, input_size=SIZE, name="net"))
    except LinbpError as error:
        refusal = error
    else:
        refusal = None
    if refusal is not None:
        assert _facts(network.module) == before, "the refused network was changed"
        # torch's own backward pass of InstanceNorm is wrong for gradients that come through a transposed view
        assert network.may_be_refused or "InstanceNorm" in refusal.message, f"refused: {refusal}"
        assert refusal.message, "no reason"
        assert "\n" not in refusal.message + refusal.hint, f"several lines: {refusal}"
        assert refusal.hint, f"no hint: {refusal}"
        return f"refused: {refusal.message}"
    assert _facts(network.module) == before, "the network was changed"
    assert torch.equal(torch.get_rng_state(), state), "the random state was changed"
    _compare(network.module, surrogate, seed)
    again = Surrogate(Model(network.module, input_size=SIZE, name="net"))
    assert again.sites == surrogate.sites, "another structure from the cache"
    _compare(network.module, again, seed)
    return "captured"


def _facts(module: nn.Module) -> object:
    return (
        [
            (name, tensor.detach().double().sum().item(), tensor.requires_grad)
            for name, tensor in module.state_dict(keep_vars=True).items()
        ],
        [
            (name, child.training, len(vars(child)), str(vars(child).get("calls")), len(child._forward_hooks))
            for name, child in module.named_modules()
        ],
    )


def _compare(module: nn.Module, surrogate: Surrogate, seed: int) -> None:
    """Logits and gradients side by side, at images that capture has not seen."""
    draw = torch.Generator().manual_seed(seed + 1)
    images = torch.rand(6, *SIZE, generator=draw, dtype=torch.float64).to(surrogate.dtype)
    labels = torch.arange(6) % CLASSES
    try:
        alone = copy.deepcopy(module)
    except RuntimeError:  # a normed weight is computed, and cannot be copied
        return
    can_switch = not any(isinstance(child, Trains) for child in alone.modules())
    for child in alone.modules():
        child.training = False
        if "ready" in vars(child):
            child.ready = can_switch  # what its own eval() does, where no `train(loader)` is in its way
    leaf = images.clone().requires_grad_()
    logits = alone(leaf * 1)
    if isinstance(logits, dict):
        logits = logits["logits"]
    loose = {torch.float64: 1e-8, torch.float32: 1e-3}.get(surrogate.dtype, 0.1)
    _close(surrogate.logits(images), logits.detach(), loose, "logits")
    loss = functional.cross_entropy(logits, labels, reduction="sum")
    try:
        (expected,) = torch.autograd.grad(loss, leaf)
    except RuntimeError as error:
        fault = str(error)
    else:
        fault = ""
    if fault:
        known = ("inplace operation", "use_reentrant")  # the same with its own backward pass
        assert any(words in fault for words in known), f"its own backward pass fails: {fault}"
        return
    finite = torch.isfinite(expected).flatten(1).all(1)
    if not finite.all():
        with suppress(ModelError):
            raise AssertionError(f"its gradient is not finite, and linbp's is: {surrogate.gradient(images, labels)}")
        images, labels, expected = images[finite], labels[finite], expected[finite]
    if not len(images):
        return
    found = surrogate.gradient(images, labels)
    try:
        _close(found, expected, 30 * loose, "gradient")
    except AssertionError:
        unique = _unique(alone, images, labels, expected, 30 * loose)
        if unique.all():
            raise
        _close(found[unique], expected[unique], 30 * loose, "gradient where it is unique")


def _unique(module: nn.Module, images: Tensor, labels: Tensor, gradient: Tensor, bound: float) -> Tensor:
    """Which images have one gradient (N,): not where the module's own jumps when the last digits of its weights change.

    A max-pool over values that were rounded has ties, and rounding errors say which of them gets the gradient.
    """
    unique = torch.ones(len(images), dtype=torch.bool)
    for seed in range(30):
        moved, draw = copy.deepcopy(module), torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in moved.parameters():
                noise = torch.randn(weights.shape, generator=draw, dtype=torch.float64).to(weights.dtype)
                weights.mul_(1 + 16 * torch.finfo(weights.dtype).eps * noise)
        leaf = images.clone().requires_grad_()
        (other,) = torch.autograd.grad(functional.cross_entropy(moved(leaf * 1), labels, reduction="sum"), leaf)
        off = (other.double() - gradient.double()).flatten(1).norm(dim=1)
        unique &= off <= bound * gradient.double().flatten(1).norm(dim=1)
    return unique


def _close(found: Tensor, expected: Tensor, bound: float, what: str) -> None:
    off = float((found.double() - expected.double()).norm())
    size = float(expected.double().norm())
    assert off <= bound * size + 1e-9, f"{what} off by {off / max(size, 1e-12):.1e}"


def main() -> None:
    """Go through many networks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--log", type=Path, default=Path("random_networks.txt"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    done = given.log.read_text().splitlines() if given.log.exists() else []
    first = max([given.start - 1, *(int(line.split()[0]) for line in done)]) + 1
    begun, faults = time.monotonic(), 0
    for seed in range(first, given.start + given.count):
        try:
            verdict = check(seed)
        except Exception as error:
            faults += 1
            place = traceback.extract_tb(error.__traceback__)[-1]
            what, where = " ".join(str(error).split())[:300], f"{Path(place.filename).name}:{place.lineno}"
            verdict = f"WRONG {type(error).__name__}: {what} ({where}) {random_network(seed).blocks}"
        with given.log.open("a") as log:
            log.write(f"{seed} {verdict}\n")
    count = given.start + given.count - first
    print(f"{count} networks, {faults} wrong, {(time.monotonic() - begun) / max(count, 1):.2f} s each")


if __name__ == "__main__":
    main()

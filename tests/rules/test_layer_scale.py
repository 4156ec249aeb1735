"""ATT and TGR where LayerScale ends the branches, alone and with LinBP and SGM, against hooks on an eager network.

ATT acts on what the MLP returns, before LayerScale. The second implementation takes one image at a time, in loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tiny_networks import CLASSES, SIZE, images_and_labels
from torch import nn
from torch.nn import functional

import linbp
from linbp.attack import Recipe

COUNT, DEPTH, WIDTH, HEADS = 2, 4, 8, 2
SCALES = (1.0, 1e-1, 1e-2, 1e-3)
"""Sizes of LayerScale, from the first block to the last."""
Act = Callable[[torch.Tensor], torch.Tensor]


class Block(nn.Module):
    """Attention and MLP, each behind a layer norm and before LayerScale, which every block writes otherwise."""

    def __init__(self, number: int, signs: bool) -> None:
        super().__init__()
        self.number = number
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.proj = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.fc1, self.fc2 = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)
        self.drop = nn.Dropout(0.3)
        self.act: Act = functional.gelu
        self.whole: Act = self.mlp
        size = SCALES[number] * (torch.rand(2, WIDTH) + 0.5)
        self.gamma1, self.gamma2 = (nn.Parameter(one) for one in size * (torch.randn(2, WIDTH).sign() if signs else 1))

    def mlp(self, tokens: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = self.drop(self.fc2(self.act(self.fc1(self.norm2(tokens)))))
        return value

    def scaled(self, value: torch.Tensor) -> torch.Tensor:
        if self.number == 0:
            return value / (1 / self.gamma2)
        if self.number == 1:
            return self.drop(self.gamma2 * value)
        return value.mul(self.gamma2.view(1, 1, -1)) if self.number == 2 else value * self.gamma2

    def forward(
        self, tokens: torch.Tensor, hook: Callable[[str, int, torch.Tensor], None] | None = None
    ) -> torch.Tensor:
        hook = hook or (lambda *_: None)
        batch, count, _ = tokens.shape
        qkv = self.qkv(self.norm1(tokens))
        query, key, value = qkv.reshape(batch, count, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4).unbind(0)
        logits = (query * (WIDTH // HEADS) ** -0.5) @ key.transpose(-2, -1)
        attended = self.proj((logits.softmax(-1) @ value).transpose(1, 2).reshape(batch, count, WIDTH)) * self.gamma1
        tokens = tokens + attended
        result = self.whole(tokens)
        branch = self.scaled(result)
        for place, one in {"qkv": qkv, "logits": logits, "attended": attended, "mlp": result, "branch": branch}.items():
            hook(place, DEPTH - 1 - self.number, one)
        return tokens + branch


class Scaled(nn.Module):
    """Patches of 4 x 4 through four blocks; the head reads the mean."""

    def __init__(self, signs: bool) -> None:
        super().__init__()
        self.embed, self.places = nn.Conv2d(3, WIDTH, 4, 4), nn.Parameter(torch.randn(1, 9, WIDTH))
        self.blocks = nn.ModuleList(Block(number, signs) for number in range(DEPTH))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(
        self, images: torch.Tensor, hook: Callable[[str, int, torch.Tensor], None] | None = None
    ) -> torch.Tensor:
        tokens = self.embed(images).flatten(2).transpose(1, 2) + self.places
        for block in self.blocks:
            tokens = block(tokens, hook)
        logits: torch.Tensor = self.head(self.norm(tokens).mean(1))
        return logits


def network(signs: bool) -> Scaled:
    with torch.random.fork_rng():
        torch.manual_seed(4)
        module = Scaled(signs).double().eval()
    with torch.no_grad():
        for block in module.blocks:
            block.qkv.weight.mul_(3)
    return module


class Att:
    """One image's gradients, from the last block to the first."""

    def __init__(self, factors: dict[str, float], truncated: int) -> None:
        self.factors, self.truncated = factors, truncated
        self.spread: dict[tuple[str, int], float] = {}

    def __call__(self, place: str, depth: int, gradient: torch.Tensor) -> torch.Tensor:
        if place not in self.factors:
            return gradient
        result = gradient * (0 if place == "logits" and depth < self.truncated else self.factors[place])
        spread, before = spread_of(result), self.spread.get((place, depth - 1), 0)
        share = min(max(0.5 + 0.01 * (1 - (spread / before) ** 0.5), 0), 1) if before else 0.5
        weaken_extremes(result[0], share, lines=place == "logits")
        self.spread[place, depth] = spread_of(result)
        return result


class Tgr(Att):
    def __call__(self, place: str, depth: int, gradient: torch.Tensor) -> torch.Tensor:
        result = gradient * self.factors.get(place, 1)
        if place in self.factors:
            weaken_extremes(result[0], 0, lines=place == "logits")
        return result


def spread_of(gradient: torch.Tensor) -> float:
    values = gradient.flatten().tolist()
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / (len(values) - 1)


def weaken_extremes(gradient: torch.Tensor, share: float, lines: bool) -> None:
    """In place: rows and columns through each head's extremes, or each channel's extreme tokens."""
    if not lines:
        for channel in gradient.T:
            for token in {int(channel.argmax()), int(channel.argmin())}:
                channel[token] *= share
        return
    for head in gradient:
        for place in (int(head.argmax()), int(head.argmin())):
            row, column = divmod(place, head.shape[-1])
            head[row] *= share
            head[:, column] *= share


def leaky(leak: float) -> Act:
    """GELU whose derivative d is d + leak (1 - d)."""

    def act(value: torch.Tensor) -> torch.Tensor:
        rest = leak * (value - functional.gelu(value))
        return functional.gelu(value) + rest - rest.detach()

    return act


class Rebalanced(torch.autograd.Function):
    """An MLP that passes alpha u, with u its linear and v its ordinary gradient, alpha = |v| / |u|."""

    @staticmethod
    def forward(ctx: Any, tokens: torch.Tensor, block: Block) -> torch.Tensor:
        ctx.save_for_backward(tokens)
        ctx.block = block
        return block.mlp(tokens)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        passed = []
        for leak in (1.0, 0.0):
            with torch.enable_grad():
                tokens = ctx.saved_tensors[0].detach().requires_grad_()
                ctx.block.act = leaky(leak)
                passed.append(torch.autograd.grad(ctx.block.mlp(tokens), tokens, gradient)[0])
        return passed[0] * (passed[1].norm() / passed[0].norm()), None


def by_hand(
    signs: bool,
    row: int,
    rule: Att,
    leak: float | None = 0.0,
    start: int = 0,
    decay: dict[str, float] | None = None,
) -> torch.Tensor:
    """Of one image's cross-entropy.

    Args:
        signs: of LayerScale, mixed or not.
        row: of the images.
        rule: makes the gradient that goes on at each place.
        leak: of LinBP; None is its linear form with a ratio for each branch.
        start: first block that it acts on.
        decay: SGM's, of whole branches.
    """
    module, (images, labels) = network(signs), images_and_labels(COUNT)
    for block in module.blocks[start:]:
        if leak is None:
            block.whole = lambda tokens, block=block: Rebalanced.apply(tokens, block)
        else:
            block.act = leaky(leak)

    def hook(place: str, depth: int, value: torch.Tensor) -> None:
        factor = (decay or {}).get(place, 1.0)
        value.register_hook(lambda gradient: rule(place, depth, factor * gradient))

    leaf = (images[row : row + 1].double() / 255).requires_grad_()
    logits = module((leaf - 0.5) / 0.25, hook)
    return torch.autograd.grad(functional.cross_entropy(logits, labels[row : row + 1]), leaf)[0][0]


@pytest.fixture(scope="module", params=[False, True], ids=["positive", "mixed signs"])
def scaled(request: pytest.FixtureRequest) -> tuple[bool, linbp.Surrogate]:
    settings = {"input_size": (3, SIZE, SIZE), "mean": (0.5,) * 3, "std": (0.25,) * 3}
    return request.param, linbp.Surrogate(linbp.Model(network(request.param), **settings, name="scaled"))  # type: ignore[arg-type]


BOTH, MLP = {"attended": 0.4, "branch": 0.4}, {"branch": 0.4}
CASES: dict[str, dict[str, Any]] = {
    "{}": {},
    "leaky-linbp + {}": {"leak": 0.1},
    "linbp(start=0, rebalance=none) + {}": {"leak": 1.0},
    "linbp(start=0) + {}": {"leak": None},
    "{} + linbp(start=2)": {"leak": None, "start": 2},
    "sgm(gamma=0.4) + {}": {"decay": BOTH},
    "{} + sgm(gamma=0.4, branches=mlp)": {"decay": MLP},
    "linbp(start=0) + sgm(gamma=0.4) + {}": {"leak": None, "decay": BOTH},
    "linbp(start=2) + {} + sgm(gamma=0.4, branches=mlp)": {"leak": None, "start": 2, "decay": MLP},
}


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("rule", ["att", "tgr"])
def test_the_mlp_is_changed_before_layer_scale(scaled: tuple[bool, linbp.Surrogate], rule: str, text: str) -> None:
    signs, surrogate = scaled
    images, labels = images_and_labels(COUNT)
    rules = Recipe.parse(text.format("att(truncated=1)" if rule == "att" else rule)).stages[-1].rules
    found = surrogate.with_rule(rules).gradient(images.double() / 255, labels)
    for row in range(COUNT):
        att, tgr = {"logits": 0.45, "qkv": 0.7, "mlp": 0.65}, {"logits": 0.25, "qkv": 0.75, "mlp": 0.5}
        expected = by_hand(signs, row, Att(att, 1) if rule == "att" else Tgr(tgr, 0), **CASES[text])
        assert float((found[row] - expected).norm() / expected.norm()) < 1e-10

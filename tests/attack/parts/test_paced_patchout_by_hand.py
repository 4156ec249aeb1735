"""Self-paced PatchOut and the reward for long changes against slow second implementations, image by image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional

import linbp
from linbp.attack import Recipe
from linbp.errors import RecipeError, RuleError
from linbp.randomness import generator

SIZE, PATCHES, COUNT, EPS, STEP, STEPS, SEED = 32, 8, 3, 20 / 255, 7 / 255, 4, 3
MEAN, STD = 0.5, 0.25


def transformer() -> nn.Module:
    """Three blocks on 4 x 4 patches and a class token, float64."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module: nn.Module = timm.create_model(
            "vit_tiny_patch16_224", img_size=SIZE, patch_size=PATCHES, embed_dim=12, depth=3, num_heads=2, num_classes=5
        )
        for parameter in module.parameters():
            nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


@pytest.fixture(scope="module")
def surrogate() -> linbp.Surrogate:
    return linbp.Surrogate(linbp.Model(transformer(), input_size=(3, SIZE, SIZE), mean=(MEAN,) * 3, std=(STD,) * 3))


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    draw = np.random.default_rng(1)
    return torch.from_numpy(draw.integers(30, 220, (COUNT, 3, SIZE, SIZE), dtype=np.uint8))


def relevance(net: nn.Module, clean: torch.Tensor, block: int) -> np.ndarray:
    """Of each of the 4 x 4 tokens: the sum of its values times the gradient of all logits' sum."""
    kept: list[torch.Tensor] = []
    hook = net.blocks[block].register_forward_hook(lambda _, __, result: kept.append(result))  # type: ignore[union-attr, operator, index]
    logits = net((clean[None] - MEAN) / STD)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits.sum(), kept[0])
    return (kept[0] * gradient)[0, 1:].sum(1).detach().numpy().reshape(4, 4)


def at_pixels(tokens: np.ndarray) -> np.ndarray:
    """Bilinear, with the pixels' middles where they are."""
    result = np.zeros((SIZE, SIZE))
    for row in range(SIZE):
        for column in range(SIZE):
            places = [max((at + 0.5) * len(tokens) / SIZE - 0.5, 0) for at in (row, column)]
            low = [min(int(place), len(tokens) - 1) for place in places]
            high = [min(one + 1, len(tokens) - 1) for one in low]
            down, across = (place - one for place, one in zip(places, low, strict=True))
            result[row, column] = (
                tokens[low[0], low[1]] * (1 - down) * (1 - across)
                + tokens[low[0], high[1]] * (1 - down) * across
                + tokens[high[0], low[1]] * down * (1 - across)
                + tokens[high[0], high[1]] * down * across
            )
    return result


def thresholds(tokens: np.ndarray, patch: int, scale: float, base: float) -> np.ndarray:
    pixels, count = at_pixels(tokens), math.ceil(SIZE / patch)
    cells = [
        [pixels[r * patch : (r + 1) * patch, c * patch : (c + 1) * patch] for c in range(count)] for r in range(count)
    ]
    means = np.array([[cell.mean() for cell in row] for row in cells])
    return scale * (means - means.min()) / (means.max() - means.min()) + base


def attack(
    net: nn.Module,
    clean: torch.Tensor,
    label: torch.Tensor,
    point: Callable[[torch.Tensor, int], torch.Tensor],
    reward: float,
) -> torch.Tensor:
    """I-FGSM on one image, whose gradient is taken at another point, and with a reward for the change's length."""
    current = clean
    for step in range(STEPS):
        value = current.clone().requires_grad_()
        logits = net((point(value, step)[None] - MEAN) / STD)
        (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, label[None]), value)
        change = current - clean
        if reward and bool(change.abs().sum() > 0):
            gradient = gradient + reward * change / change.pow(2).sum().sqrt()
        current = (current + STEP * gradient.sign()).clamp(clean - EPS, clean + EPS).clamp(0, 1)
    return (current * 255).round()


@pytest.mark.parametrize(
    ("text", "block", "patch", "scale", "base"),
    [
        ("paced-patchout(patch=8)", 1, 8, 0.4, 0.4),  # the last block but one of three
        ("paced-patchout(patch=5, scale=0.6, base=0.1, at=blocks.0)", 0, 5, 0.6, 0.1),
    ],
)
def test_patches_are_left_out_by_their_relevance(
    surrogate: linbp.Surrogate, images: torch.Tensor, text: str, block: int, patch: int, scale: float, base: float
) -> None:
    labels = torch.tensor([0, 1, 2])
    options = {"eps": EPS, "steps": STEPS, "step_size": STEP, "seed": SEED, "ids": ["0", "1", "2"]}
    found = linbp.craft(surrogate, images, labels, text, **options)
    net = transformer()
    for row in range(COUNT):
        clean = images[row].double() / 255
        worth = thresholds(relevance(net, clean, block), patch, scale, base)

        def point(
            value: torch.Tensor, step: int, clean: torch.Tensor = clean, worth: np.ndarray = worth, row: int = row
        ) -> torch.Tensor:
            drawn = generator(SEED, str(row), step, "paced-patchout").random(worth.shape)
            mask = torch.zeros(SIZE, SIZE, dtype=torch.float64)
            for r in range(SIZE):
                for c in range(SIZE):
                    cell = r // patch, c // patch
                    mask[r, c] = float(drawn[cell] <= 0.99 - (0.99 - worth[cell]) * (step + 1) / STEPS)
            return clean + mask * (value - clean)

        assert torch.equal((found[row] * 255).round(), attack(net, clean, labels[row], point, 0))


def test_a_longer_change_is_rewarded_image_by_image(surrogate: linbp.Surrogate, images: torch.Tensor) -> None:
    labels, net = torch.tensor([0, 1, 2]), transformer()
    adv = {}
    for reward, text in ((0, "ce"), (3.0, "rewarded-ce(reward=3)")):
        adv[reward] = linbp.craft(surrogate, images, labels, text, eps=EPS, steps=STEPS, step_size=STEP)
        for row in range(COUNT):
            by_hand = attack(net, images[row].double() / 255, labels[row], lambda value, step: value, reward)
            assert torch.equal((adv[reward][row] * 255).round(), by_hand)
    assert not torch.equal(adv[0], adv[3.0])


def test_what_leads_to_no_patches_is_refused(surrogate: linbp.Surrogate, images: torch.Tensor) -> None:
    labels = torch.tensor([0, 1, 2])
    for text in ("paced-patchout(scale=0.7, base=0.4)", "paced-patchout(patch=0)", "rewarded-ce(reward=0)"):
        with pytest.raises(RecipeError):
            Recipe.parse(text)
    with pytest.raises(RecipeError, match="smaller patch"):
        linbp.craft(surrogate, images, labels, "paced-patchout(patch=32)", eps=EPS, steps=2)
    with pytest.raises(RuleError, match="nowhere"):
        linbp.craft(surrogate, images, labels, "paced-patchout(patch=8, at=nowhere)", eps=EPS, steps=2)


def test_it_takes_one_gradient_before_the_first_step(surrogate: linbp.Surrogate) -> None:
    recipe = Recipe.parse("paced-patchout(patch=8) + mi")
    assert recipe.gradients(10, 1) == 11
    assert recipe.gradients(10, 2) == 22

"""Every part with every part of another kind, in sums of five: two steps on a tiny network.

Every sum obeys its budget and is changed by each of its parts, or is refused with the reason.
"""

from __future__ import annotations

import functools
import itertools
import os
from collections import Counter
from typing import Any

import pytest
import torch
from tiny_networks import images_and_labels
from tiny_transformer import WIDTH, gelu
from tiny_transformer import Block as TransformerBlock
from torch import nn

import linbp
from linbp.attack import Recipe
from linbp.errors import LinbpError, RecipeError
from linbp.registry import Kind, names
from linbp.testing.networks import Turning

SIZE, CLASSES, COUNT, STEPS, EPS, STEP = 8, 5, 3, 2, 20 / 255, 12 / 255


def every(kind: Kind, *written: str) -> tuple[str, ...]:
    """These parts, and by their bare names all others of that kind that are registered."""
    there = {part.partition("(")[0] for example in written for part in example.split(" + ")}
    return (*written, *(name for name in names(kind) if name not in there))


ATTENTIVE = ("pna", "tgr", "att(truncated=0)", "vdc")
"""Rules that act on transformers."""
RULES = every("rule", "", "linbp(start=0)", "sgm", "conbp(start=0)", "bpa(start=0)", *ATTENTIVE)
TRANSFORMS = every(
    "transform",
    "",
    "di(scale=1.5)",
    "noise",
    "ti(size=3, kernel=uniform)",
    "si(scales=2)",
    "admix(partners=1, scales=2)",
    "ssa(copies=2)",
    "bsr(copies=2)",
    "sia(copies=2)",
    "ops(operators=2, noises=1)",
    "dem(scales=[1.3, 1.6])",
    "shift-grid(shifts=2)",
    "patchout(patch=2)",
    "paced-patchout(patch=2, at=block)",
    "ilpd(at=first, share=0.4)",
)
OBJECTIVES = every(
    "objective",
    "ce",
    "logit",
    "margin",
    "tap(at=block, distance=0.5)",
    "nrdm(at=block) + random-start",
    "fda(at=block)",
    "ila(at=block)",
    "ilaf(at=block)",
    "ila-plus-plus(at=block)",
    "fia(at=block, samples=2)",
    "naa(at=block, samples=2)",
    "bfa(at=block, samples=2)",
    "rewarded-ce(reward=5)",
)
UPDATES = every("update", "sign", "fgsm", "mi", "ni", "damped-mi", "running-mean")
VARIANCE = "vt(neighbours=1)"
ESTIMATORS = every(
    "estimator",
    "plain",
    VARIANCE,
    "pgn(samples=1)",
    "svre(rounds=1)",
    "cwa(inner_step=0.05)",
    "gra(neighbours=1)",
    "mef(samples=2)",
    "gnp(radius=0.5)",
    "turns(count=2)",
    "rap(steps=2, late=0)",
    "decowa(warps=1)",
)
SEVERAL = ("svre(rounds=1)", "cwa(inner_step=0.05)")
"""Estimators that need an ensemble."""

Sum = tuple[str, str, str, str, str]
PLAIN: Sum = ("", "", "ce", "sign", "plain")


class Small(nn.Module):
    """A stem, a max-pool, one residual block and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.first = nn.MaxPool2d(2)
        self.block = Block()
        self.head = nn.Linear(6 * (SIZE // 2) ** 2, CLASSES)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.first(torch.relu(self.stem(images)))).flatten(1))


class Block(nn.Module):
    """conv, ReLU, conv, sum, ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.relu(value + self.conv2(torch.relu(self.conv1(value))))


class SmallTransformer(nn.Module):
    """Patches of 2 x 2, two transformer blocks, and a head that reads them all."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, WIDTH, 2, 2)
        self.first, self.block = TransformerBlock(0), TransformerBlock(1)
        self.head = nn.Linear(WIDTH * (SIZE // 2) ** 2, CLASSES)
        self.first.hook = self.block.hook = gelu

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.block(self.first(self.embed(images).flatten(2).transpose(1, 2))).flatten(1))


TURNS = "turns(count=2)"
"""The estimator that needs a surrogate whose weights take turns."""


@functools.cache
def surrogate(seed: int, rule: str, reads: bool = False, attentive: bool = False) -> linbp.Surrogate:
    """A network with seeded weights, captured once, with a rule; it may read the block's output.

    Rules for transformers act on one, and so does the sum without such a rule that they are compared with.
    """
    if reads:
        return surrogate(seed, rule, attentive=attentive).reading(["block"])
    if rule:
        return surrogate(seed, "", attentive=attentive).with_rule(Recipe.parse(rule).stages[-1].rules)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = (SmallTransformer() if attentive else Small()).double()
        for parameter in module.parameters():
            parameter.data.mul_(2)  # bends the network: its gradient changes from step to step
    return linbp.Surrogate(linbp.Model(module, input_size=(3, SIZE, SIZE), mean=(0.5,) * 3, std=(0.25,) * 3))


@functools.cache
def turns(rule: str, attentive: bool) -> linbp.Surrogate:
    """Two networks that take turns, with a rule."""
    both = Turning(*(surrogate(seed, "", attentive=attentive).model for seed in (1, 2)))
    return linbp.Surrogate(both, surrogate(1, rule, attentive=attentive).rules)


def text(parts: Sum) -> str:
    """The sum without its rule, which the surrogates have already."""
    _, transform, objective, update, estimator = parts
    return " + ".join(part for part in (transform, objective, update, estimator) if part)


@functools.cache
def adv(parts: Sum, several: bool = False, attentive: bool = False, turning: bool = False) -> torch.Tensor | str:
    """The adversarial images in levels, made on one network, on an ensemble of two, or on two that take turns; or why
    the sum is refused.
    """
    images, labels = images_and_labels(COUNT)
    members = [surrogate(seed, parts[0], "block" in parts[2], attentive) for seed in (1, 2)]
    if turning:
        members = [turns(parts[0], attentive).reading(members[0].reads)]
    try:
        recipe = Recipe.parse(text(parts))
        mixing = any(transform.needs_pool for transform in recipe.stages[-1].transforms)
        found = linbp.craft(
            linbp.Ensemble(members, fuse="losses") if several else members[0],
            images[..., :SIZE, :SIZE],
            labels % CLASSES,
            recipe,
            eps=EPS,
            steps=None if recipe.single_step else STEPS,
            step_size=None if recipe.single_step else STEP,
            seed=5,
            pool=linbp.Pool(images_and_labels(4, seed=1)[0][..., :SIZE, :SIZE]) if mixing else None,
        )
    except LinbpError as refusal:
        return f"{refusal.message} {refusal.hint}"
    return (found * 255).round()


def without(parts: Sum, place: int) -> Sum:
    """The same sum with I-FGSM's part in one place; a start that an objective needs goes with it."""
    return (*parts[:place], PLAIN[place], *parts[place + 1 :])  # type: ignore[return-value]


def refused(parts: Sum) -> str | None:
    """Why a sum is refused, or None: a part that can have no effect in a single step, or two that exclude each other.

    Variance tuning corrects by the step before; TAP's terms and the reward for long changes have no gradient at the
    clean image, where the first step's only gradient is taken.
    """
    _, transform, objective, update, estimator = parts
    tap, rewarded = objective.startswith("tap("), objective.startswith("rewarded-ce")
    if tap and estimator.startswith("decowa("):
        return "decowa + tap: "
    if update != "fgsm":
        return None
    if estimator == VARIANCE:
        return "vt would have no effect in 1 step."
    at_clean = estimator == "plain" and transform.partition("(")[0] in ("", "ti", "patchout", "paced-patchout")
    idle = (tap and at_clean) or (rewarded and estimator in ("plain", TURNS))
    return f"{objective.partition('(')[0]} would have no effect in 1 step." if idle else None


KINDS = (RULES, TRANSFORMS, OBJECTIVES, UPDATES, ESTIMATORS)
TIMES = 2 if os.environ.get("LINBP_TEST_ALL") else 1
"""In how many sums each two parts meet, at least: twice in continuous integration."""


@functools.cache
def sums() -> tuple[Sum, ...]:
    """Sums of five in which every two parts of different kinds meet, found greedily; and every two parts alone."""
    pairs = [
        ((one, first), (other, second))
        for one, other in itertools.combinations(range(len(KINDS)), 2)
        for first in KINDS[one]
        for second in KINDS[other]
    ]
    missing = Counter(dict.fromkeys(pairs, TIMES))
    found = [text for pair in pairs if (text := alone(pair)) != PLAIN]
    while missing:
        made = dict(next(iter(missing)))
        for kind, parts in enumerate(KINDS):
            if kind not in made:
                chosen = list(made.items())
                made[kind] = max(parts, key=lambda part: gain(missing, chosen, (kind, part)))
        found.append(tuple(made[kind] for kind in range(len(KINDS))))  # type: ignore[arg-type]
        for pair in itertools.combinations(sorted(made.items()), 2):
            missing[pair] -= 1
            if missing[pair] <= 0:
                del missing[pair]
    return tuple(dict.fromkeys(found))


def gain(missing: Counter[Any], chosen: list[tuple[int, str]], part: tuple[int, str]) -> int:
    """How many meetings that are still missing a part would have with those that are chosen."""
    return sum(missing.get(tuple(sorted((part, other))), 0) for other in chosen)  # type: ignore[call-overload, misc]


def alone(pair: tuple[tuple[int, str], tuple[int, str]]) -> Sum:
    """Two parts, and I-FGSM's in all other places."""
    made = {**dict(enumerate(PLAIN)), **dict(pair)}
    return tuple(made[kind] for kind in range(len(KINDS)))  # type: ignore[return-value]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES)
def test_every_sum_is_changed_by_each_of_its_parts_or_refused(rule: str) -> None:
    clean = images_and_labels(COUNT)[0][..., :SIZE, :SIZE].double()
    ran = 0
    for parts in sums():
        if parts[0] != rule:
            continue
        company = parts[-1] in SEVERAL, rule in ATTENTIVE, parts[-1] == TURNS
        found = adv(parts, *company)
        if refused(parts) is not None:
            assert str(found).startswith(str(refused(parts))), (parts, found)
            continue
        assert isinstance(found, torch.Tensor), (parts, found)
        ran += 1
        change = (found - clean).abs()
        assert 0 < change.max() <= 20, parts
        assert found.min() >= 0, parts
        assert found.max() <= 255, parts
        for place in range(len(parts)):
            less = without(parts, place)
            if less == parts:
                continue
            before = adv(less, *company)
            assert isinstance(before, str) is (refused(less) is not None), (less, before)
            assert isinstance(before, str) or not torch.equal(before, found), (parts, less)
    assert ran >= 40


def test_a_sum_of_two_that_exclude_each_other_is_refused() -> None:
    with pytest.raises(RecipeError, match="si"):
        Recipe.parse("si + admix")


def test_a_rule_behind_everything_that_is_read_is_refused() -> None:
    images, labels = images_and_labels(COUNT)
    arguments = (images[..., :SIZE, :SIZE], labels % CLASSES)
    for objective in ("ila(at=stem)", "fda(at=stem)", "nrdm(at=stem) + random-start"):
        with pytest.raises(RecipeError, match=r"linbp.*no effect.*'stem'"):
            linbp.craft(surrogate(1, ""), *arguments, f"linbp(start=1) + {objective}", eps=EPS, steps=STEPS)
    linbp.craft(surrogate(1, ""), *arguments, "linbp(start=1) + tap(at=stem)", eps=EPS, steps=STEPS)  # reads logits too

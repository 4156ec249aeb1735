"""Every objective's gradient, and whole attacks with it, against formulas written out in numpy on the eager module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from eager import (
    COUNT,
    EPS,
    STEP,
    Array,
    Look,
    Setting,
    climb,
    craft,
    cross_entropy_gradient,
    linbp_gradient,
    look,
    make_setting,
    one,
    pull_back,
    softmax,
)
from tiny_networks import CLASSES, SIZE

from linbp.attack import Budget, Context, Goal, Observation, Recipe, Trace, prepare
from linbp.randomness import generator

NODES = ("stem", "blocks.0.conv2", "blocks.0", "blocks.1")

Formula = Callable[[Look, Look, Look, int, "int | None"], Mapping[str, Array]]
"""Gradients at logits, feature maps and image, from the point, the clean image, the guide's end, label and target."""


def box(change: Array) -> Array:
    """The mean over 3 x 3 pixels, those outside of the image counting as 0."""
    padded = np.pad(change, ((0, 0), (1, 1), (1, 1)))
    return sum(padded[:, row : row + SIZE, column : column + SIZE] for row in range(3) for column in range(3)) / 9


def tap(paths: tuple[str, ...], distance: float, smoothness: float) -> Formula:
    def formula(point: Look, clean: Look, guide: Look, label: int, target: int | None) -> dict[str, Array]:
        found = {"logits": cross_entropy_gradient(point.logits, label, target)}
        found["image"] = smoothness * box(np.sign(box(point.image - clean.image)))  # a box is its own transpose
        for path in paths:
            here, there = point.features[path], clean.features[path]
            away = np.sign(here) * np.abs(here) ** 0.5 - np.sign(there) * np.abs(there) ** 0.5
            slope = np.divide(0.5, np.abs(here) ** 0.5, out=np.zeros_like(here), where=here != 0)
            found[path] = distance * 2 * away * slope
        return found

    return formula


def nrdm(paths: tuple[str, ...]) -> Formula:
    def formula(point: Look, clean: Look, guide: Look, label: int, target: int | None) -> dict[str, Array]:
        away = {path: point.features[path] - clean.features[path] for path in paths}
        length = np.sqrt(sum((value**2).sum() for value in away.values()))
        return {path: value / length if length else value for path, value in away.items()}

    return formula


def fda(paths: tuple[str, ...], axis: int = 0) -> Formula:
    def formula(point: Look, clean: Look, guide: Look, label: int, target: int | None) -> dict[str, Array]:
        found = {}
        for path in paths:
            here, there = point.features[path], clean.features[path]
            weak = there < there.mean(axis, keepdims=True)
            found[path] = np.where(weak, here / (here[weak] ** 2).sum(), -here / (here[~weak] ** 2).sum())
        return found

    return formula


def logit(point: Look, clean: Look, guide: Look, label: int, target: int | None) -> dict[str, Array]:
    return {"logits": -one(label, CLASSES) if target is None else one(target, CLASSES)}


def margin(point: Look, clean: Look, guide: Look, label: int, target: int | None) -> dict[str, Array]:
    second, first = np.sort(point.logits)[-2:]
    gap = first - second
    aim = label if target is None else target
    slope = (softmax(point.logits / gap) - one(aim, CLASSES)) / gap
    return {"logits": slope if target is None else -slope}


def ila(*paths: str) -> Formula:
    def formula(point: Look, clean: Look, guide: Look, label: int, target: int | None) -> dict[str, Array]:
        return {path: guide.features[path] - clean.features[path] for path in paths}

    return formula


def ilaf(alpha: float, *paths: str) -> Formula:
    def formula(point: Look, clean: Look, guide: Look, label: int, target: int | None) -> dict[str, Array]:
        wanted = {path: guide.features[path] - clean.features[path] for path in paths}
        have = {path: point.features[path] - clean.features[path] for path in paths}
        length = np.sqrt(sum((value**2).sum() for value in wanted.values()))
        size = np.sqrt(sum((value**2).sum() for value in have.values()))
        if size == 0:
            return {path: value / length for path, value in wanted.items()}
        dot = sum((wanted[path] * have[path]).sum() for path in paths)
        return {
            path: wanted[path] / (length * size)
            - dot * have[path] / (length * size**3)
            + alpha * have[path] / (size * length)
            for path in paths
        }

    return formula


@dataclass(frozen=True)
class Case:
    text: str
    formula: Formula
    targeted: bool = False


CASES = [
    Case("tap", tap(("blocks.0", "blocks.1"), 0.005, 0.01)),
    Case("tap(at=[stem, blocks.0.conv2], distance=0.02, smoothness=0.3)", tap(("stem", "blocks.0.conv2"), 0.02, 0.3)),
    Case("tap", tap(("blocks.0", "blocks.1"), 0.005, 0.01), targeted=True),
    Case("nrdm + random-start(radius=0.25)", nrdm(("blocks.0",))),
    Case("nrdm(at=[stem, blocks.1]) + random-start", nrdm(("stem", "blocks.1"))),
    Case("fda", fda(("blocks.0", "blocks.1"))),
    Case("fda(at=blocks.0.conv2, channels=last)", fda(("blocks.0.conv2",), axis=2)),
    Case("logit", logit),
    Case("logit", logit, targeted=True),
    Case("margin", margin),
    Case("margin", margin, targeted=True),
    Case("ila(at=blocks.0)", ila("blocks.0")),
    Case("ila(at=blocks.0.conv2)", ila("blocks.0.conv2")),
    Case("ila(at=[stem, blocks.1])", ila("stem", "blocks.1")),
    Case("ila(at=blocks.0)", ila("blocks.0"), targeted=True),
    Case("ilaf(at=blocks.0)", ilaf(0.8, "blocks.0")),
    Case("ilaf(at=[blocks.0.conv2, blocks.1], alpha=3)", ilaf(3.0, "blocks.0.conv2", "blocks.1")),
]
IDS = [case.text + (" targeted" if case.targeted else "") for case in CASES]


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting()


def near(clean: Array, seed: int) -> Array:
    """Any images in the ball."""
    change = np.random.default_rng(seed).uniform(-EPS, EPS, clean.shape)
    return np.clip(clean + change, 0, 1)


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("where", ["clean", "near"])
def test_gradients(setting: Setting, case: Case, where: str) -> None:
    recipe = Recipe.parse(case.text)
    surrogate = prepare(setting.surrogate, recipe).stages[-1].surrogates[0]
    points = setting.clean if where == "clean" else near(setting.clean, 1)
    ends = near(setting.clean, 2)
    clean = torch.from_numpy(setting.clean)
    context = Context(
        budget=Budget(clean, [EPS] * COUNT, norm="linf", rounding="inward"),
        goal=Goal(
            labels=torch.tensor(setting.labels), targets=torch.tensor(setting.targets) if case.targeted else None
        ),
        step_size=torch.full((COUNT, 1, 1, 1), STEP),
        steps=2,
        trace=Trace(images=torch.from_numpy(ends)),
    )
    measure = recipe.stages[-1].objective.bind(context, lambda images: surrogate.observe(images)[1])
    start = torch.from_numpy(points).requires_grad_()
    logits, features = surrogate.observe(start)
    (found,) = torch.autograd.grad(measure(Observation(logits=logits, features=features, images=start)).sum(), start)
    for row in range(COUNT):
        looks = [look(setting.net, images[row], NODES) for images in (points, setting.clean, ends)]
        target = setting.targets[row] if case.targeted else None
        expected = pull_back(
            setting.net, points[row], dict(case.formula(looks[0], looks[1], looks[2], setting.labels[row], target))
        )
        assert np.isfinite(found.numpy()).all()
        if where == "near" or "nrdm" not in case.text:
            assert np.abs(expected).max() > 0
        assert np.abs(found[row].numpy() - expected).max() <= 1e-10 * max(np.abs(expected).max(), 1e-12)


def attacked(setting: Setting, row: int, case: Case, steps: int) -> Array:
    """The last point of the whole attack on one image; I-FGSM of five steps guides what needs a guide."""
    net, clean, label = setting.net, setting.clean[row], setting.labels[row]
    target = setting.targets[row] if case.targeted else None
    options = {"step_size": STEP, "eps": EPS}

    def plain(at: Array) -> Array:
        return pull_back(net, at, {"logits": cross_entropy_gradient(look(net, at).logits, label, target)})

    before, end = look(net, clean, NODES), look(net, climb(clean, plain, steps=5, **options)[-1], NODES)
    first = None
    if "random-start" in case.text:
        noise = 2 * generator(9, str(row), 0, "random-start").random(clean.shape) - 1
        first = clean + EPS * (0.25 if "radius" in case.text else 1.0) * noise

    def gradient(at: Array) -> Array:
        return pull_back(net, at, dict(case.formula(look(net, at, NODES), before, end, label, target)))

    return climb(clean, gradient, steps=steps, first=first, **options)[-1]


@pytest.mark.parametrize("case", CASES, ids=IDS)
@pytest.mark.parametrize("more", [0, 1])
def test_the_first_two_iterates(setting: Setting, case: Case, more: int) -> None:
    """The second and the third where the first is no different from I-FGSM's."""
    guided = "ila" in case.text
    steps = Recipe.parse(case.text).stages[-1].objective.fewest_steps + more
    text = case.text.replace(")", f", steps={steps})") if guided else case.text
    found = craft(setting, text, 5 if guided else steps, case.targeted)
    expected = np.stack([attacked(setting, row, case, steps) for row in range(COUNT)])
    assert np.array_equal(found, np.rint(expected * 255))


@pytest.mark.parametrize(
    "case", [case for case in CASES if "ila" in case.text and not case.targeted], ids=lambda case: case.text
)
def test_guided_by_linbp_with_momentum(setting: Setting, case: Case) -> None:
    found = craft(setting, f"linbp(start=1) + mi(decay=0.9) >> {case.text.replace(')', ', steps=2)')} + mi", 4)
    net = setting.net
    for row, clean in enumerate(setting.clean):
        label = setting.labels[row]
        options = {"step_size": STEP, "eps": EPS}
        guide = climb(clean, lambda at, label=label: linbp_gradient(net, at, label), steps=4, momentum=0.9, **options)
        before, end = look(net, clean, NODES), look(net, guide[-1], NODES)

        def gradient(at: Array, before: Look = before, end: Look = end, label: int = label) -> Array:
            return pull_back(net, at, dict(case.formula(look(net, at, NODES), before, end, label, None)))

        expected = climb(clean, gradient, steps=2, momentum=1.0, **options)[-1]
        assert np.array_equal(found[row], np.rint(expected * 255))

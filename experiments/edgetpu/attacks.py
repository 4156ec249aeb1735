"""Gradients along an attack, and attacks that are asked of the other networks."""

from __future__ import annotations

from typing import Any

import torch
from common.photographs import predictions

import linbp
from edgetpu import measure
from edgetpu.bench import LEVEL, OTHERS, PAIR, Bench, rules_of
from edgetpu.measure import losses, rounded


def path(bench: Bench, surrogate: str, name: str) -> dict[str, Any]:
    """Along ten steps of 1.6/255: how alike successive gradients are, and how they agree with the others'."""
    x, y = (part[:16] for part in bench.chosen)
    others = [bench.models[other] for other in OTHERS]
    take = bench.under(surrogate, name.removesuffix(" + mi")).gradient
    successive, agree, rise, own = [], {}, {}, []
    at, total, before = x, torch.zeros_like(x), None
    for step in range(10):
        g = take(at, y)
        if name.endswith(" + mi"):
            g = total = total + g / g.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
        if before is not None:
            successive.append(round(float(torch.tensor(measure.cosine(g, before)).mean()), 4))
        if step in (0, 3, 9):
            cosines = [measure.cosine(g, bench.surrogates[other].gradient(at, y)) for other in OTHERS]
            agree[step] = rounded(torch.tensor(cosines).mean(0))
            rise[step] = measure.rise(others, x, at, y)
        own.append(round(float(losses(bench.models[surrogate], at, y).mean()), 3))
        at, before = (at + 1.6 * LEVEL * g.sign()).clamp(x - 8 * LEVEL, x + 8 * LEVEL).clamp(0, 1), g
    rise[10] = measure.rise(others, x, at, y)
    return {"successive": successive, "agree": agree, "others": rise, "own": own}


SIZES = {10: 1.6 / 255, 20: 1 / 255}
PASS = 25


def rows_of(number: str) -> slice:
    """The photographs that are attacked together, from the beginning of the list."""
    return slice(int(number) * PASS, (int(number) + 1) * PASS)


def clean(bench: Bench, _: str, number: str) -> dict[str, Any]:
    """What all networks answer to the photographs, and the surrogates to copies."""
    images, labels = bench.images[rows_of(number)].float() / 255, bench.labels[rows_of(number)]
    copied = {name: on_copies(bench.models[name], images, labels) for name in PAIR}
    return {"labels": labels.tolist(), "classes": predictions(bench.models, images), "copies": copied}


def attack(bench: Bench, surrogate: str, name: str) -> dict[str, Any]:
    """What all networks answer to the adversarial images, and the surrogate to copies of them."""
    recipe, count, number = name.split(" | ")
    rule, _, text = recipe.rpartition(": ")
    taken, rows, labels = bench.surrogates[surrogate], rows_of(number), bench.labels[rows_of(number)]
    taken = taken.with_rule(rules_of(rule)) if rule else taken
    settings = {"eps": 8 / 255, "steps": int(count), "step_size": SIZES[int(count)], "batch_size": PASS}
    adv = linbp.craft(taken, bench.images[rows], labels, text, ids=bench.ids[rows], **settings)
    return {"classes": predictions(bench.models, adv), "copies": on_copies(bench.models[surrogate], adv, labels)}


def on_copies(model: Any, images: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """What a network predicts for mirrored, moved and smaller copies, and its mean loss on them."""
    copied = measure.copies(images)
    return {
        "classes": [model.logits(part).argmax(1).tolist() for part in copied],
        "loss": rounded(torch.stack([losses(model, part, labels) for part in copied]).mean(0)),
    }

"""Gradients along an attack, and attacks that are asked of the other networks."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch

import linbp
from edgetpu import measure
from edgetpu.bench import LEVEL, OTHERS, PAIR, Bench, rounded, rules
from edgetpu.gradients import straight

PATH = {
    "mobilenet_edgetpu": (
        *("ordinary", "branch from 0", "branch from 8", "branch from 12", "branch from 20", "branch from 28"),
        *("outside from 0", "inside from 0", "up to 1", "up to 4", "up to 8", "up to 16", "up to 24"),
        *("leak 0.1 from 0", "leak 0.25 from 0", "leak 0.5 from 0"),
        *("all but early branches", "early branches", "inside from 12"),
        *("ordinary + mi", "outside from 0 + mi", "branch from 20 + mi"),
        *("branch from 4", "branch from 16", "branch from 24"),
        *(f"{how} from {start}" for start in (0, 8, 12, 20, 28) for how in ("site", "none")),
    ),
    "squeezenet1_1": (
        *("ordinary", "branch from 3", "branch from 15", "branch from 0", "branch from 7"),
        *("leak 0.1 from 0", "leak 0.25 from 0", "ordinary + mi", "branch from 3 + mi"),
        *("pools linear, sites from 0", "pools linear, sites from 3"),
        *("branch from 10", "branch from 20", "site from 0", "site from 20"),
    ),
}


def path(bench: Bench, x: torch.Tensor, y: torch.Tensor, _: dict[str, torch.Tensor]) -> None:
    """Along ten steps of 1.6/255: how alike successive gradients are, and how they agree with the others'."""
    x, y = x[:16], y[:16]
    others = {name: linbp.Surrogate(bench.models[name]) for name in OTHERS}
    for surrogate, names in PATH.items():
        listed = dict(rules(surrogate, len(bench.surrogates[surrogate].sites)))
        for name in names:
            if not bench.missing("path", surrogate, name):
                continue
            begin, at, before = time.time(), x, None
            successive, agree, rise, own, total = [], {}, {}, [], torch.zeros_like(x)
            if name.startswith("pools"):
                take = partial(straight, bench, int(name.split()[-1]))
            else:
                take = bench.gradient(surrogate, listed[name.removesuffix(" + mi")])
            for step in range(10):
                g = take(at, y)
                if name.endswith(" + mi"):
                    total = total + g / g.abs().flatten(1).sum(1).view(-1, 1, 1, 1)
                    g = total
                if before is not None:
                    successive.append(round(float(torch.tensor(measure.cosine(g, before)).mean()), 4))
                if step in (0, 3, 9):
                    cos = [measure.cosine(g, other.gradient(at, y)) for other in others.values()]
                    agree[step] = rounded(torch.tensor(cos).mean(0))
                    rises = [measure.losses(m.model, at, y) - measure.losses(m.model, x, y) for m in others.values()]
                    rise[step] = rounded(torch.stack(rises).mean(0))
                own.append(round(float(measure.losses(bench.models[surrogate], at, y).mean()), 3))
                at, before = (at + 1.6 * LEVEL * g.sign()).clamp(x - 8 * LEVEL, x + 8 * LEVEL).clamp(0, 1), g
            rises = [measure.losses(m.model, at, y) - measure.losses(m.model, x, y) for m in others.values()]
            rise[10] = rounded(torch.stack(rises).mean(0))
            bench.keep("path", surrogate, name, begin, successive=successive, agree=agree, others=rise, own=own)


LEAK = "leak {} from 0: {}"
"""Not a recipe but a rule of one's own (`measure.Partly`) and the recipe that it is used with."""
BOTH = " + di(scale=8/7) + mi"
EDGE, CHAIN = PAIR
ATTACKS = (
    (EDGE, "ifgsm", 10),
    (EDGE, "linbp(start=0)", 10),
    (EDGE, "linbp(start=20)", 10),
    (EDGE, "linbp(start=0, sites=outside)", 10),
    (EDGE, LEAK.format(0.1, "ifgsm"), 10),
    (EDGE, "mdi2fgsm", 10),
    (EDGE, "linbp(start=0, sites=outside)" + BOTH, 10),
    (EDGE, LEAK.format(0.1, "mdi2fgsm"), 10),
    (CHAIN, "ifgsm", 10),
    (CHAIN, "linbp(start=3)", 10),
    (EDGE, "linbp(start=20, sites=outside)", 10),
    (EDGE, "linbp(start=28)", 10),
    (EDGE, "linbp(start=20)" + BOTH, 10),
    (EDGE, "linbp(start=0)" + BOTH, 10),
    (EDGE, "linbp(start=20, sites=outside)" + BOTH, 10),
    (EDGE, LEAK.format(0.25, "ifgsm"), 10),
    (EDGE, "linbp(start=0, sites=inside)", 10),
    (EDGE, "ifgsm", 20),
    (EDGE, "linbp(start=0)", 20),
    (EDGE, "linbp(start=20)", 20),
    (EDGE, "linbp(start=0, sites=outside)", 20),
    (EDGE, LEAK.format(0.1, "ifgsm"), 20),
)
SIZES = {10: 1.6 / 255, 20: 1 / 255}
PASS = 25


def attacks(bench: Bench, passes: int) -> None:
    """Attacks on photographs from the beginning of the list: what all networks answer, and the surrogate on copies."""
    for number in range(passes):
        rows = slice(number * PASS, (number + 1) * PASS)
        images, labels = bench.images[rows], bench.labels[rows]
        if bench.missing("clean", "", str(number)):
            begin, clean = time.time(), images.float() / 255
            copied = {name: on_copies(bench, name, clean, labels) for name in PAIR}
            figures = {"labels": labels.tolist(), "classes": classes_of(bench, clean), "copies": copied}
            bench.keep("clean", "", str(number), begin, **figures)
        for surrogate, recipe, count in ATTACKS:
            name = f"{recipe} | {count} | {number}"
            if not bench.missing("attack", surrogate, name):
                continue
            begin, ids = time.time(), bench.ids[rows]
            settings = {"eps": 8 / 255, "steps": count, "step_size": SIZES[count], "ids": ids, "batch_size": PASS}
            taken, text = bench.surrogates[surrogate], recipe
            if recipe.startswith("leak"):
                taken = taken.with_rule(measure.Partly(0, float(recipe.split()[1])))
                text = recipe.split(": ")[1]
            adv = linbp.craft(taken, images, labels, text, **settings)
            copied = on_copies(bench, surrogate, adv, labels)
            bench.keep("attack", surrogate, name, begin, classes=classes_of(bench, adv), copies=copied)


def on_copies(bench: Bench, surrogate: str, images: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
    """What the surrogate predicts for mirrored, moved and smaller copies, and its mean loss on them."""
    model = bench.models[surrogate]
    copied = measure.copies(images)
    classes = [[int(c) for c in model.logits(part).argmax(1)] for part in copied]
    return {
        "classes": classes,
        "loss": rounded(torch.stack([measure.losses(model, c, labels) for c in copied]).mean(0)),
    }


def classes_of(bench: Bench, images: torch.Tensor) -> dict[str, list[int]]:
    """The networks' classes."""
    return {name: [int(c) for c in model.logits(images).argmax(1)] for name, model in bench.models.items()}

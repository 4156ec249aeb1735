"""Why LinBP hurts on MobileNet EdgeTPU and helps on SqueezeNet 1.1: gradients, single steps, attacks.

    python experiments/edgetpu/analyse.py                # computes what is missing, then writes tables and a picture
    python experiments/edgetpu/analyse.py --tables       # writes the tables from what there is

Stages: `blocks` (norms and angles at the junctions), `sites` (active units), `constancy` (of the gradient over images),
`agreement` (with other networks' gradients), `steps` (one sign step, on the surrogate and on the others), `path` (ten
steps), `clean` and `attack`. Gradients and steps are measured on photographs from the end of the list that all six
networks get right, attacks are made on those from its beginning. `variants.toml` says what is measured of each.
Interrupted and started again, it goes on where it was; `docs/edgetpu.md` tells what came out.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch
from common.lines import read_lines
from common.photographs import modules, predictions
from torch.nn import functional

import linbp
from edgetpu import measure
from edgetpu.bench import EDGE, LEVEL, OTHERS, PAIR, RESULTS, Bench
from edgetpu.measure import losses, rounded
from edgetpu.tables import write

SIZES = {10: 1.6 / 255, 20: 1 / 255}
"""Of an attack's steps, by how many there are."""
PASS = 25


def blocks(bench: Bench, surrogate: str, how: str) -> dict[str, Any]:
    """Norms and angles at each block, and how far the gradient by hand is from the library's."""
    x, y = (part[:16] for part in bench.chosen)
    ours, rows = measure.Blocks(bench.surrogates[surrogate]).backward(x, y, how)
    theirs = bench.under(surrogate, how if how == "ordinary" else f"{how} from 0").gradient(x, y)
    return {"difference": distance(ours, theirs), "rows": rows}


def sites(bench: Bench, surrogate: str, _: str) -> dict[str, Any]:
    """At each site the share of active units, and of the gradient's energy that meets them."""
    x, y = bench.chosen
    module = getattr(modules(), surrogate)().requires_grad_(False)
    gates = measure.with_gates(module, bench.surrogates[surrogate])
    figures: dict[str, Any] = {}
    for mode in ("ordinary", "linear"):
        for gate in gates:
            gate.mode = mode
        start = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(module(start), y, reduction="sum"), start)
        figures[mode] = [round(float(gate.met.mean()), 4) for gate in gates]
        figures["active"] = [round(gate.active, 4) for gate in gates]
    return {**figures, "difference": distance(gradient, bench.under(surrogate, "none from 0").gradient(x, y))}


def distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """The norm of a difference in that of the second one."""
    return float((one - other).norm() / other.norm())


def constancy(bench: Bench, surrogate: str, name: str) -> dict[str, Any]:
    """How alike one logit's gradients are for different photographs, and how much of them is one repeated tile."""
    x, y = bench.chosen
    size = bench.models[surrogate].input_size[1:]
    small = functional.interpolate(x, size=size, mode="bilinear", antialias=True)[:16]
    changed, cosines, tiles = bench.under(surrogate, name), [], []
    for label in y[:3].tolist():
        start = small.clone().requires_grad_()
        (g,) = torch.autograd.grad(changed.run(start)[:, label].sum(), start)
        cosines.append(measure.alike(g))
        tiles += measure.periodic(g, 32 if surrogate == EDGE else 16)
    return {"alike": cosines, "tiles": tiles}


def agreement(bench: Bench, surrogate: str, name: str) -> dict[str, Any]:
    """Cosine and shared signs with the other networks' gradients, and cosine with the surrogate's own."""
    x, y = (part[:25] for part in bench.chosen)
    by_hand = name.removesuffix(" from 0")
    if by_hand in measure.BY_HAND:
        g, _ = measure.Blocks(bench.surrogates[surrogate]).backward(x, y, by_hand)
    else:
        g = bench.under(surrogate, name).gradient(x, y)
    cosines = {other: measure.cosine(g, theirs[:25]) for other, theirs in bench.ordinary.items()}
    own = cosines.pop(surrogate)
    sign = torch.tensor([measure.same_sign(g, bench.ordinary[other][:25]) for other in OTHERS])
    return {
        "cos": rounded(torch.tensor([cosines[other] for other in OTHERS]).mean(0)),
        "sign": rounded(sign.mean(0)),
        "by_network": dict(zip(cosines, rounded(torch.tensor([*cosines.values()]).mean(1)), strict=True)),
        "own": own,
        "averaged": measure.cosine(g, bench.averaged[surrogate][:25]),
        "norm": measure.norm(g),
    }


def steps(bench: Bench, surrogate: str, name: str) -> dict[str, Any]:
    """The rise of losses after one sign step: on the surrogate, on its changed copies of the image, on the others."""
    x, y = bench.chosen
    if name == "random signs":
        g = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    else:
        g = bench.averaged[surrogate] if name == "averaged" else bench.under(surrogate, name).gradient(x, y)
    model = bench.models[surrogate]
    others = [bench.models[other] for other in (*OTHERS, *PAIR) if other != surrogate]
    moved = {levels: (x + levels * LEVEL * g.sign()).clamp(0, 1) for levels in (1, 2, 4, 8)}
    pairs = zip(measure.copies(x), measure.copies(moved[8]), strict=True)
    copied = [losses(model, after, y) - losses(model, before, y) for before, after in pairs]
    fooled = [(measure.logits(other, moved[8]).argmax(1) != y).float() for other in others]
    return {
        "own": {levels: measure.rise([model], x, at, y) for levels, at in moved.items()},
        "copies": rounded(torch.stack(copied).mean(0)),
        "others": measure.rise(others, x, moved[8], y),
        "fooled": rounded(torch.stack(fooled).mean(0)),
    }


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
    taken, rows, labels = bench.under(surrogate, rule or "ordinary"), rows_of(number), bench.labels[rows_of(number)]
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="write the tables only")
    if not parser.parse_args().tables:
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        bench = Bench()
        for measured in (blocks, sites, constancy, agreement, steps, path, clean, attack):
            bench.fill(measured.__name__, measured)
    write(read_lines(RESULTS))


if __name__ == "__main__":
    main()

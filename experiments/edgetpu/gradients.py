"""Gradients at the clean photographs: blocks, sites, constancy, agreement and single steps."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from edgetpu import measure
from edgetpu.bench import EDGE, LEVEL, OTHERS, PAIR, Bench
from edgetpu.measure import losses, rounded


def blocks(bench: Bench, surrogate: str, how: str) -> dict[str, Any]:
    """Norms and angles at each block, and how far the gradient by hand is from the library's."""
    x, y = (part[:16] for part in bench.chosen)
    ours, rows = measure.Blocks(paths_of(bench, surrogate)).backward(x, y, how)
    theirs = bench.under(surrogate, how if how == "ordinary" else f"{how} from 0").gradient(x, y)
    return {"difference": distance(ours, theirs), "rows": rows}


def sites(bench: Bench, surrogate: str, _: str) -> dict[str, Any]:
    """At each site the share of active units, and of the gradient's energy that meets them."""
    x, y = bench.chosen
    module = getattr(measure.modules(), surrogate)().requires_grad_(False)
    gates = measure.with_gates(module, paths_of(bench, surrogate))
    figures: dict[str, Any] = {}
    for mode in ("ordinary", "linear"):
        for gate in gates:
            gate.mode, gate.watched = mode, []
        start = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(module(start), y, reduction="sum"), start)
        figures[mode] = [round(float(torch.cat(gate.watched or []).mean()), 4) for gate in gates]
    figures["active"] = [round(gate.active, 4) for gate in gates]
    return {**figures, "difference": distance(gradient, bench.under(surrogate, "none from 0").gradient(x, y))}


def paths_of(bench: Bench, surrogate: str) -> list[str]:
    """The modules that are a surrogate's sites."""
    return [site.module_path for site in bench.surrogates[surrogate].sites]


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
        g, _ = measure.Blocks(paths_of(bench, surrogate)).backward(x, y, by_hand)
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

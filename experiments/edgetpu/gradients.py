"""Gradients at the clean photographs: blocks, agreement, constancy and single steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from edgetpu import measure
from edgetpu.bench import LEVEL, OTHERS, PAIR, Bench, rounded, rules
from linbp import LinBP


def blocks(bench: Bench, x: torch.Tensor, y: torch.Tensor, _: dict[str, torch.Tensor]) -> None:
    """Norms and angles at each block; share of active units and of the gradient's energy that meets them."""
    edge = bench.surrogates["mobilenet_edgetpu"]
    taken = measure.Blocks([site.module_path for site in edge.sites])
    library = {"ordinary": None, "branch": LinBP(start=0), "site": LinBP(start=0, rebalance="site")}
    library["none"] = LinBP(start=0, rebalance=None)
    for how, rule in library.items():
        if not bench.missing("blocks", "mobilenet_edgetpu", how):
            continue
        begin, rows = time.time(), []
        ours = torch.cat([taken.backward(a, b, how, part := []) for a, b in [(x[:16], y[:16])]])
        rows = part
        theirs = bench.gradient("mobilenet_edgetpu", rule)(x[:16], y[:16])
        difference = float((ours - theirs).norm() / theirs.norm())
        bench.keep("blocks", "mobilenet_edgetpu", how, begin, difference=difference, rows=rows)
    for surrogate in PAIR:
        if bench.missing("sites", surrogate, "ordinary"):
            begin = time.time()
            module = getattr(measure.modules(), surrogate)().requires_grad_(False)
            gates = measure.with_gates(module, [site.module_path for site in bench.surrogates[surrogate].sites])
            figures: dict[str, Any] = {}
            for mode in ("ordinary", "linear"):
                for gate in gates:
                    gate.mode, gate.watched = mode, []
                start = x.clone().requires_grad_()
                loss = torch.nn.functional.cross_entropy(module(start), y, reduction="sum")
                (gradient,) = torch.autograd.grad(loss, start)
                figures[mode] = [round(float(torch.cat(gate.watched or []).mean()), 4) for gate in gates]
                figures["active"] = [round(gate.active, 4) for gate in gates]
            rule = LinBP(start=0, rebalance=None)
            theirs = bench.gradient(surrogate, rule)(x, y)
            figures["difference"] = float((gradient - theirs).norm() / theirs.norm())
            bench.keep("sites", surrogate, "ordinary", begin, **figures)


def agreement(bench: Bench, x: torch.Tensor, y: torch.Tensor, theirs: dict[str, torch.Tensor]) -> None:
    """Cosine and shared signs with the other networks' gradients, and cosine with the surrogate's own."""
    x, y, theirs = x[:25], y[:25], {name: g[:25] for name, g in theirs.items()}
    for surrogate in PAIR:
        sites = len(bench.surrogates[surrogate].sites)
        variants: list[tuple[str, Callable[[], torch.Tensor]]] = [
            (name, lambda rule=rule, s=surrogate: bench.gradient(s, rule)(x, y))
            for name, rule in rules(surrogate, sites)
        ]
        if surrogate == "mobilenet_edgetpu":
            taken = measure.Blocks([site.module_path for site in bench.surrogates[surrogate].sites])
            for how in ("every block", "true ratio", "half"):
                variants.append((f"{how} from 0", lambda how=how, taken=taken: taken.backward(x, y, how)))
        else:
            variants += [(f"pools linear, sites from {k}", lambda k=k: straight(bench, k, x, y)) for k in (0, 3, 7, 26)]
        for name, make in variants:
            if not bench.missing("agreement", surrogate, name):
                continue
            begin, g = time.time(), make()
            cos = torch.tensor([measure.cosine(g, theirs[v]) for v in OTHERS])
            sign = torch.tensor([measure.same_sign(g, theirs[v]) for v in OTHERS])
            other = next(name for name in PAIR if name != surrogate)
            by_network = dict(zip(OTHERS, rounded(cos.mean(1)), strict=True))
            by_network[other] = round(float(torch.tensor(measure.cosine(g, theirs[other])).mean()), 4)
            bench.keep(
                "agreement",
                surrogate,
                name,
                begin,
                cos=[round(float(c), 4) for c in cos.mean(0)],
                sign=[round(float(c), 4) for c in sign.mean(0)],
                by_network=by_network,
                own=measure.cosine(g, theirs[surrogate]),
                averaged=measure.cosine(g, theirs[f"averaged {surrogate}"]),
                norm=measure.norm(g),
            )


def straight_module(bench: Bench, k: int) -> torch.nn.Module:
    """SqueezeNet with its max-pools passed as average pools, and the sites from k on linear."""
    module: torch.nn.Module = measure.modules().squeezenet1_1().requires_grad_(False)
    gates = measure.with_gates(module, [site.module_path for site in bench.surrogates["squeezenet1_1"].sites])
    for gate in gates[k:]:
        gate.mode = "linear"
    features = module.get_submodule("network.features")
    for name, layer in list(features.named_children()):
        if isinstance(layer, torch.nn.MaxPool2d):
            setattr(features, name, measure.StraightPool())
    return module


def straight(bench: Bench, k: int, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """That network's input gradient."""
    start = x.clone().requires_grad_()
    loss = torch.nn.functional.cross_entropy(straight_module(bench, k)(start), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, start)
    return gradient


def constancy(bench: Bench, x: torch.Tensor, y: torch.Tensor, _: dict[str, torch.Tensor]) -> None:
    """How alike one logit's gradients are for different photographs, and how much of them is one repeated tile."""
    linear = {f"branch from {k}": LinBP(start=k) for k in (0, 8, 12, 16, 20, 24, 28)}
    no_ratio = {f"none from {k}": LinBP(start=k, rebalance=None) for k in (0, 8, 20)}
    parts = {f"{which} from 0": LinBP(start=0, sites=which) for which in ("outside", "inside")}
    for surrogate in PAIR:
        edge = surrogate == "mobilenet_edgetpu"
        chain = {f"branch from {k}": LinBP(start=k) for k in (0, 3, 5, 7, 10, 15, 20)}
        variants: dict[str, Any] = {"ordinary": None, **({**linear, **no_ratio, **parts} if edge else chain)}
        if not edge:
            variants |= {f"pools linear, sites from {k}": k for k in (0, 3, 7)}
        size = bench.models[surrogate].input_size[1]
        small = torch.nn.functional.interpolate(x, size=(size, size), mode="bilinear", antialias=True)
        for name, rule in variants.items():
            if not bench.missing("constancy", surrogate, name):
                continue
            begin, cosines, tiles = time.time(), [], []
            run = (
                straight_module(bench, rule)
                if isinstance(rule, int)
                else bench.surrogates[surrogate].with_rule(rule).run
            )
            for label in y[:3].tolist():
                start = small[:16].clone().requires_grad_()
                (g,) = torch.autograd.grad(run(start)[:, label].sum(), start)
                cosines.append(measure.alike(g))
                tiles += measure.periodic(g, 32 if edge else 16)
            bench.keep("constancy", surrogate, name, begin, alike=cosines, tiles=tiles)


def steps(bench: Bench, x: torch.Tensor, y: torch.Tensor, theirs: dict[str, torch.Tensor]) -> None:
    """The rise of losses after one sign step: on the surrogate, on its changed copies of the image, on the others."""
    edge = [
        *(f"branch from {k}" for k in (0, 4, 8, 12, 16, 20, 24, 28, 32)),
        "none from 0",
        "none from 20",
        "site from 0",
    ]
    edge += ["site from 20", "outside from 0", "outside from 20", "inside from 0", "inside from 20", "leak 0.25 from 0"]
    chain = [*(f"branch from {k}" for k in (0, 1, 3, 5, 7, 10, 15, 20)), "site from 4"]
    for surrogate in PAIR:
        listed = dict(rules(surrogate, len(bench.surrogates[surrogate].sites)))
        names = ["ordinary", *(edge if surrogate == "mobilenet_edgetpu" else chain), "random signs", "averaged"]
        model = bench.models[surrogate]
        others = [*OTHERS, *(p for p in PAIR if p != surrogate)]
        for name in names:
            if not bench.missing("steps", surrogate, name):
                continue
            begin = time.time()
            if name == "random signs":
                g = torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
            elif name == "averaged":
                g = theirs[f"averaged {surrogate}"]
            else:
                g = bench.gradient(surrogate, listed[name])(x, y)
            moved = {r: (x + r * LEVEL * g.sign()).clamp(0, 1) for r in (1, 2, 4, 8)}
            own = {r: rounded(measure.losses(model, at, y) - measure.losses(model, x, y)) for r, at in moved.items()}
            pairs = zip(measure.copies(x), measure.copies(moved[8]), strict=True)
            copied = [measure.losses(model, b, y) - measure.losses(model, a, y) for a, b in pairs]
            rises, fooled = [], []
            for other in others:
                logits = torch.cat([bench.models[other].logits(part) for part in moved[8].split(16)])
                after = torch.nn.functional.cross_entropy(logits, y, reduction="none")
                rises.append(after - measure.losses(bench.models[other], x, y))
                fooled.append((logits.argmax(1) != y).float())
            bench.keep(
                "steps",
                surrogate,
                name,
                begin,
                own=own,
                copies=rounded(torch.stack(copied).mean(0)),
                others=rounded(torch.stack(rises).mean(0)),
                fooled=rounded(torch.stack(fooled).mean(0)),
            )

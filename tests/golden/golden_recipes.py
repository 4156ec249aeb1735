"""What is attacked how: every part and rule at least once, stages, ensembles, targets, both norms, all roundings."""

from __future__ import annotations

from typing import Any

PLAIN = [
    "fgsm",
    "ifgsm",
    "pgd",
    "pgd-noise(radius=0.5)",
    "mifgsm(decay=0.9)",
    "nifgsm",
    "ni(scale=l1, decay=0.8) + di(scale=1.5)",
    "difgsm(scale=1.4, probability=0.9)",
    "mdi2fgsm(scale=1.3, interpolation=bilinear)",
    "tifgsm(size=5)",
    "ti(size=3, kernel=linear) + mi",
    "ti(size=7, kernel=uniform) + noise",
    "sinifgsm(scales=2)",
    "simifgsm(scales=2, centre=0.5)",
    "admix-mifgsm(partners=2, scales=2)",
    "admix(partners=1, scales=1, strength=0.4) + linbp(start=1)",
    "vmifgsm(neighbours=2)",
    "vnifgsm(neighbours=2, radius=0.5) + di(scale=1.3)",
    "pgn-mifgsm(samples=2)",
    "linbp(start=0)",
    "linbp(start=1)",
    "linbp(start=0.5)",
    "linbp(start={third})",
    "linbp(start=0, rebalance=none, leak=0.2)",
    "linbp(start=1, rebalance=site)",
    "linbp(start=0, rebalance=none, sites=all)",
    "linbp(start=1, gamma=0.5) + mi",
    "linbp(start=1, leak=0.3) + di(scale=1.3) + mi",
    "linbp(start=0, sites=outside)",
    "fgsm + linbp(start=0)",
    "sgm(gamma=0.3)",
    "sgm(gamma=0.5, skips=identity) + linbp(start=1)",
    "sgm(gamma=0.5, skips=projection)",
    "conbp(start=0)",
    "conbp(start=1, slope=2, rebalance=site) + mi",
    "bpa(start=0, temperature=5)",
    "bpa(activations=false) + mi",
    "logit + linbp(start=1)",
    "margin + mi",
    "tapfgsm(distance=0.0001)",
    "tap(at={second}, distance=0, smoothness=0.1) + di(scale=1.3) + mi",
    "nrdmfgsm(at={second})",
    "fdafgsm(radius=0.5, at={second})",
    "fda(at=[{first}, {second}]) + mi",
    "ila(at={second})",
    "linbp(start=1) + mi >> ila(at={second}, steps=3)",
    "difgsm(scale=1.3) >> ilaf(at={third}) + mi",
    "linbp(start={third}) >> ila(at={second}) + linbp(start=0)",
    "pgd >> ila-plus-plus(at={second})",
    "logit >> ila-plus-plus(at={second}, fit=ridge, regularisation=0.1) >> ilaf(at={third}, alpha=0.5)",
]
"""Recipes that run on each network; {first}, {second} and {third} are module paths of its own."""

SPECIAL: list[tuple[str, dict[str, Any]]] = [
    ("ifgsm", {"norm": "l2", "eps": 0.6, "step_size": 0.3}),
    ("linbp(start=1) + mi", {"norm": "l2", "eps": 0.6}),
    ("vnifgsm(neighbours=2)", {"norm": "l2", "eps": 0.6, "step_size": 0.3}),
    ("pgd", {"norm": "l2", "eps": 0.6, "step_size": 0.3}),
    ("ifgsm", {"rounding": "nearest", "eps": 0.01}),
    ("mifgsm", {"rounding": "truncate", "eps": 0.03, "step_size": "1.6/255"}),
    ("ifgsm", {"eps": [2 / 255, "5.5/255"]}),
    ("ifgsm", {"targets": True}),
    ("linbp(start=1) + di(scale=1.3) + mi", {"targets": True, "seed": 7}),
    ("targeted-logit(scale=1.3)", {"targets": True}),
    ("targeted-margin(scale=1.3, size=3) + linbp(start=1)", {"targets": True}),
    ("svre-mifgsm(rounds=1)", {"fuse": "logits"}),
    ("svre(rounds=2) + di(scale=1.3)", {"fuse": "losses"}),
    ("mi-cwa", {"fuse": "logits"}),
    ("cwa(inner_step=0.5, reverse_step=0.5) + ni", {"fuse": "probabilities"}),
    ("mifgsm", {"fuse": "logits"}),
    ("linbp(start=1) + di(scale=1.3) + mi", {"fuse": "probabilities"}),
    ("mi >> ila(at={second})", {"fuse": "losses", "alike": True}),
]
"""Recipes with settings of their own: `fuse` puts an ensemble in the surrogate's place, `alike` one of the
network with a rule of its own and the network without."""

PROTOCOLS = {
    "linbp-2020-cifar10": ["--eps", "0.03", "--recipe", "linbp(start=1)", "--target-rule", "shift:1"],
    "ta-bench-2023": ["--eps", "8/255", "--recipe", "mifgsm"],
    "transferattack": ["--recipe", "linbp(start=1) + mi"],
}
"""Options of `linbp craft --protocol NAME`, on the network `residual` in float64."""

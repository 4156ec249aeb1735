"""How much leak: what rules pick that know the surrogate alone, and what that costs against the best in hindsight.

python experiments/exposure/leak.py cifar10 ../shared/data/cifar10    # measures the surrogates, once
python experiments/exposure/leak.py imagenet ../shared/data/nips17
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
import numpy as np
import torch
from answers import DATA, RESULTS, Run, mean_rate
from common.lines import add_line, read_lines
from torch.nn import functional

import linbp
from linbp.bench.clean_images import list_entries
from linbp.bench.suite import read_suite
from linbp.bench.suite_data import Data, with_data

FACTS = RESULTS / "surrogates.jsonl"
CONSTANTS = (0.1, 0.2)
N, STEPS, STEP = 32, 10, 1 / 255
Facts = dict[str, Any]
Rule = Callable[[Facts, Sequence[float], float], float]


def most_sites_on_a_path(surrogate: linbp.Surrogate) -> int:
    """How many activations the longest way from image to logits has."""
    sites = {site.node for site in surrogate.sites}
    most: dict[Any, int] = {}
    for node in surrogate._ordinary.graph.nodes:
        most[node] = max((most[source] for source in node.all_input_nodes), default=0) + (node.name in sites)
    return max(most.values())


def images_of(data: Data, first: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The images of a suite's data from one on, in [0, 1], and their labels."""
    found = list_entries(data, Path()).entries[first:]
    pixels = torch.from_numpy(np.stack([entry.pixels() for entry in found])).permute(0, 3, 1, 2)
    return pixels.float() / 255, torch.tensor([entry.record.label for entry in found])


def measure(surrogate: linbp.Surrogate, images: torch.Tensor, labels: torch.Tensor, leaks: Sequence[float]) -> Facts:
    """Sites on a path; by leak, how much longer the gradient is, and the own loss after ten steps over that without."""
    ordinary = surrogate.gradient(images, labels).flatten(1).norm(dim=1)
    loss = loss_after(surrogate, images, labels)
    growth, own = {}, {}
    for leak in leaks:
        leaky = surrogate.with_rule(linbp.LinBP(start=0, rebalance=None, leak=leak))
        growth[leak] = float((leaky.gradient(images, labels).flatten(1).norm(dim=1) / ordinary).median())
        own[leak] = loss_after(leaky, images, labels) / loss
    return {"sites": len(surrogate.sites), "path": most_sites_on_a_path(surrogate), "growth": growth, "own": own}


def loss_after(surrogate: linbp.Surrogate, images: torch.Tensor, labels: torch.Tensor) -> float:
    """The surrogate's own mean loss after some steps of I-FGSM with the gradient of its rule, at eps 10/255."""
    adv = images.clone()
    for _ in range(STEPS):
        adv = (adv + STEP * surrogate.gradient(adv, labels).sign()).clamp(0, 1)
    return float(functional.cross_entropy(surrogate.logits(adv), labels))


RULES: dict[str, tuple[Rule, Sequence[float]]] = {
    "depth": (
        lambda facts, leaks, c: min(leaks, key=lambda leak: abs(leak - c / facts["path"])),
        [0.25 * 1.15**n for n in range(40)],
    ),
    "growth": (
        lambda facts, leaks, c: max((one for one in leaks if facts["growth"][str(one)] <= c), default=leaks[0]),
        [1.15**n for n in range(-10, 120)],
    ),
    "own loss": (
        lambda facts, leaks, c: max((one for one in leaks if facts["own"][str(one)] >= c), default=leaks[0]),
        [0.02 * n for n in range(1, 60)],
    ),
}
"""What they pick from what is known of a surrogate, some leaks and a constant, and the constants that are tried."""


def main() -> None:
    name, folder = sys.argv[1:]
    suite, first = read_suite(Path(__file__).parents[1] / "suites" / f"exposure-{name}.toml")[0], DATA[name]["first"]
    images, labels = images_of(with_data(suite.data, folder, first + N), first)
    done = {line["surrogate"] for line in read_lines(FACTS)}
    for one in suite.surrogates:
        if one.name not in done:
            surrogate = linbp.Surrogate(linbp.load_model(one.models[0]))
            facts = measure(surrogate, images, labels, DATA[name]["leaks"])
            add_line(FACTS, {"data": name, "surrogate": one.name, **facts})


def losses() -> tuple[list[str], dict[str, dict[str, tuple[float, float]]]]:
    """The surrogates, and by rule what it picks on each and how many points that loses against the best leak there.

    A rule's constant comes from the other surrogates: the one whose worst loss is smallest, the middle one of several.
    """
    facts = {line["surrogate"]: line for line in read_lines(FACTS)}
    runs = {data: Run(data) for data in ("cifar10", "imagenet")}
    lost: dict[str, dict[float, float]] = {}
    for name, line in facts.items():
        run = runs[line["data"]]
        rates = {leak: mean_rate(run.answers((name, f"leak-{leak:g}"))) for leak in run.data["leaks"]}
        lost[name] = {leak: max(rates.values()) - value for leak, value in rates.items()}

    def picked(name: str, rule: Rule, c: float) -> float:
        return rule(facts[name], [*lost[name]], c)

    found = {f"{leak:g}": {name: (leak, lost[name][leak]) for name in lost} for leak in CONSTANTS}
    for title, (rule, grid) in RULES.items():
        found[title] = {}
        for name in lost:
            worst = {c: max(lost[one][picked(one, rule, c)] for one in lost if one != name) for c in grid}
            best = [c for c in grid if worst[c] <= min(worst.values()) + 1e-9]
            leak = picked(name, rule, best[len(best) // 2])
            found[title][name] = leak, lost[name][leak]
    return list(lost), found


if __name__ == "__main__":
    main()

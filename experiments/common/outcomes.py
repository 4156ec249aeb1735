"""The tables of `docs/results.md`, made from the lines that `imagenet_transfer.py` stored."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pages import between, difference, holm
from scipy.stats import binomtest

from linbp.evaluation.statistics import rate

PAGE = Path(__file__).parent.parent / "docs" / "results.md"
SHORT = {
    "mobilenetv2_tf1": "MobileNet v2",
    "mobilenetv1_tf1": "MobileNet v1",
    "mobilenetv1_075_tf1": "v1 0.75 (ONNX)",
    "mobilenet_edgetpu": "EdgeTPU",
    "squeezenet1_1": "SqueezeNet 1.1",
    "squeezenet1_0_dc": "SqueezeNet 1.0",
    "efficientnet_lite0": "Lite0",
    "efficientnet_lite2": "Lite2",
}

PAIRS = (
    ("squeezenet1_1", "linbp(start=0)", "ifgsm"),
    ("squeezenet1_1", "linbp(start=3)", "ifgsm"),
    ("squeezenet1_1", "linbp(start=0)", "mifgsm"),
    ("squeezenet1_1", "linbp(start=3) + di(scale=8/7) + mi", "mdi2fgsm"),
    ("mobilenet_edgetpu", "linbp(start=0)", "ifgsm"),
    ("mobilenet_edgetpu", "linbp(start=20)", "ifgsm"),
    ("mobilenet_edgetpu", "linbp(start=20)", "linbp(start=20, rebalance=none)"),
    ("mobilenet_edgetpu", "linbp(start=20)", "sgm(gamma=0.5)"),
    ("mobilenet_edgetpu", "linbp(start=20) + di(scale=8/7) + mi", "mdi2fgsm"),
    ("mobilenet_edgetpu", "linbp(start=0, sites=outside)", "ifgsm"),
    ("mobilenet_edgetpu", "linbp(start=0, sites=outside)", "linbp(start=20)"),
    ("mobilenet_edgetpu", "linbp(start=0, sites=outside)", "sgm(gamma=0.2)"),
    ("mobilenet_edgetpu", "linbp(start=0, sites=outside)", "sgm(gamma=0.5)"),
    ("mobilenet_edgetpu", "linbp(start=0, sites=outside) + di(scale=8/7) + mi", "mdi2fgsm"),
)
"""What is compared: surrogate, recipe, and the recipe it is compared with."""
Fooled = dict[str, np.ndarray]
"""For each network, whether the photographs that it has right are wrong on their adversarial images."""


def complete_passes(lines: list[dict[str, Any]], surrogate: str, eps: str) -> set[int]:
    """The passes in which every recipe has been run, so that all rows are about the same photographs.

    But for those of a partial position (`sites=`), which are run last: they have a row when they have all passes.
    """
    by_recipe: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        if line["surrogate"] == surrogate and line["eps"] == eps:
            by_recipe[line["recipe"]].add(line["pass"])
    needed = [passes for recipe, passes in by_recipe.items() if "sites=" not in recipe]
    return set.intersection(*needed) if needed else set()


def fooled(lines: list[dict[str, Any]], surrogate: str, eps: str, passes: set[int]) -> dict[str, Fooled]:
    """For each recipe and victim, whether each photograph that the victim had right is wrong on its adversarial
    image."""
    clean = {line["pass"]: line for line in lines if line["recipe"] == "clean"}
    # Two processes on one surrogate may both have added a line; the same attack then counts once.
    mine = {
        (line["pass"], line["recipe"]): line
        for line in sorted(lines, key=lambda line: line["pass"])
        if line["surrogate"] == surrogate and line["eps"] == eps and line["pass"] in passes
    }
    found: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    for (number, recipe), line in mine.items():
        labels = np.array(clean[number]["labels"])
        for victim, predictions in line["predictions"].items():
            right = np.array(clean[number]["predictions"][victim]) == labels
            found[recipe][victim].append((np.array(predictions) != labels)[right])
    return {
        recipe: {v: np.concatenate(parts) for v, parts in row.items()}
        for recipe, row in found.items()
        if all((number, recipe) in mine for number in passes)
    }


def cell(successes: np.ndarray) -> str:
    """Success in per cent with its 95% Wilson interval."""
    found = rate(int(successes.sum()), len(successes))
    return f"{100 * successes.mean():.0f} <small>{100 * found.low:.0f}-{100 * found.high:.0f}</small>"


def known(lines: list[dict[str, Any]], passes: set[int]) -> dict[str, np.ndarray]:
    """For each network, which of the photographs it has right when they are clean."""
    # Two processes that start at once may both have asked about the clean photographs.
    clean = {line["pass"]: line for line in lines if line["recipe"] == "clean" and line["pass"] in passes}
    found: dict[str, list[np.ndarray]] = defaultdict(list)
    for number in sorted(clean):
        for name, predictions in clean[number]["predictions"].items():
            found[name].append(np.array(predictions) == np.array(clean[number]["labels"]))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def middle(row: Fooled, right: dict[str, np.ndarray], victims: list[str]) -> str:
    """The mean over victims in per cent, with a 95% bootstrap interval: photographs drawn again 2,000 times."""
    wrong = np.zeros((len(victims), len(right[victims[0]])))
    for number, victim in enumerate(victims):
        wrong[number, right[victim]] = row[victim]
    knows = np.stack([right[victim] for victim in victims])
    times = np.random.default_rng(0).multinomial(wrong.shape[1], np.full(wrong.shape[1], 1 / wrong.shape[1]), 2000).T
    means = 100 * ((wrong @ times) / np.maximum(1, knows @ times)).mean(0)
    low, high = np.percentile(means, [2.5, 97.5])
    share = 100 * np.mean([row[victim].mean() for victim in victims])
    return f"**{share:.0f}** <small>{low:.0f}-{high:.0f}</small>"


def compare(lines: list[dict[str, Any]], pairs: Sequence[tuple[str, str, str]], title: str) -> list[str]:
    """The differences that the text speaks of: of means over victims, paired by photograph."""
    found = []
    for surrogate, one, other in pairs:
        for eps in ("16/255", "8/255"):
            passes = complete_passes(lines, surrogate, eps)
            rows, right = fooled(lines, surrogate, eps, passes), known(lines, passes)
            if one in rows and other in rows:
                test = mcnemar(rows[one], rows[other], surrogate)
                found.append((surrogate, eps, one, other, test, gaps(rows[one], rows[other], right, surrogate)))
    if not found:
        return []
    tests = [difference(gap) for *_, gap in found]
    chances = holm([p for _, p in tests])
    text = [
        title,
        "",
        "Difference of the means over victims, its 95% interval (photographs drawn again), and p of the permutation "
        f"test paired by photograph, corrected for the {len(found)} comparisons by Holm's method. Then the pairs of "
        "photograph and victim that only the first and only the second recipe fools, and p of the exact McNemar test, "
        "which takes the victims of one photograph for independent and is not corrected.",
        "",
        "| surrogate | eps | recipe | against | difference | p | only the first, only the second | McNemar |",
        "|---|---|---|---|---:|---:|---:|---:|",
    ]
    for (surrogate, eps, one, other, test, _), (gap, _), p in zip(found, tests, chances, strict=True):
        names = f"{SHORT[surrogate]} | {eps} | `{one}` | `{other}`"
        text.append(f"| {names} | {gap} | {p:.2g} | {test[0]}, {test[1]} | {test[2]:.2g} |")
    return [*text, ""]


def mcnemar(one: Fooled, other: Fooled, surrogate: str) -> tuple[int, int, float]:
    """How many pairs of photograph and victim only one recipe fools, only the other, and the exact McNemar test."""
    assert one.keys() == other.keys()
    victims = [victim for victim in SHORT if victim in one and victim != surrogate]
    only_one = sum(int((one[victim] & ~other[victim]).sum()) for victim in victims)
    only_other = sum(int((other[victim] & ~one[victim]).sum()) for victim in victims)
    differing = only_one + only_other
    return only_one, only_other, float(binomtest(only_one, differing).pvalue) if differing else 1.0


def gaps(one: Fooled, other: Fooled, right: dict[str, np.ndarray], surrogate: str) -> np.ndarray:
    """What each photograph adds to the difference of the means over victims, in per cent; they sum to it."""
    assert one.keys() == other.keys()
    victims = [victim for victim in SHORT if victim in one and victim != surrogate]
    parts = np.zeros(len(right[victims[0]]))
    for victim in victims:
        gap = one[victim].astype(float) - other[victim].astype(float)
        parts[right[victim]] += 100 * gap / len(gap) / len(victims)
    return parts


def table(lines: list[dict[str, Any]], surrogate: str, eps: str, level: str = "###") -> list[str]:
    """One table in Markdown, under a heading of that level."""
    passes = complete_passes(lines, surrogate, eps)
    rows = fooled(lines, surrogate, eps, passes)
    if not rows:
        return []
    first = next(iter(rows.values()))
    victims = [victim for victim in SHORT if victim in first and victim != surrogate]
    right = known(lines, passes)
    heads = [f"{SHORT[victim]}<br><small>n = {len(first[victim])}</small>" for victim in victims]
    own = f"itself<br><small>n = {len(first[surrogate])}</small>"
    text = [
        f"{level} {SHORT[surrogate]}, eps {eps}, {len(right[surrogate])} photographs",
        "",
        "| recipe | mean | " + " | ".join([*heads, own]) + " |",
        "|---|---:|" + "---:|" * (len(victims) + 1),
    ]
    for recipe, row in rows.items():
        cells = " | ".join(cell(row[name]) for name in (*victims, surrogate))
        text.append(f"| `{recipe}` | {middle(row, right, victims)} | {cells} |")
    return [*text, ""]


def write(lines: list[dict[str, Any]]) -> None:
    """Put the tables into the page, between its two marks."""
    text: list[str] = []
    for surrogate in ("squeezenet1_1", "mobilenet_edgetpu"):
        for eps in ("16/255", "8/255"):
            text += table(lines, surrogate, eps)
    text += compare(lines, PAIRS, "### Differences")
    PAGE.write_text(between(PAGE.read_text(), "tables", text))

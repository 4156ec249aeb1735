"""The tables of all recipes in `docs/results.md`, made from the lines that `imagenet_recipes.py` stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from imagenet_tables import PAGE, SHORT, Fooled, cell, fooled, gaps, known, mcnemar, middle
from pages import between, difference, holm

TITLES = {
    "gradients": "about 100 gradients an image",
    "steps": "20 steps of 1/255",
}
FEWEST = 10
"""Recipes: a table with fewer compares nothing."""
COMPARED = (
    ("linbp(start=20) + di(scale=8/7) + mi", "mdi2fgsm"),
    ("linbp(start=28) + di(scale=8/7) + mi", "mdi2fgsm"),
    ("admix-mifgsm", "mdi2fgsm"),
    ("conbp(start=3)", "ifgsm"),
    ("conbp(start=20)", "ifgsm"),
    ("bpa(start=3)", "ifgsm"),
    ("bpa(start=20)", "ifgsm"),
    ("fdafgsm", "ifgsm"),
    ("logit", "ifgsm"),
    ("fgsm", "ifgsm"),
)
"""Pairs that the text compares, beside the leaders; those of which both were run on a surrogate."""
EPS = "16/255"
Lines = list[dict[str, Any]]


def table(lines: Lines, surrogate: str, budget: str) -> list[str]:
    """One table in Markdown, the recipe with the highest mean first, and the tests of its leaders.

    Over the passes in which every recipe has been run, so that all rows are about the same photographs.
    """
    clean = [line for line in lines if line["recipe"] == "clean"]
    mine = [line for line in lines if line["surrogate"] == surrogate and line["budget"] == budget]
    recipes = list(dict.fromkeys(line["recipe"] for line in mine))
    done = {(line["recipe"], line["pass"]): line for line in mine}
    passes = {line["pass"] for line in clean if all((recipe, line["pass"]) in done for recipe in recipes)}
    if len(recipes) < FEWEST or not passes:
        return []
    found, right = (
        fooled([*({**line, "eps": EPS} for line in mine), *clean], surrogate, EPS, passes),
        known(clean, passes),
    )
    victims = [victim for victim in SHORT if victim != surrogate]
    heads = [f"{SHORT[victim]}<br><small>n = {int(right[victim].sum())}</small>" for victim in victims]
    order = sorted(found, key=lambda recipe: -mean(found[recipe], surrogate))
    text = [
        f"### {SHORT[surrogate]}, eps {EPS}, {TITLES[budget]}, {len(right[surrogate])} photographs",
        "",
        "| recipe | gradients | steps | mean | " + " | ".join(heads) + " | itself |",
        "|---|---:|---:|---:|" + "---:|" * (len(victims) + 1),
    ]
    for recipe in order:
        row, line = found[recipe], done[recipe, min(passes)]
        cells = [middle(row, right, victims), *(cell(row[victim]) for victim in victims)]
        own = f"{100 * row[surrogate].mean():.0f}"
        text.append(f"| `{recipe}` | {line['gradients']} | {line['steps']} | " + " | ".join(cells) + f" | {own} |")
    return [*text, "", *tests(found, right, order, surrogate), ""]


def mean(row: Fooled, surrogate: str) -> float:
    """Mean over victims of the share fooled, in per cent."""
    return 100 * float(np.mean([row[victim].mean() for victim in SHORT if victim != surrogate]))


def tests(found: dict[str, Fooled], right: dict[str, np.ndarray], order: list[str], surrogate: str) -> list[str]:
    """The best recipe with LinBP against the best without, and pairs that the text compares."""
    ours = [recipe for recipe in order if "linbp" in recipe]
    others = [recipe for recipe in order if "linbp" not in recipe]
    plain = [recipe for recipe in ours if "+" not in recipe and ">>" not in recipe]
    pairs = [(one, other) for one in ours[:1] for other in (*others[:1], "mdi2fgsm")]
    pairs += [*((one, "ifgsm") for one in plain[:1]), *COMPARED]
    pairs = [pair for pair in dict.fromkeys(pairs) if all(recipe in found for recipe in pair)]
    gains = [difference(gaps(found[one], found[other], right, surrogate)) for one, other in pairs]
    text = [
        "| recipe | against | difference | p | only the first, only the second | McNemar |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for (one, other), (gap, _), p in zip(pairs, gains, holm([p for _, p in gains]), strict=True):
        only_one, only_other, chance = mcnemar(found[one], found[other], surrogate)
        text.append(f"| `{one}` | `{other}` | {gap} | {p:.2g} | {only_one}, {only_other} | {chance:.2g} |")
    return text


def write(lines: Lines) -> None:
    """Put the tables into the page, between its two marks."""
    text: list[str] = []
    for surrogate in ("squeezenet1_1", "mobilenet_edgetpu"):
        for budget in TITLES:
            text += table(lines, surrogate, budget)
    PAGE.write_text(between(PAGE.read_text(), "recipes", text))

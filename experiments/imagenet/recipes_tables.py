"""The tables of all recipes in `docs/results.md`, made from the lines that `imagenet_recipes.py` stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from imagenet_contenders import MIXED
from imagenet_tables import PAGE, SHORT, Fooled, cell, fooled, gaps, known, mcnemar, middle
from pages import between, difference, holm

TITLES = {
    "gradients": "about 100 gradients an image",
    "steps": "20 steps of 1/255",
}
DEAR = 100
"""Gradients an image: recipes that take more may have been run on fewer photographs."""
FEWEST = 10
"""Recipes: a table with fewer compares nothing."""
COMPARED = (
    (f"linbp(start=0, rebalance=none, leak=0.3) + {MIXED}", "mdi2fgsm"),
    (f"linbp(start=0, rebalance=none, leak=0.3) + {MIXED}", f"conbp(start=3, slope=0.005) + {MIXED}"),
    (f"linbp(start=0, rebalance=none, leak=0.1) + si + {MIXED}", f"si + {MIXED}"),
    (f"linbp(start=0, rebalance=none, leak=0.1) + si + {MIXED}", f"vt + {MIXED}"),
    (f"linbp(start=0, rebalance=none, leak=0.3) + {MIXED}", f"vt + {MIXED}"),
    (f"vt + {MIXED}", "mdi2fgsm"),
    ("vmifgsm", "mdi2fgsm"),
    ("vnifgsm", "mdi2fgsm"),
    ("pgn-mifgsm", "mdi2fgsm"),
    ("linbp(start=3)", "ifgsm"),
    ("linbp(start=20)", "ifgsm"),
    (f"si + {MIXED}", "mdi2fgsm"),
    (f"linbp(start=3) + {MIXED}", "mdi2fgsm"),
    (f"linbp(start=20) + {MIXED}", "mdi2fgsm"),
    (f"linbp(start=28) + {MIXED}", "mdi2fgsm"),
    ("admix-mifgsm", "mdi2fgsm"),
    ("conbp(start=3)", "ifgsm"),
    ("conbp(start=20)", "ifgsm"),
    ("bpa(start=3)", "ifgsm"),
    ("bpa(start=20)", "ifgsm"),
    ("bpa(start=3, slope=0.001, temperature=0.01)", "tapfgsm"),
    ("linbp(start=3) + mi >> ila(at=network.features.7)", "linbp(start=3) + mi"),
    ("linbp(start=20) + mi >> ila(at=network.blocks.3)", "linbp(start=20) + mi"),
    ("nifgsm", "mifgsm"),
    ("linbp(start=3) + di(scale=8/7)", "linbp(start=3)"),
    ("linbp(start=20) + di(scale=8/7)", "linbp(start=20)"),
    ("pgd-noise", "ifgsm"),
    ("sgm(gamma=0.2)", "sgm(gamma=0.5)"),
    ("fdafgsm", "ifgsm"),
    ("logit", "ifgsm"),
    ("fgsm", "ifgsm"),
)
"""Pairs that the text compares, beside the leaders; those of which both were run on a surrogate."""
EPS = "16/255"
Lines = list[dict[str, Any]]


def tables(lines: Lines, surrogate: str, budget: str) -> list[str]:
    """The tables of one surrogate and budget in Markdown.

    All rows of a table are about the same photographs: those of the passes in which every recipe has been run. Where
    the dearest recipes have been run on fewer than the others, they have a table of their own, with what leads there.
    """
    clean = [line for line in lines if line["recipe"] == "clean"]
    mine = [line for line in lines if line["surrogate"] == surrogate and line["budget"] == budget]
    recipes = list(dict.fromkeys(line["recipe"] for line in mine))
    costs = {line["recipe"]: line["gradients"] for line in mine}
    of = {(line["recipe"], line["pass"]) for line in mine}

    def passes(names: list[str]) -> set[int]:
        return {line["pass"] for line in clean if all((name, line["pass"]) in of for name in names)}

    cheap, every = [name for name in recipes if costs[name] <= DEAR], passes(recipes)
    if len(recipes) < FEWEST or not passes(cheap):
        return []
    title = f"{SHORT[surrogate]}, eps {EPS}, {TITLES[budget]}"
    if passes(cheap) == every:
        return table([*mine, *clean], surrogate, every, recipes, title)
    text = table([*mine, *clean], surrogate, passes(cheap), cheap, f"{title}, all but the dearest")
    if every:
        leaders = leading([*mine, *clean], surrogate, every, cheap)
        dearest = [name for name in recipes if name in leaders or costs[name] > DEAR]
        text += table([*mine, *clean], surrogate, every, dearest, f"{title}, the dearest and what leads")
    return text


def leading(lines: Lines, surrogate: str, passes: set[int], recipes: list[str]) -> list[str]:
    """The best recipe with LinBP and the best without on some passes, and two that everything is compared with."""
    found = fooled([{**line, "eps": EPS} for line in lines], surrogate, EPS, passes)
    order = sorted(recipes, key=lambda recipe: -mean(found[recipe], surrogate))
    ours, others = ([name for name in order if ("linbp" in name) is with_it][:1] for with_it in (True, False))
    return [*ours, *others, "mdi2fgsm", "ifgsm"]


def table(lines: Lines, surrogate: str, passes: set[int], recipes: list[str], title: str) -> list[str]:
    """Some recipes on some passes, the one with the highest mean first, and the tests of the leaders."""
    found, right = fooled([{**line, "eps": EPS} for line in lines], surrogate, EPS, passes), known(lines, passes)
    found = {recipe: found[recipe] for recipe in recipes}
    facts = {line["recipe"]: line for line in lines if line["recipe"] in recipes}
    victims = [victim for victim in SHORT if victim != surrogate]
    heads = [f"{SHORT[victim]}<br><small>n = {int(right[victim].sum())}</small>" for victim in victims]
    order = sorted(found, key=lambda recipe: -mean(found[recipe], surrogate))
    heads.append(f"itself<br><small>n = {int(right[surrogate].sum())}</small>")
    text = [
        f"### {title}, {len(right[surrogate])} photographs",
        "",
        "| recipe | gradients | steps | mean | " + " | ".join(heads) + " |",
        "|---|---:|---:|---:|" + "---:|" * (len(victims) + 1),
    ]
    for recipe in order:
        row, line = found[recipe], facts[recipe]
        cells = [middle(row, right, victims), *(cell(row[name]) for name in (*victims, surrogate))]
        text.append(f"| `{recipe}` | {line['gradients']} | {line['steps']} | " + " | ".join(cells) + " |")
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
        "Differences of the means over victims, paired by photograph; p of the permutation test, corrected by Holm's "
        f"method for the {len(pairs)} comparisons of this table; McNemar's p is not corrected.",
        "",
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
            text += tables(lines, surrogate, budget)
    PAGE.write_text(between(PAGE.read_text(), "recipes", text))

"""The tables of all recipes in `docs/results.md`, made from the lines that `imagenet_recipes.py` stored."""

from __future__ import annotations

from typing import Any

import numpy as np
from imagenet_tables import PAGE, SHORT, cell
from pages import between
from scipy.stats import binomtest

TITLES = {
    "gradients": "about 100 gradients an image",
    "steps": "20 steps of 1/255",
}
FEWEST = 10
"""Recipes: a table with fewer compares nothing."""
Lines = list[dict[str, Any]]
Outcomes = dict[str, dict[str, np.ndarray]]


def outcomes(lines: Lines, surrogate: str, budget: str) -> tuple[Outcomes, dict[str, dict[str, Any]], int]:
    """For each recipe and victim, whether each photograph that the victim knew is wrong on its twin; NaN elsewhere.

    Over the passes in which every recipe has been run; with a line of each recipe, and the number of photographs.
    """
    clean = {line["pass"]: line for line in lines if line["recipe"] == "clean"}
    mine = [line for line in lines if line["surrogate"] == surrogate and line["budget"] == budget]
    recipes = list(dict.fromkeys(line["recipe"] for line in mine))
    done = {(line["recipe"], line["pass"]): line for line in mine}
    passes = [number for number in sorted(clean) if all((recipe, number) in done for recipe in recipes)]
    found: Outcomes = {}
    for recipe in recipes if passes else ():
        found[recipe] = {}
        for victim in SHORT:
            parts = []
            for number in passes:
                labels = np.array(clean[number]["labels"])
                right = np.array(clean[number]["predictions"][victim]) == labels
                wrong = np.array(done[recipe, number]["predictions"][victim]) != labels
                parts.append(np.where(right, wrong.astype(float), np.nan))
            found[recipe][victim] = np.concatenate(parts)
    one = {recipe: done[recipe, passes[0]] for recipe in found}
    return found, one, sum(len(clean[number]["labels"]) for number in passes)


def mean(row: dict[str, np.ndarray], surrogate: str) -> float:
    """Mean over victims of the share fooled, in per cent."""
    return 100 * float(np.mean([np.nanmean(row[victim]) for victim in SHORT if victim != surrogate]))


def table(lines: Lines, surrogate: str, budget: str) -> list[str]:
    """One table in Markdown, the recipe with the highest mean first, and the tests of its leaders."""
    found, one, photographs = outcomes(lines, surrogate, budget)
    if len(found) < FEWEST:
        return []
    victims = [victim for victim in SHORT if victim != surrogate]
    first = next(iter(found.values()))
    heads = [f"{SHORT[victim]}<br><small>n = {int(np.isfinite(first[victim]).sum())}</small>" for victim in victims]
    text = [
        f"### {SHORT[surrogate]}, eps 16/255, {TITLES[budget]}, {photographs} photographs",
        "",
        "| recipe | gradients | steps | mean | " + " | ".join(heads) + " | itself |",
        "|---|---:|---:|---:|" + "---:|" * (len(victims) + 1),
    ]
    for recipe in sorted(found, key=lambda recipe: -mean(found[recipe], surrogate)):
        row, line = found[recipe], one[recipe]
        cells = [cell(row[victim][np.isfinite(row[victim])]) for victim in victims]
        own = f"{100 * np.nanmean(row[surrogate]):.0f}"
        text.append(
            f"| `{recipe}` | {line['gradients']} | {line['steps']} | **{mean(row, surrogate):.0f}** | "
            + " | ".join(cells)
            + f" | {own} |"
        )
    return [*text, "", *tests(found, surrogate), ""]


def tests(found: Outcomes, surrogate: str) -> list[str]:
    """Exact McNemar tests of the best recipes with LinBP against those without."""
    order = sorted(found, key=lambda recipe: -mean(found[recipe], surrogate))
    with_linbp = [recipe for recipe in order if "linbp" in recipe]
    without = [recipe for recipe in order if "linbp" not in recipe]
    plain = [recipe for recipe in with_linbp if recipe.startswith("linbp(start=") and "+" not in recipe]
    pairs = [(with_linbp[0], without[0])] if with_linbp and without else []
    pairs += [(recipe, "ifgsm") for recipe in plain[:1] if "ifgsm" in found]
    text = []
    for one, other in pairs:
        only_one = only_other = 0
        for victim in SHORT:
            if victim != surrogate:
                only_one += int(np.nansum((found[one][victim] == 1) & (found[other][victim] == 0)))
                only_other += int(np.nansum((found[one][victim] == 0) & (found[other][victim] == 1)))
        chance = binomtest(only_one, only_one + only_other).pvalue if only_one + only_other else 1.0
        photographs, p = per_photograph(found[one], found[other], surrogate)
        text.append(
            f"`{one}` against `{other}`: {only_one} pairs of photograph and victim are fooled by the first only and "
            f"{only_other} by the second only (exact McNemar test p = {chance:.2g}, which takes the victims of one "
            f"photograph for independent; over the {photographs} photographs on which the number of fooled victims "
            f"differs, sign test p = {p:.2g})."
        )
        text.append("")
    return text


def per_photograph(one: dict[str, np.ndarray], other: dict[str, np.ndarray], surrogate: str) -> tuple[int, float]:
    """The exact sign test over photographs, of the number of victims that each recipe fools."""
    victims = [victim for victim in SHORT if victim != surrogate]
    more = sum(np.nan_to_num(one[victim]) - np.nan_to_num(other[victim]) for victim in victims)
    differing = int((more != 0).sum())
    return differing, float(binomtest(int((more > 0).sum()), differing).pvalue) if differing else 1.0


def write(lines: Lines) -> None:
    """Put the tables into the page, between its two marks."""
    text: list[str] = []
    for surrogate in ("squeezenet1_1", "mobilenet_edgetpu"):
        for budget in TITLES:
            text += table(lines, surrogate, budget)
    PAGE.write_text(between(PAGE.read_text(), "recipes", text))

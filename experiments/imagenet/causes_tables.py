"""The tables about causes in `docs/results.md`, made from the lines that `imagenet_causes.py` stored."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from imagenet_tables import PAGE, SHORT, fooled, gaps, known, mcnemar, middle
from pages import between, difference, holm

EPS = "16/255"
TITLES = {
    "radius": "The radius, or the direction?",
    "units": "The slope of smooth derivatives",
    "leak": "How much an inactive unit passes",
    "objective": "What the objective does to the logits",
    "features": "FDA on feature maps with and without a sign",
    "second": "A second stage",
    "ahead": "Where Nesterov's momentum looks",
    "diverse": "Diverse inputs in few steps and in many",
}
ENDING = "moved on to the radius"
PLAIN, FILLED, MIXED = "`ifgsm`", f"`ifgsm`, {ENDING}", "`di(scale=8/7) + mi`"
MANY = "`ifgsm`, 100 steps"
"""Rows that others are compared with."""
WITHOUT = {"second": r"(`.* \+ mi) >> ila.*(?=`)", "ahead": r"(`)ni.*(?=`)", "diverse": r"(`.*) \+ di\(scale=8/7\)"}
"""What distinguishes a row of these questions from the one that it is compared with, of the same steps and ending."""
Lines = list[dict[str, Any]]


def base_of(question: str, recipe: str) -> str:
    """The row that a row is compared with; itself: with none."""
    if question in WITHOUT:
        return re.sub(WITHOUT[question], r"\1mi" if question == "ahead" else r"\1", recipe)
    if recipe == FILLED:
        return "`fgsm`" if question == "radius" else PLAIN
    if recipe.endswith(ENDING):
        return FILLED
    if question == "objective":
        return MANY
    if recipe.startswith("`fdafgsm(at="):
        return "`fdafgsm`"
    return MIXED if question == "leak" and "di(" in recipe else PLAIN


def complete(lines: Lines) -> set[int]:
    """The passes in which everything of one question was run on one surrogate."""
    passes: dict[str, set[int]] = {}
    for line in lines:
        passes.setdefault(line["recipe"], set()).add(line["pass"])
    return set.intersection(*passes.values()) if passes else set()


def table(lines: Lines, surrogate: str, question: str) -> list[str]:
    """One table in Markdown: means over victims, and the difference from the row that is the comparison."""
    mine = [line for line in lines if line["surrogate"] == surrogate and line["question"] == question]
    passes = complete(mine)
    if not passes:
        return []
    clean = [line for line in lines if line["recipe"] == "clean"]
    rows, right = fooled([*mine, *clean], surrogate, EPS, passes), known(clean, passes)
    victims = [victim for victim in SHORT if victim != surrogate]
    levels = {
        recipe: np.mean([line["mean_levels"] for line in mine if line["recipe"] == recipe and line["pass"] in passes])
        for recipe in rows
    }
    bases = {recipe: base_of(question, recipe) for recipe in rows}
    pairs = [
        (recipe, base, gaps(rows[recipe], rows[base], right, surrogate))
        for recipe, base in bases.items()
        if recipe != base
    ]
    tests = [difference(gap) for *_, gap in pairs]
    chances = holm([p for _, p in tests])
    against = {
        recipe: [base, gap, f"{p:.2g}", f"{mcnemar(rows[recipe], rows[base], surrogate)[2]:.2g}"]
        for (recipe, base, _), (gap, _), p in zip(pairs, tests, chances, strict=True)
    }
    text = [
        f"#### {SHORT[surrogate]}, {len(right[surrogate])} photographs",
        "",
        "| recipe | mean | itself | levels a pixel | against | difference | p | McNemar |",
        "|---|---:|---:|---:|---|---:|---:|---:|",
    ]
    for recipe, row in rows.items():
        own = f"{100 * row[surrogate].mean():.0f}"
        cells = [recipe, middle(row, right, victims), own, f"{levels[recipe]:.1f}", *against.get(recipe, [""] * 4)]
        text.append("| " + " | ".join(cells) + " |")
    return [*text, "", *standings([line for line in mine if line["pass"] in passes], surrogate, victims)]


def standings(lines: Lines, surrogate: str, victims: list[str]) -> list[str]:
    """How far attacks moved the label's logit and the largest other one, where lines say so.

    Means over images, and then over victims, in standard deviations of a network's clean logits.
    """
    lines = [line for line in lines if "standing" in line]
    text = [
        "| recipe | itself: label | largest other | gap | victims: label | largest other | gap |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for recipe in dict.fromkeys(line["recipe"] for line in lines):
        seen = [line["standing"] for line in lines if line["recipe"] == recipe]
        moved = {name: moves([each[name] for each in seen]) for name in (surrogate, *victims)}
        shown = [moved[surrogate], np.mean([moved[victim] for victim in victims], axis=0)]
        cells = [f"{value:+.2f}" for label, other in shown for value in (label, other, label - other)]
        text.append(f"| {recipe} | " + " | ".join(cells) + " |")
    head = "How far the attacks moved logits, in standard deviations of the network's logits on clean photographs:"
    return [head, "", *text, ""] if lines else []


def moves(seen: list[dict[str, Any]]) -> np.ndarray:
    """By how much the label's logit and the largest other one of one network moved; mean over the images it knew."""
    gone = [(np.array(each["adv"]) - np.array(each["clean"])) / each["spread"] for each in seen if each["n"]]
    return np.average(gone, axis=0, weights=[each["n"] for each in seen if each["n"]])


def write(lines: Lines) -> None:
    """Put the tables into the page, between its two marks."""
    text: list[str] = []
    for question, title in TITLES.items():
        found = [
            row for surrogate in ("squeezenet1_1", "mobilenet_edgetpu") for row in table(lines, surrogate, question)
        ]
        text += [f"### {title}", "", *found] if found else []
    values = [line for line in lines if line["recipe"] == "median input of a ReLU"]
    words = [f"{line['value']:.3g} from site {line['start']} of {SHORT[line['surrogate']]} on" for line in values]
    text += [f"Median of |z| over the inputs of ReLUs: {', '.join(words)}.", ""] if words else []
    PAGE.write_text(between(PAGE.read_text(), "causes", text))

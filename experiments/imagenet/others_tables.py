"""The tables of `docs/results.md` that `imagenet_others.py` stored lines for: ensembles, targets, ILA++'s fits."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from imagenet_tables import PAGE, SHORT, Fooled, gaps, known, mcnemar, middle
from pages import between, difference, holm

BOTH = "both"
"""SqueezeNet and EdgeTPU together."""
OWN_RULES = {
    "squeezenet1_1": "linbp(start=0, rebalance=none, leak=0.3)",
    "mobilenet_edgetpu": "linbp(start=0, rebalance=none, leak=0.1)",
}
"""LinBP with the leak that suits each network."""
CLASSES, SHIFT = 1000, 500
"""Targets are the class so much further on, as in the LinBP paper's released code."""
TITLES = {
    "ensemble": "Two surrogates together",
    "targeted": "With targets",
    "fits": "The fits of ILA++",
}
BUDGETS = {"gradients": "about 100 gradients an image", "steps": "20 steps of 1/255"}
WITH_LINBP = re.compile(r"linbp\([^)]*\) \+ | \+ linbp\([^)]*\)|, each network with a rule of its own")
"""What a row with LinBP has more than the one that it is compared with, where there is one."""
Lines = list[dict[str, Any]]


def name_of(line: dict[str, Any]) -> str:
    """An attack as the tables call it."""
    words = f"`{line['recipe']}`"
    if line.get("own_rules"):
        words += ", each network with a rule of its own"
    return words if line.get("fuse") is None else f"{words}, {line['fuse']} averaged"


def rows_of(lines: Lines, clean: Lines, victims: list[str], targeted: bool) -> dict[str, Fooled]:
    """For each attack, which photographs that a network had right are wrong on their adversarial images, or are the
    target."""
    found: dict[str, dict[int, dict[str, np.ndarray]]] = {}
    before = {line["pass"]: line for line in clean}
    for line in sorted(lines, key=lambda line: line["pass"]):
        labels = np.array(before[line["pass"]]["labels"])
        row = {}
        for name in (*victims, *(name for name in OWN_RULES if name not in victims)):
            right = np.array(before[line["pass"]]["predictions"][name]) == labels
            said = np.array(line["predictions"][name])
            row[name] = ((said == (labels + SHIFT) % CLASSES) if targeted else (said != labels))[right]
        found.setdefault(name_of(line), {})[line["pass"]] = row
    return {
        name: {
            network: np.concatenate([parts[number][network] for number in parts])
            for network in next(iter(parts.values()))
        }
        for name, parts in found.items()
    }


def table(lines: Lines, clean: Lines, surrogate: str, base: str, targeted: bool) -> list[str]:
    """One table in Markdown: means over victims, and the difference from the row that is the comparison."""
    passes = set.intersection(
        *({line["pass"] for line in lines if name_of(line) == name} for name in map(name_of, lines))
    )
    lines, clean = ([line for line in some if line["pass"] in passes] for some in (lines, clean))
    members = [*OWN_RULES] if surrogate == BOTH else [surrogate]
    victims = [name for name in SHORT if name not in members]
    rows, right = rows_of(lines, clean, victims, targeted), known(clean, passes)
    facts = {name_of(line): line for line in lines}
    others = {name: {victim: row[victim] for victim in victims} for name, row in rows.items()}
    bases = {name: WITH_LINBP.sub("", name) for name in rows}
    bases = {name: less if less in rows and less != name else base for name, less in bases.items()}
    tests = {
        name: difference(gaps(row, others[bases[name]], right, surrogate))
        for name, row in others.items()
        if name != base
    }
    chances = dict(zip(tests, holm([p for _, p in tests.values()]), strict=True))
    own = [f"`{name}` itself" if surrogate == BOTH else "itself" for name in members]
    heads = ["recipe", "gradients", "steps", "mean", *own, "against", "difference", "p", "McNemar"]
    text = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (3 + len(own)) + "---|" + "---:|" * 3]
    for name in sorted(rows, key=lambda name: -float(np.mean([others[name][victim].mean() for victim in victims]))):
        line = facts[name]
        cells = [name, str(line["gradients"]), str(line["steps"]), middle(rows[name], right, victims)]
        cells += [f"{100 * rows[name][member].mean():.0f}" for member in members]
        if name in tests:
            chance = mcnemar(others[name], others[bases[name]], surrogate)[2]
            cells += [bases[name], tests[name][0], f"{chances[name]:.2g}", f"{chance:.2g}"]
        else:
            cells += [""] * 4
        text.append("| " + " | ".join(cells) + " |")
    head = f"{len(right[victims[0]])} photographs, {len(victims)} victims."
    return [head, "", *text, ""]


def write(lines: Lines, measured: Lines) -> None:
    """Put the tables into the page, between its two marks.

    Args:
        lines: of this experiment.
        measured: of the tables of all recipes, whose rows are compared with and whose clean photographs these are.
    """
    clean = [line for line in measured if line["recipe"] == "clean"]
    text: list[str] = []
    for question, title in TITLES.items():
        mine = [line for line in lines if line["question"] == question]
        text += [f"### {title}", ""] if mine else []
        for budget, words in BUDGETS.items():
            for surrogate in (BOTH, *OWN_RULES):
                some = [line for line in mine if (line["surrogate"], line["budget"]) == (surrogate, budget)]
                if not some:
                    continue
                base = "`ifgsm`" if question == "targeted" else "`mi`, logits averaged"
                if question == "fits":
                    again = [line for line in measured if (line["surrogate"], line["budget"]) == (surrogate, budget)]
                    mean = some[0]["recipe"].partition(", fit=")[0] + ")"
                    some += [line for line in again if line["recipe"] in ("mifgsm", mean)]
                    base = f"`{mean}`"
                where = "SqueezeNet and EdgeTPU together" if surrogate == BOTH else SHORT[surrogate]
                text += [f"#### {where}, {words}", "", *table(some, clean, surrogate, base, question == "targeted")]
    PAGE.write_text(between(PAGE.read_text(), "others", text))

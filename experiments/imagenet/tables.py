"""Tables in `docs/results.md` that several scripts write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.lines import Lines
from common.outcomes import Outcomes, compared, passes_of_all
from common.pages import DOCS, table
from common.photographs import RADII, VICTIMS

PAGE = DOCS / "results.md"


def by_radius(lines: Lines, surrogate: str, eps: str) -> Outcomes:
    """Attacks on one surrogate at one radius.

    Those of a partial position (`sites=`) are run last: they have a row when they have all passes.
    """
    mine = [line for line in lines if (line["surrogate"], line["eps"]) == (surrogate, eps)]
    passes = passes_of_all(mine, lambda recipe: "sites=" in recipe)
    return Outcomes([*mine, *(line for line in lines if line["recipe"] == "clean")], surrogate, passes)


def of_networks(
    outcomes: Outcomes, title: str, order: Sequence[str] = (), facts: Sequence[str] = (), level: str = "###"
) -> list[str]:
    """The success of attacks on every network, under a heading; `facts` are fields of the lines to tell besides."""
    if not outcomes.success:
        return []
    (surrogate,) = outcomes.members
    heads = [f"{VICTIMS[name]}<br><small>n = {outcomes.right[name].sum()}</small>" for name in outcomes.victims]
    heads = ["recipe", *facts, "mean", *heads, f"itself<br><small>n = {outcomes.right[surrogate].sum()}</small>"]
    rows = []
    for name in order or outcomes.success:
        told = [outcomes.line[name][fact] for fact in facts]
        rows.append([f"`{name}`", *told, *outcomes.cells(name, (*outcomes.victims, surrogate))])
    return [f"{level} {title}, {outcomes.n} photographs", "", *table(heads, rows), ""]


def at_radius(lines: Lines, surrogate: str, eps: str, level: str = "###") -> list[str]:
    """One surrogate and radius."""
    return of_networks(by_radius(lines, surrogate, eps), f"{VICTIMS[surrogate]}, eps {eps}", level=level)


def differences(lines: Lines, pairs: Mapping[str, Sequence[tuple[str, str]]], title: str) -> list[str]:
    """Pairs of recipes, by surrogate, at both radii: differences of means over victims, paired by photograph."""
    outcomes = {(surrogate, eps): by_radius(lines, surrogate, eps) for surrogate in pairs for eps in RADII}
    there = [
        (surrogate, eps, *pair)
        for surrogate in pairs
        for pair in pairs[surrogate]
        for eps in RADII
        if all(recipe in outcomes[surrogate, eps].success for recipe in pair)
    ]
    found = compared([(outcomes[surrogate, eps], one, other) for surrogate, eps, one, other in there])
    if not found:
        return []
    rows = [
        [VICTIMS[surrogate], eps, f"`{one}`", f"`{other}`", *cells]
        for (surrogate, eps, one, other), cells in zip(there, found, strict=True)
    ]
    heads = ["surrogate", "eps", "recipe", "against", "difference", "p", "only the first, only the second", "McNemar"]
    text = (
        "Difference of the means over victims, its 95% interval (photographs drawn again), and p of the permutation "
        f"test paired by photograph, corrected for the {len(found)} comparisons by Holm's method. Then the pairs of "
        "photograph and victim that only the first and only the second recipe fools, and p of the exact McNemar test, "
        "which takes the victims of one photograph for independent and is not corrected."
    )
    return [title, "", text, "", *table(heads, rows, left=(0, 1, 2, 3)), ""]

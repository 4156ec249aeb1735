"""Writes the tables of docs/suites.md, and docs/tables/leak.csv with every victim, from the answers that are kept.

The attacks of a suite are chosen on pilot victims and pilot images; what the choice is worth is told of the others.

python experiments/exposure/page.py
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
import leak
import numpy as np
from answers import DATA, NAMES, Pair, Run, mean_rate
from common.lines import read_lines
from pages import bold, markdown, small, write_page
from study import Row, gaps, mean, share, write_csv

from linbp.evaluation.statistics import paired_test

SIZE, GRADIENTS = 5, 20
"""Of a suite: how many attacks, and what each costs."""
ALL_LEAKS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)


def halves(run: Run) -> tuple[slice, slice]:
    """The pilot images and the others."""
    half = len(run.outcomes.images) // 2
    return slice(half), slice(half, None)


def greedy(run: Run) -> list[Pair]:
    """The pairs that add most to the exposure of the pilot, one after the other, of those that a suite can have."""
    left = [pair for pair in run.of_cost(GRADIENTS) if pair[0] in run.data["surrogates"]]
    taken: list[Pair] = []
    for _ in range(SIZE):
        found = {pair: mean_rate(run.answers(*taken, pair, victims="pilot", images=halves(run)[0])) for pair in left}
        taken.append(max(left, key=found.__getitem__))
        left.remove(taken[-1])
    return taken


def leaks(runs: dict[str, Run]) -> list[str]:
    """A row for each surrogate, a column for each leak."""
    rows = []
    for line in read_lines(leak.FACTS):
        run, name = runs[line["data"]], line["surrogate"]
        found = [run.answers((name, f"leak-{one:g}" if one else "di-mi")) for one in (0.0, *run.data["leaks"])]
        cells, best = [small(mean(one), ".1f") for one in found], int(np.argmax([mean_rate(one) for one in found]))
        cells[best] = bold(cells[best])
        cells += [""] * (len(ALL_LEAKS) - len(cells))
        rows.append([run.data["title"], NAMES[name], str(line["path"]), *cells])
    return markdown(["images", "surrogate", "sites on a path", *(f"{one:g}" for one in ALL_LEAKS)], rows, left=2)


def gains(runs: dict[str, Run]) -> list[str]:
    """What leaks of 0.1 and 0.2 add to none, paired by image."""
    rows = []
    for line in read_lines(leak.FACTS):
        run, name = runs[line["data"]], line["surrogate"]
        none = run.answers((name, "di-mi"))
        shown = (none >= 0).any(axis=1)
        cells = []
        for one in leak.CONSTANTS:
            values = gaps(run.answers((name, f"leak-{one:g}"))[shown], none[shown])
            cells.append(small(paired_test(values, unit=100, flips=9_999), "+.1f", " to "))
        rows.append([run.data["title"], NAMES[name], *cells])
    return markdown(["images", "surrogate", *(f"{one:g} minus none" for one in leak.CONSTANTS)], rows, left=2)


def every_victim(runs: dict[str, Run]) -> list[Row]:
    """A row for each attack and victim."""
    heads = ("data", "surrogate", "recipe", "gradients", "victim", "n", "fooled")
    return [
        dict(zip(heads, map(str, (data, *pair, gradients, victim, (row >= 0).sum(), (row == 1).sum())), strict=True))
        for data, run in runs.items()
        for pair, gradients in ((pair, run.outcomes.attacks[number].gradients) for pair, number in run.attacks.items())
        for victim, row in zip(run.outcomes.victims, run.answers(pair), strict=True)
        if (row >= 0).any()
    ]


def rules() -> list[str]:
    """What each rule loses on each surrogate."""
    names, losses = leak.losses()
    rows = []
    for title, by_name in losses.items():
        cells = [f"{lost:.1f} <small>({picked:g})</small>" for picked, lost in by_name.values()]
        rows.append([title, f"**{max(lost for _, lost in by_name.values()):.1f}**", *cells])
    return markdown(["rule", "at most", *(NAMES[name] for name in names)], rows)


def steps(run: Run) -> list[str]:
    """The attacks in the order in which they were picked."""
    body, chosen = [], greedy(run)
    for count, (surrogate, recipe) in enumerate(chosen, 1):
        asked = zip(("pilot", "others"), halves(run), strict=True)
        exposed = [run.answers(*chosen[:count], victims=victims, images=images) for victims, images in asked]
        body.append([str(count), NAMES[surrogate], recipe, *(small(mean(found), ".1f") for found in exposed)])
    return markdown(["", "surrogate", "attack", "pilot", "other victims, other images"], body, left=3)


def worth(run: Run) -> list[str]:
    """Five attacks and the pilot's best single one at the same total cost, victim by victim, on the other images."""
    chosen, (long,) = greedy(run), run.of_cost(SIZE * GRADIENTS)
    if (long[0], long[1].removesuffix("-long")) != chosen[0]:
        raise KeyError(f"the attack of {SIZE * GRADIENTS} gradients is {long}, and the pilot's best is {chosen[0]}")
    five, one = (run.answers(*pairs, victims="others", images=halves(run)[1]) for pairs in (chosen, [long]))
    titles = {"the five": five, f"one: {long[1].removesuffix('-long')} on {NAMES[long[0]]}": one}
    body = [
        [title, small(mean(found), ".1f"), *(small(share(row), ".0f", unit=100) for row in found)]
        for title, found in titles.items()
    ]
    found = paired_test(gaps(five, one), unit=100, flips=9_999)
    line = (
        f"Difference on the victims that both are counted on: **{found.value:+.1f} points** "
        f"(95% interval {found.low:+.1f} to {found.high:+.1f}, p = {found.p:.4f})."
    )
    counts = zip(run.data["others"], (five >= 0).sum(axis=1), strict=True)
    return [*markdown(["100 gradients", "mean", *(f"{NAMES[name]}, n = {n}" for name, n in counts)], body), "", line]


def main() -> None:
    runs = {name: Run(name) for name in DATA}
    tables = {"leaks": leaks(runs), "gains": gains(runs), "rules": rules()}
    for name, run in runs.items():
        tables |= {f"{name}-steps": steps(run), f"{name}-worth": worth(run)}
    write_page("suites.md", tables)
    write_csv("leak", every_victim(runs))


if __name__ == "__main__":
    main()

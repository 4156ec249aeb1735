"""The paper's experiment on CIFAR-10 with sources of full width: the tables of `docs/cifar10-wide.md`.

The networks are those of `linbp zoo train --preset gpu`, whose weights (up to 40 MB each) are not kept here: their
cards and logs are, and what `attack.py --results` found on them, a file a source.

    python experiments/cifar10/wide.py    # writes the tables from what there is; a source without a file is left out
"""

from __future__ import annotations

import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import pages
from common.lines import Lines, read_lines

from cifar10.comparisons import better_than_rivals
from cifar10.jobs import BASIC, RADII, RESULTS, SOURCE, Job, linbp, transfer
from cifar10.outcomes import Outcomes, by_surrogate
from cifar10.tables import compared, table
from linbp.evaluation.statistics import holm, rate

NARROW = RESULTS
FOLDER = RESULTS.parent / "wide"
PAGE = pages.DOCS / "cifar10-wide.md"
SOURCES = {"seed0": "seed 0", "seed1": "seed 1", "seed2": "seed 2", "shifted": "seed 0, shifted to the end"}
"""The VGG-19-BNs: the file of each, and what the tables call it."""
SIGNIFICANT = 0.05
WIDENED = {SOURCE: ("plain", BASIC), BASIC: ("plain", SOURCE)}
"""Victims of each source that are another network here than in the experiment on narrow ones."""


def networks(cards: dict[str, dict[str, Any]]) -> list[str]:
    """What was trained, and how well it does."""
    heads = ["network", "seed", "epochs", "of these without shifts", "label smoothing", "rate up to", "accuracy, %"]
    rows = []
    for name, card in cards.items():
        settings, found = card["settings"], rate(card["accuracy"]["right"], card["accuracy"]["n"])
        highest = settings["learning_rate"] * settings["batch_size"] / 128
        unshifted = round(settings["unshifted"] * settings["epochs"])
        share = f"{100 * card['accuracy']['share']:.2f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
        cells = [card["seed"], settings["epochs"], unshifted, settings["label_smoothing"], f"{highest:g}", share]
        rows.append([f"`{name}`", *cells])
    return [*pages.table(heads, rows), ""]


def collapse(logs: dict[str, Lines]) -> list[str]:
    """Accuracy on test images epoch by epoch, where the rate rises too far."""
    rows = []
    for epochs in zip_longest(*logs.values()):
        known = next(epoch for epoch in epochs if epoch)
        cells = [f"{100 * epoch['test']['share']:.1f}" if epoch else "" for epoch in epochs]
        rows.append([known["epoch"], f"{known['learning_rate']:.3g}", *cells])
    return [*pages.table(["epoch", "rate", *logs], rows, left=()), ""]


def means(found: dict[str, Outcomes], eps: str) -> list[str]:
    """The means over victims at one radius, of every source."""
    heads = [f"{SOURCES[name]}<br><small>n = {outcomes.n}</small>" for name, outcomes in found.items()]
    rows = []
    jobs = dict.fromkeys(job for outcomes in found.values() for job in outcomes.jobs if job.eps == eps)
    for job in jobs:
        cells, gradients = [], 0
        for outcomes in found.values():
            if job not in outcomes.wrong:
                cells.append("")
                continue
            cells.append(pages.mean(outcomes.mean(job), 1))
            gradients = outcomes.line[job]["gradients"]
        rows.append([f"`{job.recipe}`", gradients, *cells])
    return [f"#### `{SOURCE}`, eps {eps}", "", *pages.table(["recipe", "gradients", *heads], rows), ""]


def differences(found: dict[str, Outcomes]) -> list[str]:
    """LinBP against each rival, on every source: the differences of the means over victims."""
    pairs = [
        pair
        for pair in better_than_rivals()
        if all(job in outcomes.wrong for job in pair for outcomes in found.values()) and pair[0].surrogate == SOURCE
    ]
    gaps = {(name, pair): outcomes.gap(*pair) for name, outcomes in found.items() for pair in pairs}
    corrected = dict(zip(gaps, holm([gap.p for gap in gaps.values()]), strict=True))
    text = [
        "Differences of the means over victims with their 95% intervals (images drawn again); bold where p of the "
        "paired permutation test over images is below 0.05, corrected by Holm's method for the "
        f"{len(gaps)} comparisons of this table.",
        "",
    ]
    rows = []
    for one, other in pairs:
        marks = {name: "**" if corrected[name, (one, other)] < SIGNIFICANT else "" for name in found}
        cells = [pages.difference(gaps[name, (one, other)], 1, mark) for name, mark in marks.items()]
        rows.append([one.eps, f"`{one.recipe}`", f"`{other.recipe}`", *cells])
    heads = ["eps", "recipe", "against", *(SOURCES[name] for name in found)]
    return [*text, *pages.table(heads, rows, left=(0, 1, 2)), ""]


def beside(narrow: Lines, wide: Lines) -> list[str]:
    """I-FGSM and LinBP from narrow sources and wide ones, on the victims that are the same networks in both."""
    heads = ["source", "eps", "n"]
    heads += [f"`{name}`, {width}" for name in ("ifgsm", "linbp") for width in ("narrow", "wide")]
    rows = []
    for source, others in WIDENED.items():
        for eps in RADII:
            jobs = [Job(source, recipe, eps, 100) for recipe in ("ifgsm", linbp(source))]
            sides = [Outcomes(lines, jobs, others) for lines in (narrow, wide)]
            if any(len(side.jobs) < len(jobs) for side in sides):
                continue
            cells = [f"`{source}`", eps, " and ".join(str(side.n) for side in sides)]
            for job in jobs:
                cells += [pages.mean(side.mean(job), 1).replace("*", "") for side in sides]
            rows.append(cells)
    return [*pages.table(heads, rows), ""]


def write() -> None:
    """Put the tables into the page, each between its two marks."""
    lines = {name: read_lines(FOLDER / f"{name}.jsonl") for name in SOURCES}
    lines = {name: some for name, some in lines.items() if any("selection" in line for line in some)}
    cards = {path.stem: json.loads(path.read_text()) for path in sorted((FOLDER / "networks").glob("*.json"))}
    logs = {SOURCES[path.stem]: read_lines(path) for path in sorted((FOLDER / "collapsed").glob("*.jsonl"))}
    outcomes = {name: by_surrogate(some, transfer()) for name, some in lines.items()}
    found = {name: some[SOURCE] for name, some in outcomes.items() if SOURCE in some}
    if not found:
        sys.exit(f"{FOLDER} holds no source that has been attacked. docs/{PAGE.name} says how that is done.")
    residual: list[str] = []
    basic = next((some[BASIC] for some in outcomes.values() if BASIC in some), None)
    for eps in RADII if basic else ():
        mine = [job for job in basic.jobs if job.eps == eps]
        residual += [f"#### `{BASIC}`, eps {eps}, n = {basic.n}", "", *table(basic, mine)]
    if basic:
        residual += compared(basic, BASIC, better_than_rivals())
    parts = {
        "networks": networks(cards),
        "beside": beside(read_lines(NARROW), next(iter(lines.values()))),
        "sources": [text for eps in RADII for text in means(found, eps)],
        "differences": differences(found),
        "residual": residual,
        "collapse": collapse(logs),
    }
    pages.put(PAGE, parts)


if __name__ == "__main__":
    write()

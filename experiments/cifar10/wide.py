"""The paper's experiment on CIFAR-10 with sources of full width: the tables of `docs/cifar10-wide.md`.

The networks are those of `linbp zoo train --preset gpu`, whose weights (up to 40 MB each) are not kept here: their
cards and logs are, and what `cifar10.py --results` found on them, a file a source.

    python experiments/cifar10_wide.py    # writes the tables from what there is; a source without a file is left out
"""

from __future__ import annotations

import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

from cifar10_jobs import BASIC, RADII, SOURCE, Job, better_than_rivals, linbp, transfer
from cifar10_outcomes import Outcomes, by_surrogate
from cifar10_tables import compared, table
from pages import between, holm
from result_lines import read_lines

from linbp.data.images import write_atomically
from linbp.evaluation.statistics import rate

FOLDER = Path(__file__).parent / "results" / "cifar10_wide"
NARROW = Path(__file__).parent / "results" / "cifar10.jsonl"
PAGE = Path(__file__).parent.parent / "docs" / "cifar10-wide.md"
SOURCES = {"seed0": "seed 0", "seed1": "seed 1", "seed2": "seed 2", "shifted": "seed 0, shifted to the end"}
"""The VGG-19-BNs: the file of each, and what the tables call it."""
SIGNIFICANT = 0.05
WIDENED = {SOURCE: ("plain", BASIC), BASIC: ("plain", SOURCE)}
"""Victims of each source that are another network here than in the experiment on narrow ones."""


def networks(cards: dict[str, dict[str, Any]]) -> list[str]:
    """What was trained, and how well it does."""
    heads = ["network", "seed", "epochs", "of these without shifts", "label smoothing", "rate up to", "accuracy, %"]
    text = ["| " + " | ".join(heads) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    for name, card in cards.items():
        settings, found = card["settings"], rate(card["accuracy"]["right"], card["accuracy"]["n"])
        highest = settings["learning_rate"] * settings["batch_size"] / 128
        unshifted = round(settings["unshifted"] * settings["epochs"])
        share = f"{100 * card['accuracy']['share']:.2f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
        cells = [card["seed"], settings["epochs"], unshifted, settings["label_smoothing"], f"{highest:g}", share]
        text.append(f"| `{name}` | " + " | ".join(map(str, cells)) + " |")
    return [*text, ""]


def collapse(logs: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Accuracy on test images epoch by epoch, where the rate rises too far."""
    text = ["| epoch | rate | " + " | ".join(logs) + " |", "|---:|---:|" + "---:|" * len(logs)]
    for epochs in zip_longest(*logs.values()):
        known = next(epoch for epoch in epochs if epoch)
        cells = [f"{100 * epoch['test']['share']:.1f}" if epoch else "" for epoch in epochs]
        text.append(f"| {known['epoch']} | {known['learning_rate']:.3g} | " + " | ".join(cells) + " |")
    return [*text, ""]


def means(found: dict[str, Outcomes], eps: str) -> list[str]:
    """The means over victims at one radius, of every source."""
    heads = [f"{SOURCES[name]}<br><small>n = {outcomes.n}</small>" for name, outcomes in found.items()]
    text = [f"#### `{SOURCE}`, eps {eps}", "", "| recipe | gradients | " + " | ".join(heads) + " |"]
    text.append("|---|---:|" + "---:|" * len(heads))
    jobs = dict.fromkeys(job for outcomes in found.values() for job in outcomes.jobs if job.eps == eps)
    for job in jobs:
        cells, gradients = [], 0
        for outcomes in found.values():
            if job not in outcomes.wrong:
                cells.append("")
                continue
            low, high = outcomes.interval(job)
            cells.append(f"**{outcomes.mean(job):.1f}** <small>{low:.1f}-{high:.1f}</small>")
            gradients = outcomes.line[job]["gradients"]
        text.append(f"| `{job.recipe}` | {gradients} | " + " | ".join(cells) + " |")
    return [*text, ""]


def differences(found: dict[str, Outcomes]) -> list[str]:
    """LinBP against each rival, on every source: the differences of the means over victims."""
    pairs = [
        pair
        for pair in better_than_rivals()
        if all(job in outcomes.wrong for job in pair for outcomes in found.values()) and pair[0].surrogate == SOURCE
    ]
    gaps = {(name, pair): outcomes.gap(*pair) for name, outcomes in found.items() for pair in pairs}
    corrected = dict(zip(gaps, holm([p for *_, p in gaps.values()]), strict=True))
    text = [
        "Differences of the means over victims with their 95% intervals (images drawn again); bold where p of the "
        "paired permutation test over images is below 0.05, corrected by Holm's method for the "
        f"{len(gaps)} comparisons of this table.",
        "",
        "| eps | recipe | against | " + " | ".join(SOURCES[name] for name in found) + " |",
        "|---|---|---|" + "---:|" * len(found),
    ]
    for pair in pairs:
        cells = []
        for name in found:
            gap, low, high, _ = gaps[name, pair]
            mark = "**" if corrected[name, pair] < SIGNIFICANT else ""
            cells.append(f"{mark}{gap:+.1f}{mark} <small>{low:+.1f} to {high:+.1f}</small>")
        one, other = pair
        text.append(f"| {one.eps} | `{one.recipe}` | `{other.recipe}` | " + " | ".join(cells) + " |")
    return [*text, ""]


def beside(narrow: list[dict[str, Any]], wide: list[dict[str, Any]]) -> list[str]:
    """I-FGSM and LinBP from narrow sources and wide ones, on the victims that are the same networks in both."""
    heads = ["source", "eps", "n"]
    heads += [f"`{name}`, {width}" for name in ("ifgsm", "linbp") for width in ("narrow", "wide")]
    text = ["| " + " | ".join(heads) + " |", "|---|---:|---:|" + "---:|" * 4]
    for source, others in WIDENED.items():
        for eps in RADII:
            jobs = [Job(source, recipe, eps, 100) for recipe in ("ifgsm", linbp(source))]
            sides = [Outcomes(lines, jobs, others) for lines in (narrow, wide)]
            if any(len(side.jobs) < len(jobs) for side in sides):
                continue
            cells = [f"`{source}`", eps, " and ".join(str(side.n) for side in sides)]
            for job in jobs:
                for side in sides:
                    low, high = side.interval(job)
                    cells.append(f"{side.mean(job):.1f} <small>{low:.1f}-{high:.1f}</small>")
            text.append("| " + " | ".join(cells) + " |")
    return [*text, ""]


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
    page = PAGE.read_text()
    for name, text in {
        "networks": networks(cards),
        "beside": beside(read_lines(NARROW), next(iter(lines.values()))),
        "sources": [text for eps in RADII for text in means(found, eps)],
        "differences": differences(found),
        "residual": residual,
        "collapse": collapse(logs),
    }.items():
        page = between(page, name, text)
    write_atomically(PAGE, page.encode())


if __name__ == "__main__":
    write()

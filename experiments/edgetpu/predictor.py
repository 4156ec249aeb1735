"""Does the rise of the surrogate's own loss tell beforehand what LinBP gains? Held against the 300 photographs.

The rises are those of `edgetpu.py` (stage `path`, 16 photographs), the gains those of `imagenet_transfer.py` at the
same radius: all 300 photographs, those 16 among them, 20 steps, seven victims.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from imagenet_tables import complete_passes, fooled, gaps, known
from imagenet_transfer import RESULTS
from result_lines import read_lines
from scipy.stats import spearmanr

SURROGATES = {"mobilenet_edgetpu": "EdgeTPU", "squeezenet1_1": "SqueezeNet 1.1"}
EPS = "8/255"
REDRAWN = 2000
SUFFIX = {"branch": "", "site": ", rebalance=site", "none": ", rebalance=none", "outside": ", sites=outside"}


def recipe_of(variant: str) -> str | None:
    """The recipe of the large table for a variant's name, such as `site from 8`."""
    how, _, start = variant.partition(" from ")
    return f"linbp(start={start}{SUFFIX[how]})" if how in SUFFIX and start.isdigit() else None


def rises(lines: list[dict[str, Any]], surrogate: str) -> dict[str, float]:
    """By recipe, how many nats the surrogate's own loss rises in nine steps."""
    found = {}
    for line in lines:
        recipe = recipe_of(line["variant"])
        if line["stage"] == "path" and line["surrogate"] == surrogate and recipe:
            found[recipe] = line["own"][9] - line["own"][0]
    return found


def predictor(lines: list[dict[str, Any]]) -> str:
    """Rise and gain of every variant that has both, the smallest rise first; behind them the rank correlation."""
    large = read_lines(RESULTS)
    head = ["surrogate", "recipe", "own loss, step 9", "surrogate fooled, %", "gain over I-FGSM, points"]
    rows = ["| " + " | ".join(head) + " |", "|---|---|---:|---:|---:|"]
    notes = []
    for surrogate, name in SURROGATES.items():
        passes = complete_passes(large, surrogate, EPS)
        outcome, right = fooled(large, surrogate, EPS, passes), known(large, passes)
        points = []
        for recipe, rise in sorted(rises(lines, surrogate).items(), key=lambda pair: pair[1]):
            if recipe not in outcome:
                continue
            gap = gaps(outcome[recipe], outcome["ifgsm"], right, surrogate)
            times = np.random.default_rng(0).multinomial(len(gap), np.full(len(gap), 1 / len(gap)), REDRAWN)
            itself = 100 * outcome[recipe][surrogate].mean()
            low, high = np.percentile(times @ gap, [2.5, 97.5])
            rows.append(
                f"| {name} | `{recipe}` | {rise:.1f} | {itself:.0f} | {gap.sum():+.0f} [{low:+.0f}, {high:+.0f}] |"
            )
            points.append((rise, itself, gap.sum()))
        if points:
            own_loss, own, gains = zip(*points, strict=True)
            by_loss, by_success = (spearmanr(one, gains).statistic for one in (own_loss, own))
            notes.append(
                f"{name}: {len(points)} variants, {len(gap)} photographs; Spearman's rank correlation of the gain "
                f"with the own loss {by_loss:.2f}, with the surrogate's being fooled {by_success:.2f}."
            )
    return "\n".join([*rows, "", *notes])

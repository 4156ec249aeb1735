"""Does the rise of the surrogate's own loss tell beforehand what LinBP gains? Compared on the 300 photographs.

The rises are those of `analyse.py` (stage `path`, 16 photographs), the gains those of the study on ImageNet at the same
radius (`results/imagenet/transfer.jsonl`): all 300 photographs, those 16 among them, 20 steps, seven victims.
"""

from __future__ import annotations

from common import lines as files
from common.lines import Lines, read_lines
from common.outcomes import Outcomes, passes_of_all
from common.pages import table
from scipy.stats import spearmanr

from linbp.evaluation.statistics import bootstrap_mean

TRANSFER = files.RESULTS / "imagenet" / "transfer.jsonl"
SURROGATES = {"mobilenet_edgetpu": "EdgeTPU", "squeezenet1_1": "SqueezeNet 1.1"}
EPS = "8/255"
SUFFIX = {"branch": "", "site": ", rebalance=site", "none": ", rebalance=none", "outside": ", sites=outside"}


def recipe_of(variant: str) -> str | None:
    """The recipe of the large table for a variant's name, such as `site from 8`."""
    how, _, start = variant.partition(" from ")
    return f"linbp(start={start}{SUFFIX[how]})" if how in SUFFIX and start.isdigit() else None


def rises(lines: Lines, surrogate: str) -> dict[str, float]:
    """By recipe, how many nats the surrogate's own loss rises in nine steps."""
    found = {}
    for line in lines:
        recipe = recipe_of(line["variant"])
        if line["stage"] == "path" and line["surrogate"] == surrogate and recipe:
            found[recipe] = line["own"][9] - line["own"][0]
    return found


def predictor(lines: Lines) -> list[str]:
    """Rise and gain of every variant that has both, the smallest rise first; behind them the rank correlation."""
    large = [line for line in read_lines(TRANSFER) if line["eps"] in (EPS, None)]
    clean = [line for line in large if line["recipe"] == "clean"]
    rows, notes = [], []
    for surrogate, name in SURROGATES.items():
        mine = [line for line in large if line["surrogate"] == surrogate]
        outcomes = Outcomes([*mine, *clean], surrogate, passes_of_all(mine, lambda recipe: "sites=" in recipe))
        points = []
        for recipe, rise in sorted(rises(lines, surrogate).items(), key=lambda pair: pair[1]):
            if recipe not in outcomes.success:
                continue
            gain = bootstrap_mean(outcomes.parts(recipe, "ifgsm"), unit=100)
            itself = 100 * (outcomes.rate(recipe, surrogate).value or 0)
            cells = [f"{rise:.1f}", f"{itself:.0f}", f"{gain.value:+.0f} [{gain.low:+.0f}, {gain.high:+.0f}]"]
            rows.append([name, f"`{recipe}`", *cells])
            points.append((rise, itself, gain.value))
        if points:
            own_loss, own, gains = zip(*points, strict=True)
            by_loss, by_success = (spearmanr(one, gains).statistic for one in (own_loss, own))
            notes.append(
                f"{name}: {len(points)} variants, {outcomes.n} photographs; Spearman's rank correlation of the gain "
                f"with the own loss {by_loss:.2f}, with the surrogate's being fooled {by_success:.2f}."
            )
    heads = ["surrogate", "recipe", "own loss, step 9", "surrogate fooled, %", "gain over I-FGSM, points"]
    return [*table(heads, rows, left=(0, 1)), "", *notes]

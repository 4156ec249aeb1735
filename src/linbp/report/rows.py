"""The results of a report as flat rows: one for each attack and victim, and one for their mean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from linbp.evaluation.statistics import Standing
from linbp.report.result import Report

__all__ = ["MEAN", "attack_facts", "cells"]

MEAN = "mean over victims"
"""What stands for a victim's name in the row of the mean."""


def attack_facts(standing: Standing) -> dict[str, Any]:
    """What made the adversarial images, and how far they are from the clean ones."""
    attack = standing.attack
    return {
        "surrogate": attack.surrogate,
        "recipe": attack.recipe,
        "recipe_text": attack.recipe_text,
        "norm": attack.norm,
        "eps": attack.eps,
        "eps_text": attack.eps_text,
        "steps": attack.steps,
        "gradients": attack.gradients,
        "seed": attack.seed,
        "linf_mean": standing.linf_mean,
        "linf_max": standing.linf_max,
        "l2_mean": standing.l2_mean,
    }


def cells(report: Report) -> Iterator[dict[str, Any]]:
    """One row for each attack and victim that was asked, and one for the mean over victims, where there is one.

    Rates and intervals are shares in [0, 1]; the mean's counts are empty, since it is no share of anything.
    """
    for standing in report.standings:
        facts = attack_facts(standing)
        for victim, rate, white_box in zip(report.outcomes.victims, standing.rates, standing.white_box, strict=True):
            if rate is not None:
                yield {
                    **facts,
                    "victim": victim,
                    "white_box": white_box,
                    "n": rate.n,
                    "successes": rate.successes,
                    "rate": rate.value,
                    "low": rate.low,
                    "high": rate.high,
                    "saturated": rate.saturated,
                }
        if standing.mean is not None:
            yield {
                **facts,
                "victim": MEAN,
                "white_box": False,
                "n": standing.images,
                "successes": None,
                "rate": standing.mean.value,
                "low": standing.mean.low,
                "high": standing.mean.high,
                "saturated": standing.saturated,
            }

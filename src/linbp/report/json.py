"""A report as JSON, with a schema that has a version."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

from linbp.evaluation.statistics import Comparison, Interval, Rate, WorstCase
from linbp.report.result import Network, Report
from linbp.report.rows import cells

__all__ = ["SCHEMA", "VERSION", "render", "schema", "to_dict"]

VERSION = 1
"""Raised when a field changes its meaning or goes; new fields do not raise it."""

SCHEMA = "report.schema.json"


def render(report: Report) -> str:
    """The report as one JSON document."""
    return json.dumps(to_dict(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema of what `to_dict` gives."""
    found: dict[str, Any] = json.loads((resources.files("linbp.report") / SCHEMA).read_text(encoding="utf-8"))
    return found


def to_dict(report: Report) -> dict[str, Any]:
    """The report as plain values. Rates and intervals are shares in [0, 1], differences are in points."""
    return {
        "version": VERSION,
        "title": report.title,
        "headline": _headline(report),
        "flags": [dataclasses.asdict(flag) for flag in report.flags],
        "images": len(report.outcomes.images),
        "victims": [_network(one) for one in report.victims],
        "surrogates": [_network(one) for one in report.surrogates],
        "results": list(cells(report)),
        "worst_cases": [_worst(report, one) for one in report.worst],
        "comparisons": [_comparison(report, one) for one in report.comparisons],
        "classes": [
            {
                "label": one.label,
                "name": report.label(one.label),
                "share": one.share,
                "fooled_any": _rate(one.rate),
            }
            for one in report.classes
        ],
        "facts": dict(report.facts),
        "command": report.command,
    }


def _headline(report: Report) -> dict[str, Any] | None:
    if report.headline is None:
        return None
    best = report.standings[report.headline.best]
    return {
        "norm": report.headline.norm,
        "eps": report.headline.eps,
        "surrogate": best.attack.surrogate,
        "recipe": best.attack.recipe,
        "gradients": best.attack.gradients,
        "images": best.images,
        "mean": _interval(best.mean),
        "against": None if report.headline.against is None else _comparison(report, report.headline.against),
        "worst_case": _worst(report, report.headline.worst),
    }


def _network(network: Network) -> dict[str, Any]:
    facts = dataclasses.asdict(network)
    return {**facts, "clean": None if network.clean is None else _rate(network.clean)}


def _comparison(report: Report, one: Comparison) -> dict[str, Any]:
    better, other = (report.outcomes.attacks[number] for number in (one.one, one.other))
    return {
        "norm": one.setting.norm,
        "eps": one.setting.eps,
        "surrogate": one.setting.surrogate,
        "seed": one.setting.seed,
        "recipe": better.recipe,
        "gradients": better.gradients,
        "against": other.recipe,
        "against_gradients": other.gradients,
        "images": one.images,
        "victims": one.victims,
        "difference": one.difference.value,
        "low": one.difference.low,
        "high": one.difference.high,
        "p": one.difference.p,
        "p_holm": one.adjusted,
    }


def _worst(report: Report, one: WorstCase) -> dict[str, Any]:
    pairs = zip(report.outcomes.victims, one.rates, strict=True)
    return {
        "norm": one.norm,
        "eps": one.eps,
        "attacks": one.attacks,
        "gradients": one.gradients,
        "mean": _interval(one.mean),
        "victims": {name: _rate(rate) for name, rate in pairs if rate is not None},
    }


def _interval(one: Interval | None) -> dict[str, float] | None:
    return None if one is None else {"value": one.value, "low": one.low, "high": one.high}


def _rate(one: Rate) -> dict[str, Any]:
    return {"value": one.value, "low": one.low, "high": one.high, "n": one.n, "successes": one.successes}

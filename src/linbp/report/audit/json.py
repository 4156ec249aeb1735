"""An audit as JSON, with a schema that has a version."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources
from typing import Any

from linbp.audit.result import Audit, Exposure, atlas
from linbp.audit.verdict import RadiusVerdict
from linbp.evaluation.statistics import Rate
from linbp.report.audit.summary import sentences, status

__all__ = ["SCHEMA", "VERSION", "render", "schema", "to_dict"]

VERSION = 1
"""Raised when a field changes its meaning or goes; new fields do not raise it."""

SCHEMA = "audit.schema.json"


def render(audit: Audit) -> str:
    """The audit as one JSON document."""
    return json.dumps(to_dict(audit), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def schema() -> dict[str, Any]:
    """The JSON Schema of what `to_dict` gives."""
    found: dict[str, Any] = json.loads((resources.files("linbp.report.audit") / SCHEMA).read_text(encoding="utf-8"))
    return found


def to_dict(audit: Audit) -> dict[str, Any]:
    """The audit as plain values. Rates and intervals are shares in [0, 1], differences are in points."""
    return {
        "version": VERSION,
        "verdict": {
            "status": status(audit),
            "sentences": sentences(audit),
            "decisive_eps": audit.decisive,
            "radii": [_verdict(one) for one in audit.verdicts],
        },
        "victim": _plain(audit.victim),
        "threat_model": {
            "norm": audit.norm,
            "eps": [one.eps_text for one in audit.radii],
            "surrogates": [_plain(one) for one in audit.surrogates],
            "surrogates_named_by_user": audit.named,
            "attacker_queries": audit.queries.attacker,
            "atlas": [{"id": ident, "name": name} for ident, name in atlas(audit)],
        },
        "suite": {**_plain(audit.suite), "draft": audit.suite.draft},
        "images": audit.images,
        "exposure": [_exposure(one) for one in audit.radii],
        "controls": [_plain(one) for one in audit.changed],
        "references": [{**_plain(one), "verdict": one.verdict} for one in audit.references],
        "classes": [_plain(one) for one in audit.classes],
        "examples": [_plain(one) for one in audit.examples],
        "baseline": _baseline(audit),
        "queries": _plain(audit.queries),
        "flags": [_plain(one) for one in audit.flags],
        "left_out": [_plain(one) for one in audit.left_out],
        "complete": audit.complete,
        "facts": dict(audit.facts),
        "command": audit.command,
    }


def _verdict(one: RadiusVerdict) -> dict[str, Any]:
    return {
        "eps": one.eps,
        "eps_text": one.eps_text,
        "threshold": one.threshold,
        "decided_on": "upper bound" if one.strict else "lower bound",
        "bound": one.bound,
        "failed": one.failed,
        "certain": one.certain,
    }


def _exposure(one: Exposure) -> dict[str, Any]:
    return {
        "eps": one.eps,
        "eps_text": one.eps_text,
        "worst_case": _plain(one.worst),
        "gradients": one.gradients,
        "best": {"surrogate": one.best.surrogate, "recipe": one.best.recipe, "rate": _plain(one.best.rate)},
        "noise": None if one.noise is None else _plain(one.noise),
        "noise_p": one.noise_p,
        "attacks": [_plain(attack) for attack in one.attacks],
    }


def _baseline(audit: Audit) -> dict[str, Any] | None:
    if audit.baseline is None:
        return None
    changes = [{**_plain(one), "worse": one.worse} for one in audit.baseline.changes]
    return {**_plain(audit.baseline), "changes": changes, "worse": audit.baseline.worse}


def _plain(value: Any) -> Any:
    """Dataclasses as objects, tuples as lists; a rate by its fields."""
    if isinstance(value, Rate):
        return {"value": value.value, "low": value.low, "high": value.high, "n": value.n, "successes": value.successes}
    if dataclasses.is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value

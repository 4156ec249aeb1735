"""Names that tell victims apart."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from linbp.evaluation.result import Evaluation
from linbp.evaluation.roles import NO_WEIGHTS

__all__ = ["distinguished", "same_networks"]


def distinguished(evaluations: Sequence[Evaluation]) -> tuple[Evaluation, ...]:
    """The evaluations, those of one name with what they were loaded from behind it, or else with a number."""
    names = [evaluation.name for evaluation in evaluations]
    names = _longer(names, [str(evaluation.victim.get("spec", "")) for evaluation in evaluations])
    while len(set(names)) < len(names):
        names = _longer(names, [str(names[:row].count(name) + 1) for row, name in enumerate(names)])
    return tuple(
        evaluation
        if evaluation.name == name
        else dataclasses.replace(evaluation, victim={**evaluation.victim, "name": name})
        for evaluation, name in zip(evaluations, names, strict=True)
    )


def same_networks(evaluations: Sequence[Evaluation]) -> tuple[str, ...]:
    """What to say about victims of one set of weights and the same answers: they say the same thing twice."""
    kinds: dict[Any, list[str]] = {}
    for evaluation in evaluations:
        weights = evaluation.victim.get("weights_sha256")
        if weights not in (None, NO_WEIGHTS):
            kinds.setdefault((weights, evaluation.records), []).append(evaluation.name)
    return tuple(
        f"{' and '.join(names)} are the same network: in a mean over victims it counts once."
        for names in kinds.values()
        if len(names) > 1
    )


def _longer(names: Sequence[str], additions: Sequence[str]) -> list[str]:
    """Names, those that occur several times with an addition in brackets."""
    times = Counter(names)
    return [
        f"{name} ({addition})" if times[name] > 1 and addition else name
        for name, addition in zip(names, additions, strict=True)
    ]

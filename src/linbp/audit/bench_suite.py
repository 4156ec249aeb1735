"""An audit as a suite of the bench."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from linbp.audit.choose import Choice
from linbp.bench.suite import Suite

__all__ = ["bench_suite"]


def bench_suite(
    choice: Choice,
    *,
    victim: tuple[str, str],
    data: Mapping[str, Any],
    eps: Sequence[str],
    cost: Mapping[str, int],
    seed: int,
    trust_labels: bool,
    batch_size: int,
) -> Suite:
    """What the bench runs: every pair at every radius, asked of the victim first and of the references after it.

    Args:
        choice: of networks and attacks.
        victim: the audited model's name, and how it is loaded.
        data: the suite's table of that name.
        eps: radii.
        cost: `steps`, or `gradients` per image of each attack.
        seed: of all randomness.
        trust_labels: do not suspect labels of being shifted.
        batch_size: images that networks compute at a time.
    """
    surrogates, recipes = choice.surrogates, []
    for name, text in choice.suite.recipes.items():
        on = [pair.surrogate for pair in choice.pairs if pair.recipe == name]
        if on:
            # A recipe for all of them need not say so.
            recipes.append({"name": name, "recipe": text, **({} if set(on) == set(surrogates) else {"on": on})})
    name, model = victim
    # Attacks on other classes lead away from the surrogate's own predictions, and everybody is scored by the data.
    scored = {"labels": "given"} if choice.other_classes else {}
    return Suite.model_validate(
        {
            "name": choice.suite.name,
            "data": dict(data),
            "surrogates": [
                {"name": one, "model": one, **({"labels": "predicted"} if one in choice.other_classes else {})}
                for one in surrogates
            ],
            "recipes": recipes,
            "eps": list(eps),
            "victims": [
                {"name": name, "model": model, **scored},
                *({"name": one, "model": one, **scored} for one in choice.references),
            ],
            "selection": "none",
            "norm": "linf",
            "cost": dict(cost),
            "seed": seed,
            "trust_labels": trust_labels,
            "batch_size": batch_size,
            "victim_batch_size": batch_size,
        }
    )

"""The start of `start=auto` in a job: chosen once, on a few of its images, and kept in the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from linbp.attack.api import default_step_size
from linbp.attack.choose_start import NO_PROXY, STEPS, choose_start, needs_choice
from linbp.attack.ensemble import Ensemble
from linbp.attack.job.batch import AttackConfig
from linbp.attack.job.images import JobImages
from linbp.attack.pool import Pool
from linbp.attack.recipe.recipe import Recipe
from linbp.data.images import to_unit
from linbp.data.labels import spread
from linbp.errors import RecipeError
from linbp.graph import Surrogate
from linbp.jobs.progress import Progress
from linbp.models import Classifier, Model

__all__ = ["captured_on", "choice_notes", "choose_for_job", "proxy_names"]

ASKED = 8
"""Images that the choice is made on: a handful, since every candidate is attacked on each."""


def proxy_names(recipe: Recipe, proxies: Sequence[Classifier]) -> tuple[str, ...]:
    """The proxies by name and hash, for the settings of a job.

    Raises:
        RecipeError: there are proxies and nothing to choose, or the other way round.
    """
    if proxies and not needs_choice(recipe):
        raise RecipeError(f"{recipe} has nothing that a proxy would choose.", "Write start=auto, or leave --proxy out.")
    if needs_choice(recipe) and not proxies:
        raise RecipeError("start=auto asks a proxy, and there is none.", NO_PROXY)
    return tuple(f"{proxy.name} {(proxy.identity().get('weights_sha256') or 'black box')[:16]}" for proxy in proxies)


def captured_on(model: Model | Surrogate | Ensemble, device: str | torch.device | None) -> Surrogate:
    """The surrogate of a choice, captured.

    Raises:
        RecipeError: there are several.
    """
    if isinstance(model, Ensemble):
        raise RecipeError(
            "start=auto chooses for one surrogate, and there are several.",
            "Choose for each alone, and give each its rule: --surrogate 'MODEL with linbp(start=7)'.",
        )
    surrogate = model if isinstance(model, Surrogate) else Surrogate(model)
    return surrogate if device is None else surrogate.to(device)


def choose_for_job(
    surrogate: Surrogate,
    settings: AttackConfig,
    images: JobImages,
    proxies: Sequence[Classifier],
    pool: Pool | None,
    tell: Progress,
) -> dict[str, Any]:
    """Choose on up to eight images of the commonest size, spread over the list; the choice as plain data.

    Raises:
        RecipeError, RuleError: as `choose_start`.
    """
    commonest, _ = Counter(images.sizes).most_common(1)[0]
    same = [row for row, size in enumerate(images.sizes) if size == commonest]
    rows = [same[index] for index in spread(len(same), ASKED)]
    clean = to_unit(np.stack(list(images.pixels(rows))), surrogate.dtype, surrogate.device)
    logits = surrogate.logits(clean)
    records = [images.records[row] for row in rows]
    ids = [record.image_id for record in records]
    labels = logits.argmax(1)
    if settings.labels == "given":
        labels = torch.tensor([record.label for record in records])
    targets = None
    if settings.target_rule is not None:
        targets = settings.target_rule.targets(ids, labels.to(logits.device), logits, settings.seed)
    elif settings.targeted:
        targets = torch.tensor([record.target for record in records])
    step, eps = None if settings.recipe.single_step else settings.step_size, [settings.eps]
    if settings.norm == "l2" and step == default_step_size("l2", eps, settings.steps)[0]:
        # Made for all steps: the few that a choice takes would end at a fraction of the radius.
        step = default_step_size("l2", eps, min(settings.steps, STEPS))[0]
    tell("choosing the start", 0, 1)
    choice = choose_start(
        surrogate,
        clean,
        labels,
        settings.recipe,
        proxies=proxies,
        eps=settings.eps,
        steps=settings.steps,
        step_size=step,
        norm=settings.norm,
        rounding=settings.rounding,
        seed=settings.seed,
        targets=targets,
        ids=ids,
        pool=pool,
        progress=lambda done, total: tell("choosing the start", done, total),
    )
    return choice.to_dict()


def choice_notes(choice: dict[str, Any] | None) -> list[str]:
    """What the user should know of a choice, in words."""
    if choice is None:
        return []
    scores = sorted((-score, int(site)) for site, score in choice["scores"].items())
    best, *others = [f"site {site} ({-score:+.3f} nats)" for score, site in scores]
    second = f", next {others[0]}" if others else ""
    asked = " and ".join(choice["proxies"])
    return [f"start=auto chose {best}{second}: mean rise of {asked} over {choice['images']} images"]

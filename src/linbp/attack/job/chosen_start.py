"""The start of `start=auto` in a job: chosen once, on a few of its images, and kept in the manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from linbp.attack.choose_start import Choice, check_choice, has_auto_start, rank_starts
from linbp.attack.config import AttackConfig
from linbp.attack.ensemble import Ensemble
from linbp.attack.job.images import JobImages
from linbp.attack.job.labels import inputs_of
from linbp.attack.pool import Pool
from linbp.attack.recipe.recipe import Recipe
from linbp.data.labels import spread
from linbp.errors import RecipeError
from linbp.jobs.progress import ProgressCallback
from linbp.models import Classifier

__all__ = ["check_proxies", "choice_notes", "choose_for_job", "proxy_names"]

ASKED = 8
"""Images that the choice is made on: a handful, since every candidate is attacked on each."""


def check_proxies(recipe: Recipe, proxies: Sequence[Classifier]) -> None:
    """Refuse proxies where there is nothing to choose, and a choice without proxies.

    Raises:
        RecipeError: one of the two.
    """
    if has_auto_start(recipe):
        check_choice(recipe, proxies)
    elif proxies:
        raise RecipeError(f"{recipe} has nothing that a proxy would choose.", "Write start=auto, or leave --proxy out.")


def proxy_names(proxies: Sequence[Classifier]) -> list[str]:
    """The proxies by name and hash, for the settings of a job."""
    return [f"{proxy.name} {(proxy.identity().get('weights_sha256') or 'black box')[:16]}" for proxy in proxies]


def choose_for_job(
    ensemble: Ensemble,
    config: AttackConfig,
    images: JobImages,
    proxies: Sequence[Classifier],
    pool: Pool | None,
    tell: ProgressCallback,
) -> Choice:
    """Choose on up to eight images of the commonest size, spread over the list.

    Raises:
        RecipeError, RuleError: as `choose_start`.
    """
    commonest, _ = Counter(images.sizes).most_common(1)[0]
    same = [row for row, size in enumerate(images.sizes) if size == commonest]
    rows = [same[index] for index in spread(len(same), ASKED)]
    inputs = inputs_of(ensemble, config, images, rows)
    tell("choosing the start", 0, 1)
    return rank_starts(
        ensemble,
        config,
        inputs,
        proxies,
        pool=pool,
        progress=lambda done, total: tell("choosing the start", done, total),
    )


def choice_notes(choice: Mapping[str, Any] | None) -> list[str]:
    """What the user should know of a choice, in words."""
    if choice is None:
        return []
    scores = sorted((-score, int(site)) for site, score in choice["scores"].items())
    best, *others = [f"site {site} ({-score:+.3f} nats)" for score, site in scores]
    second = f", next {others[0]}" if others else ""
    asked = " and ".join(choice["proxies"])
    return [f"start=auto chose {best}{second}: mean rise of {asked} over {choice['images']} images"]

"""Where a backward rule should start: chosen on a few images, without asking a victim."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from linbp.attack.api import check_classes, craft
from linbp.attack.pool import Pool
from linbp.attack.recipe.recipe import Recipe
from linbp.errors import RecipeError, RuleError
from linbp.graph import Surrogate
from linbp.models.model import Model

__all__ = ["AUTO", "Choice", "choose_start", "needs_choice"]

AUTO = "auto"
CANDIDATES = 8
STEPS = 10
"""The ranking of positions is settled after a few steps (`docs/position.md`)."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Choice:
    """Where a rule starts, and why.

    Attributes:
        start: number of the site.
        recipe: the recipe with that start.
        scores: of every candidate, (site, mean rise of the proxies' cross-entropy in nats).
        proxies: names of the networks that were asked.
        images: how many images they were asked about.
    """

    start: int
    recipe: Recipe
    scores: tuple[tuple[int, float], ...]
    proxies: tuple[str, ...]
    images: int

    def to_dict(self) -> dict[str, Any]:
        """The choice as plain data, for the records."""
        return {
            "start": self.start,
            "recipe": str(self.recipe),
            "scores": {str(site): score for site, score in self.scores},
            "proxies": list(self.proxies),
            "images": self.images,
        }


def needs_choice(recipe: Recipe) -> bool:
    """Whether a rule of the recipe is to start where `choose_start` says."""
    return any(_waits(rule) for stage in recipe.stages for rule in stage.rules)


def choose_start(
    model: Model | Surrogate,
    images: Any,
    labels: Any,
    recipe: Recipe | str,
    *,
    proxies: Sequence[Any],
    eps: Any,
    candidates: int = CANDIDATES,
    pool: Pool | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Choice:
    """Choose the start of a recipe's `start=auto` with networks that are no victims.

        start = argmax_k mean_images mean_proxies (CE(proxy(adv_k), label) - CE(proxy(clean), label))

    The recipe is run with at most ten steps from each of up to eight sites at even distances, and the proxies are asked
    how much their loss rises; with targets, how much the target's falls. The surrogate's own loss is no guide: it is
    highest where adversarial images transfer least (`docs/position.md` has the figures for this and for other
    criteria).

    Args:
        model: the surrogate.
        images: a handful, (N, C, H, W), as for `craft`.
        labels: (N,).
        recipe: with one `start=auto`.
        proxies: networks with the same classes that are asked for predictions, at least one, neither the surrogate nor
            a victim: asking the network that is to be fooled would be another kind of attack.
        eps: the radius, as for `craft`: the best position may differ from radius to radius.
        candidates: how many sites are tried.
        pool: for `admix`.
        seed: of the draws.
        progress: told how many candidates are done, and how many there are.
        settings: further arguments of `craft` (steps, step_size, norm, targets, ids, ...).

    Raises:
        RecipeError: no rule waits for a start, several do, or there is no proxy.
        ImageError: a label or target is no class of the surrogate's.
    """
    recipe = Recipe.parse(recipe) if isinstance(recipe, str) else recipe
    recipe.check_targets(settings.get("targets") is not None)
    waiting = [rule for stage in recipe.stages for rule in stage.rules if _waits(rule)]
    if len(waiting) != 1:
        raise RecipeError(f"{recipe} has {len(waiting)} rules with start=auto.", "Give one rule start=auto.")
    if not proxies:
        raise RecipeError("start=auto asks a proxy, and there is none.", NO_PROXY)
    surrogate = model if isinstance(model, Surrogate) else Surrogate(model)
    _check_proxies(surrogate, proxies, torch.as_tensor(images)[:1])
    if isinstance(candidates, bool) or not isinstance(candidates, int) or candidates < 1:
        raise RecipeError(f"candidates is {candidates!r}.", "Give a whole number of at least 1.")
    steps = settings.pop("steps", None)
    taken = None if recipe.single_step else min(recipe.check_steps(steps), STEPS)
    unit = torch.as_tensor(images)
    clean = unit.double() / 255 if unit.dtype == torch.uint8 else unit
    targets = settings.get("targets")
    aim = check_classes(labels, len(clean), surrogate.classes, "label")
    if targets is not None:
        aim = check_classes(targets, len(clean), surrogate.classes, "target")
    before = [_losses(proxy, clean, aim) for proxy in proxies]
    sites = _spread(len(surrogate.sites), candidates)
    scores: list[tuple[int, float]] = []
    refused: Exception | None = None
    for done, site in enumerate(sites, 1):
        trial = _starting(recipe, site)
        try:
            adv = craft(surrogate, images, labels, trial, eps=eps, steps=taken, seed=seed, pool=pool, **settings)
        except (RecipeError, RuleError) as fault:  # nothing to act on from there on, or a map that the rule hides
            refused = refused or fault
            continue
        rises = [_losses(proxy, torch.as_tensor(adv), aim) - old for proxy, old in zip(proxies, before, strict=True)]
        mean = float(torch.stack(rises).mean())
        scores.append((site, mean if targets is None else -mean))
        if progress is not None:
            progress(done, len(sites))
    if not scores:
        assert refused is not None  # there is at least one candidate
        raise refused
    best = max(scores, key=lambda score: score[1])[0]
    return Choice(
        start=best,
        recipe=_starting(recipe, best),
        scores=tuple(scores),
        proxies=tuple(str(getattr(proxy, "name", proxy)) for proxy in proxies),
        images=len(unit),
    )


NO_PROXY = (
    "Name networks for the same classes that are neither the surrogate nor a victim: --proxy MODEL "
    "(linbp.choose_start(..., proxies=[...]) in Python); or give a start, such as start=0.5."
)


def _check_proxies(surrogate: Surrogate, proxies: Sequence[Any], image: torch.Tensor) -> None:
    """Refuse proxies that are the surrogate, or know other classes.

    Raises:
        RecipeError: there is one.
    """
    own = surrogate.model.identity()["weights_sha256"]
    probe = image.double() / 255 if image.dtype == torch.uint8 else image
    for proxy in proxies:
        if proxy.identity().get("weights_sha256") == own:
            raise RecipeError(f"The proxy {proxy.name} is the surrogate, whose own loss misleads.", NO_PROXY)
        width = _logits(proxy, probe).shape[1]
        if width != surrogate.classes:
            raise RecipeError(
                f"The proxy {proxy.name} knows {width} classes and the surrogate {surrogate.classes}.", NO_PROXY
            )


def _waits(rule: Any) -> bool:
    return getattr(rule, "start", None) == AUTO


def _starting(recipe: Recipe, site: int) -> Recipe:
    """The recipe with the rule that waits started at a site, in whichever stage it is."""
    guide = None if recipe.guide is None else _starting(recipe.guide, site)
    parts: tuple[Any, ...] = recipe.rules
    rules = tuple(dataclasses.replace(rule, start=site) if _waits(rule) else rule for rule in parts)
    return dataclasses.replace(recipe, rules=rules, guide=guide)


def _spread(sites: int, candidates: int) -> list[int]:
    """Up to so many sites at even distances, the first one among them."""
    return sorted({number * sites // candidates for number in range(candidates)})


def _losses(proxy: Any, images: torch.Tensor, aim: torch.Tensor) -> torch.Tensor:
    """The proxy's cross-entropy (N,) to the classes that are aimed at, in nats."""
    return functional.cross_entropy(_logits(proxy, images), aim, reduction="none")


def _logits(proxy: Any, images: torch.Tensor) -> torch.Tensor:
    dtype, device = getattr(proxy, "dtype", torch.float32), getattr(proxy, "device", "cpu")
    logits: torch.Tensor = proxy.logits(images.to(device=device, dtype=dtype)).double().cpu()
    return logits

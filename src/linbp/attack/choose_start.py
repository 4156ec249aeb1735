"""Where a backward rule should start: chosen on a few images, without asking a victim."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from linbp.attack.api import craft_batches
from linbp.attack.config import AttackConfig
from linbp.attack.ensemble import Attackable, Ensemble, as_ensemble
from linbp.attack.inputs import Inputs, as_images
from linbp.attack.pool import Pool
from linbp.attack.prepare import prepare
from linbp.attack.recipe.recipe import Recipe
from linbp.errors import RecipeError, RuleError
from linbp.models.decisions import answers_with
from linbp.models.logits import are_probabilities

__all__ = ["AUTO", "Choice", "choose_start", "has_auto_start", "rank_starts", "with_start"]

AUTO = "auto"
CANDIDATES = 8
STEPS = 10
"""The order of the positions is clear after a few steps (`docs/position.md`)."""
NO_PROXY = (
    "Name networks for the same classes that are neither the surrogate nor a victim: --proxy MODEL "
    "(linbp.choose_start(..., proxies=[...]) in Python); or give a start, such as start=0.5."
)


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


def has_auto_start(recipe: Recipe) -> bool:
    """Whether a rule of the recipe is to start where `choose_start` says."""
    return _auto_rules(recipe) > 0


def choose_start(
    model: Attackable,
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
        RecipeError: no rule has `start=auto`, several have, there is no proxy, or there are several surrogates.
        ImageError: a label or target is no class of the surrogate's.
    """
    given = as_images(images)
    targets, ids, device = (settings.pop(name, None) for name in ("targets", "ids", "device"))
    config = AttackConfig.resolve(
        recipe,
        eps=eps,
        seed=seed,
        targets=targets is not None,
        pool=pool is not None,
        images=len(given),
        **settings,
    )
    check_choice(config.recipe, proxies)
    if isinstance(candidates, bool) or not isinstance(candidates, int) or candidates < 1:
        raise RecipeError(f"candidates is {candidates!r}.", "Give a whole number of at least 1.")
    ensemble = as_ensemble(model, device, config.group_size)
    inputs = Inputs.check(given, labels, targets, ids, ensemble)
    return rank_starts(ensemble, config, inputs, proxies, candidates=candidates, pool=pool, progress=progress)


def check_choice(recipe: Recipe, proxies: Sequence[Any]) -> None:
    """Refuse a recipe without exactly one rule to choose a start for, and a choice without a proxy.

    Raises:
        RecipeError: one of them.
    """
    if (rules := _auto_rules(recipe)) != 1:
        raise RecipeError(f"{recipe} has {rules} rules with start=auto.", "Give one rule start=auto.")
    if not proxies:
        raise RecipeError("start=auto asks a proxy, and there is none.", NO_PROXY)


def rank_starts(
    ensemble: Ensemble,
    config: AttackConfig,
    inputs: Inputs,
    proxies: Sequence[Any],
    *,
    candidates: int = CANDIDATES,
    pool: Pool | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Choice:
    """`choose_start` with everything checked but whether the proxies and the surrogate fit each other.

    Raises:
        RecipeError, RuleError: a proxy is the surrogate or knows other classes, there are several surrogates, or no
            candidate has an effect.
    """
    if len(ensemble.surrogates) > 1:
        raise RecipeError(
            "start=auto chooses for one surrogate, and there are several.",
            "Choose for each alone, and give each its rule: --surrogate 'MODEL with linbp(start=7)'.",
        )
    clean = inputs.images.double() / 255 if inputs.images.dtype == torch.uint8 else inputs.images
    _check_proxies(ensemble, proxies, clean[:1])
    before = [_losses(proxy, clean, inputs.aim) for proxy in proxies]
    sites = _spread(len(ensemble.surrogates[0].sites), candidates)
    config = config.shortened(STEPS)
    scores: list[tuple[int, float]] = []
    refusals: list[RecipeError | RuleError] = []
    for done, site in enumerate(sites, 1):
        recipe = with_start(config.recipe, site)
        try:
            adv = craft_batches(prepare(ensemble, recipe), dataclasses.replace(config, recipe=recipe), inputs, pool)
        except (RecipeError, RuleError) as fault:  # nothing to act on from there on, or a map that the rule hides
            refusals.append(fault)
            continue
        rises = [_losses(proxy, adv, inputs.aim) - old for proxy, old in zip(proxies, before, strict=True)]
        mean = float(torch.stack(rises).mean())
        scores.append((site, -mean if config.targeted else mean))
        if progress is not None:
            progress(done, len(sites))
    if not scores:
        raise refusals[0]
    best = max(scores, key=lambda score: score[1])[0]
    return Choice(
        start=best,
        recipe=with_start(config.recipe, best),
        scores=tuple(scores),
        proxies=tuple(str(getattr(proxy, "name", proxy)) for proxy in proxies),
        images=len(clean),
    )


def with_start(recipe: Recipe, site: int) -> Recipe:
    """The recipe whose rule with `start=auto`, in whichever stage it is, starts at a site."""
    stages = []
    for stage in recipe.stages:
        rules: tuple[Any, ...] = stage.rules
        started = [dataclasses.replace(rule, start=site) if _is_auto(rule) else rule for rule in rules]
        stages.append(stage.with_rules(started))
    return Recipe(stages=tuple(stages))


def _is_auto(rule: Any) -> bool:
    return getattr(rule, "start", None) == AUTO


def _auto_rules(recipe: Recipe) -> int:
    return sum(_is_auto(rule) for stage in recipe.stages for rule in stage.rules)


def _check_proxies(ensemble: Ensemble, proxies: Sequence[Any], image: torch.Tensor) -> None:
    """Refuse proxies that are the surrogate, or know other classes.

    Raises:
        RecipeError: there is one, or one that answers with probabilities.
    """
    own = ensemble.surrogates[0].model.identity()["weights_sha256"]
    for proxy in proxies:
        if proxy.identity().get("weights_sha256") == own:
            raise RecipeError(f"The proxy {proxy.name} is the surrogate, whose own loss misleads.", NO_PROXY)
        if answers_with(proxy) != "scores":
            raise RecipeError(
                f"The proxy {proxy.name} tells no scores of all classes, and its cross-entropy is to be measured.",
                "Use it as a victim; " + NO_PROXY[0].lower() + NO_PROXY[1:],
            )
        answer = proxy.logits(_given(proxy, image))
        width = answer.shape[1]
        if are_probabilities(answer):
            raise RecipeError(
                f"The proxy {proxy.name} answers with probabilities, and its cross-entropy is to be measured.",
                "Let it return logits or logarithms of probabilities.",
            )
        if width != ensemble.classes:
            raise RecipeError(
                f"The proxy {proxy.name} knows {width} classes and the surrogate {ensemble.classes}.", NO_PROXY
            )


def _spread(sites: int, candidates: int) -> list[int]:
    """Up to so many sites at even distances, the first one among them."""
    return sorted({number * sites // candidates for number in range(candidates)})


def _losses(proxy: Any, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """The proxy's cross-entropy (N,) to some classes, in nats."""
    return functional.cross_entropy(_logits(proxy, images), classes, reduction="none")


def _logits(proxy: Any, images: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = proxy.logits(_given(proxy, images)).double().cpu()
    return logits


def _given(proxy: Any, images: torch.Tensor) -> torch.Tensor:
    """Images where the proxy is, and in its dtype."""
    return images.to(device=getattr(proxy, "device", "cpu"), dtype=getattr(proxy, "dtype", torch.float32))

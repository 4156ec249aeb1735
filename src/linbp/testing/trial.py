"""One part in a recipe on a network with images: what every check of the kit tries."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch

from linbp.attack.config import AttackConfig
from linbp.attack.context import Goal
from linbp.attack.ensemble import Attackable, Ensemble
from linbp.attack.loop import attack_batch
from linbp.attack.parts.start import RandomStart
from linbp.attack.pool import Pool
from linbp.attack.prepare import Prepared, prepare
from linbp.attack.recipe.recipe import Recipe
from linbp.attack.recipe.stage import Stage
from linbp.errors import LinbpError
from linbp.graph import Surrogate
from linbp.testing.networks import Turning, images_and_labels, mixing_pool, small_surrogate

__all__ = ["EPS", "Trial", "torch_settings"]

EPS, STEPS = 12 / 255, 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """Where a part is tried.

    Attributes:
        part: an instance.
        recipe: with the part in its last stage.
        without: the same recipe without the part.
        model: the surrogate, or an ensemble.
        images: (N, C, H, W) in uint8, at least three.
        labels: (N,).
        pool: images to mix in.
        steps: that the attack takes.
        settings: of torch, before anything is tried.
    """

    part: Any
    recipe: Recipe
    without: Recipe
    model: Attackable
    images: torch.Tensor
    labels: torch.Tensor
    pool: Pool | None
    steps: int
    settings: tuple[Any, ...]

    @classmethod
    def of(
        cls,
        part: Any,
        *,
        beside: str = "",
        model: Attackable | None = None,
        images: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        pool: Pool | None = None,
        steps: int | None = None,
    ) -> Trial:
        """A part with what it needs: a stage before it, a start, a pool, a second surrogate.

        Args:
            part: an instance.
            beside: further parts of the recipe, as text, for a part that does nothing alone.
            model: the surrogate; by default a small network, or two where the part refuses one.
            images: (N, C, H, W) in uint8; by default four of the small network's.
            labels: of the images.
            pool: images to mix in, for parts that need some.
            steps: of the attack; by default four, or as many as the part needs to have an effect.
        """
        starts = [RandomStart(radius=0.5)] if part.kind == "objective" and part.needs_start else []
        recipe, without = _recipe([part, *starts], beside), _recipe(starts, beside)
        given = images_and_labels() if images is None or labels is None else (images, labels)
        last = recipe.stages[-1]
        return cls(
            part=part,
            recipe=recipe,
            without=without,
            model=_model(last) if model is None else model,
            images=given[0],
            labels=given[1],
            settings=torch_settings(),
            pool=pool or (mixing_pool() if any(one.needs_pool for one in last.transforms) else None),
            steps=1
            if recipe.single_step
            else steps or max(STEPS, *(getattr(one, "fewest_steps", 1) for one in last.parts)),
        )

    def config(self, recipe: Recipe | None = None, **settings: Any) -> AttackConfig:
        """The settings of the attack; everything is checked."""
        chosen = self.recipe if recipe is None else recipe
        steps = self.steps if chosen == self.recipe else max(self.steps, STEPS)
        given = {
            "eps": EPS,
            "steps": None if chosen.single_step else steps,
            "pool": self.needs_pool(chosen),
            **settings,
        }
        return AttackConfig.resolve(chosen, **given)

    def needs_pool(self, recipe: Recipe) -> bool:
        """Whether a recipe mixes in images."""
        return any(one.needs_pool for stage in recipe.stages for one in stage.transforms)

    def prepared(self, recipe: Recipe | None = None) -> Prepared:
        """The recipe on the network."""
        return prepare(self.model, self.recipe if recipe is None else recipe)

    def run(
        self,
        rows: Sequence[int] | None = None,
        *,
        recipe: Recipe | None = None,
        prepared: Prepared | None = None,
        images: torch.Tensor | None = None,
        **settings: Any,
    ) -> torch.Tensor:
        """Adversarial images (N, C, H, W) of some rows in one batch, in [0, 1]."""
        chosen = list(range(len(self.images))) if rows is None else list(rows)
        config = self.config(recipe, **settings)
        ready = self.prepared(recipe) if prepared is None else prepared
        ensemble = ready.ensemble
        whole = (self.images if images is None else images)[chosen].to(device=ensemble.device, dtype=ensemble.dtype)
        goal = Goal(labels=self.labels[chosen].to(ensemble.device))
        pool = self.pool if self.needs_pool(config.recipe) else None
        return attack_batch(ready.stages, config, whole / 255, goal, [f"image {row}" for row in chosen], pool=pool)


def torch_settings() -> tuple[Any, ...]:
    """Settings of torch that hold for the whole process."""
    return torch.is_grad_enabled(), torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()


def _recipe(parts: Sequence[Any], beside: str) -> Recipe:
    """A recipe of some parts and what stands beside them."""
    *before, last = Recipe.parse(beside).stages if beside else (Stage(),)
    kept = [one for one in last.parts if one not in Stage().parts]
    return Recipe(stages=(*before, Stage.of([*parts, *kept])))


def _model(stage: Stage) -> Surrogate | Ensemble:
    """One small network, two where the estimator refuses one, or one whose weights take turns where it needs that."""
    try:
        stage.estimator.check_members(1)
    except LinbpError:
        return Ensemble([small_surrogate(0), small_surrogate(1)], fuse="losses")
    try:
        stage.estimator.check_turns(1)
    except LinbpError:
        return Surrogate(Turning(small_surrogate(0).model, small_surrogate(1).model))
    return small_surrogate()

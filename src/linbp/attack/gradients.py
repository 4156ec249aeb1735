"""The gradients of a stage's objective: through the transforms, of every surrogate and of all of them together."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from linbp.attack.context import Context
from linbp.attack.ensemble import fused
from linbp.attack.feature_oracle import FeatureOracle
from linbp.attack.gradient_oracle import Gradient, GradientOracle
from linbp.attack.image_norms import absolute_sum
from linbp.attack.parts.objective.base import Measure, Observation
from linbp.attack.parts.transform import MapTransform
from linbp.attack.prepare import PreparedStage
from linbp.attack.recipe.stage import Stage
from linbp.errors import ModelError, RecipeError
from linbp.graph import Surrogate
from linbp.randomness import Draws
from linbp.registry import typed_name

__all__ = ["StageGradients", "check_images", "check_shape"]


class Point(NamedTuple):
    """Where a gradient is taken.

    Attributes:
        image: what the objective takes for the image, whose gradient some transforms act on.
        transformed: what the network gets.
        beside: of what the network mixes in the feature map, or None.
    """

    image: torch.Tensor
    transformed: torch.Tensor
    beside: torch.Tensor | None = None

    @property
    def asked(self) -> tuple[torch.Tensor, ...]:
        """What a surrogate is asked about."""
        return (self.transformed,) if self.beside is None else (self.transformed, self.beside)


Logits = Callable[[Point], torch.Tensor]
"""The logits (N, classes) at a point."""
Values = Callable[[Point, torch.Tensor | None], torch.Tensor]
"""The objective (N,) at a point; where a tensor is given, at those logits, with the gradient through the network's."""


class StageGradients:
    """The gradients and values of a stage's objective on one batch."""

    def __init__(self, stage: PreparedStage, context: Context, draws: Draws) -> None:
        self.stage, self.context = stage, context
        self.draws = draws
        self._orders = [
            draws.common(f"turns {index}").permutation(surrogate.model.turns).tolist()
            for index, surrogate in enumerate(stage.surrogates)
        ]
        bound = [
            transform.bind(context, [self._oracle(one, order) for one, order in zip(asked, self._orders, strict=False)])
            for transform, asked in zip(stage.parts.transforms, stage.asked, strict=True)
        ]
        self.transforms = sorted(bound, key=lambda transform: not transform.at_image)
        self._measures: dict[tuple[int, int], Measure] = {}
        self._take_turns(0)
        self.each: tuple[Gradient, ...] = tuple(map(self._member, range(len(stage.surrogates))))
        clean = context.budget.clean
        self.flat = torch.ones(len(clean), dtype=torch.bool, device=clean.device)
        """(N,): every gradient so far is zero."""

    def _oracle(self, surrogate: Surrogate, order: Sequence[int]) -> FeatureOracle:
        """What is asked before the first step, of the network whose turn is the first."""
        return FeatureOracle(surrogate=surrogate.of_turn(order[0]), draws=self.draws)

    def at(self, step: int, draws: Draws, iterate: torch.Tensor) -> GradientOracle:
        """What the estimator may ask in a step."""
        self._take_turns(step)
        return GradientOracle(
            step=step,
            draws=draws.at(step),
            iterate=iterate,
            together=self.together,
            each=self.each,
            take_turn=self._take_turns,
        )

    def together(self, images: torch.Tensor, draws: Draws) -> torch.Tensor:
        """The gradient of the ensemble's objective; of one surrogate's where it is alone."""
        if self.stage.fuse != "losses":
            return self._gradient(images, draws, self._fused_logits, self._fused)
        total = self.each[0](images, draws)
        for member in self.each[1:]:
            total = total + member(images, draws)
        return total / len(self.each) if len(self.each) > 1 else total

    def _take_turns(self, step: int) -> None:
        """Let each surrogate have the weights whose turn it is, in an order that is the same for all images."""
        turns = [order[step % len(order)] for order in self._orders]
        self.surrogates = [
            surrogate.of_turn(turn) for surrogate, turn in zip(self.stage.surrogates, turns, strict=True)
        ]
        self.measures = [self._measure(index, turn) for index, turn in enumerate(turns)]

    def _measure(self, index: int, turn: int) -> Measure:
        """The objective of one network; what takes gradients before the first step takes them of the first one."""
        objective = self.stage.parts.objective
        key = index, self._orders[index][0] if objective.gradients_before(1) else turn
        if key not in self._measures:
            oracle = FeatureOracle(surrogate=self.surrogates[index], draws=self.draws)
            self._measures[key] = objective.bind(self.context, oracle)
        return self._measures[key]

    def values(self, images: torch.Tensor, step: int) -> torch.Tensor:
        """The objective (N,) at images as they are, without gradients, before a step or after the last one."""
        self._take_turns(step)
        point = Point(images, images)
        with torch.no_grad():
            if self.stage.fuse != "losses":
                return self._fused(point)
            return torch.stack([self._own(index, point) for index in range(len(self.each))]).mean(0)

    def _member(self, index: int) -> Gradient:
        own = functools.partial(self._own, index)

        def logits(point: Point) -> torch.Tensor:
            return self.surrogates[index].run(*point.asked)

        return lambda images, draws: self._gradient(images, draws, logits, own)

    def _own(self, index: int, point: Point, at: torch.Tensor | None = None) -> torch.Tensor:
        logits, features = self.surrogates[index].observe(*point.asked)
        return self.measures[index](Observation(logits=_moved(logits, at), features=features, images=point.image))

    def _fused_logits(self, point: Point) -> torch.Tensor:
        each = [surrogate.run(*point.asked) for surrogate in self.surrogates]
        return fused(each, self.stage.fuse)

    def _fused(self, point: Point, at: torch.Tensor | None = None) -> torch.Tensor:
        logits = _moved(self._fused_logits(point), at)
        return self.measures[0](Observation(logits=logits, features={}, images=point.image))

    def _gradient(self, images: torch.Tensor, draws: Draws, logits: Logits, values: Values) -> torch.Tensor:
        """The mean over the transforms' copies of the gradient of each image's objective, with respect to the image."""
        copies = list(itertools.product(*(range(transform.copies) for transform in self.transforms)))
        means = self._mean_logits(images, copies, draws, logits)
        total: torch.Tensor | None = None
        for copy in copies:
            with torch.enable_grad():
                leaf = images.detach().requires_grad_()
                each = values(self._point(leaf, copy, draws), means.get(self._together(copy)))
                check_shape(self.stage.parts.objective, each, (len(images),))
                (gradient,) = torch.autograd.grad(each.sum(), leaf)
            total = gradient if total is None else total + gradient
        assert total is not None  # a product of ranges that are not empty
        mean = total / len(copies) if len(copies) > 1 else total
        self._check_finite(mean, images, draws.ids)
        return mean

    def _together(self, copy: Sequence[int]) -> tuple[int, ...]:
        """What the copies have in common whose logits are averaged."""
        pairs = zip(self.transforms, copy, strict=True)
        return tuple(number for transform, number in pairs if not transform.averages_logits)

    def _mean_logits(
        self, images: torch.Tensor, copies: Sequence[Sequence[int]], draws: Draws, logits: Logits
    ) -> dict[tuple[int, ...], torch.Tensor]:
        """The mean logits of copies that share an objective; none where each copy has its own."""
        averaged = any(transform.averages_logits for transform in self.transforms)
        if not averaged or not self.stage.parts.objective.reads_logits:
            return {}
        found: dict[tuple[int, ...], list[torch.Tensor]] = {}
        with torch.no_grad():
            for copy in copies:
                found.setdefault(self._together(copy), []).append(logits(self._point(images, copy, draws)))
        return {key: torch.stack(every).mean(0) for key, every in found.items()}

    def _point(self, images: torch.Tensor, copy: Sequence[int], draws: Draws) -> Point:
        """What a copy of the images becomes, and what is mixed in, which other transforms change in the same way."""
        point = self._transform(images, copy, draws)
        for at, transform in enumerate(self.transforms):
            if isinstance(transform, MapTransform):
                with torch.no_grad():
                    others = transform.beside(self.context, self._own_draws(at, copy, draws))
                    return point._replace(beside=self._transform(others, copy, draws).transformed)
        return point

    def _transform(self, images: torch.Tensor, copy: Sequence[int], draws: Draws) -> Point:
        image = images
        for at, (transform, number) in enumerate(zip(self.transforms, copy, strict=True)):
            images = transform.apply(images, self.context, self._own_draws(at, copy, draws), number)
            if transform.at_image:
                image = images
        return Point(image, images)

    def _own_draws(self, at: int, copy: Sequence[int], draws: Draws) -> Draws:
        """The draws of one transform, afresh for each copy that others make."""
        others = [str(one) for other, one in enumerate(copy) if other != at and self.transforms[other].copies > 1]
        return draws.under("copy " + " ".join(others)) if others else draws

    def _check_finite(self, gradient: torch.Tensor, images: torch.Tensor, ids: Sequence[str]) -> None:
        """Refuse gradients that are no numbers, and note where they are zero."""
        total = absolute_sum(gradient)[:, 0, 0, 0]  # NaN or infinite if any entry is
        self.flat &= total == 0
        if not bool(torch.isfinite(total).all()):
            check_images(images, ids, self.stage.parts)
            finite = torch.isfinite(total).tolist()
            bad = [image_id for image_id, fine in zip(ids, finite, strict=True) if not fine]
            raise ModelError(
                f"{self.stage.name} has a gradient that is NaN or infinite at {len(bad)} of {len(finite)} images: "
                f"{', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''}.",
                "Check its weights and its input range, or leave the image out.",
            )


def check_shape(part: Any, found: torch.Tensor, wanted: tuple[int, ...]) -> None:
    """Refuse what a part gives in another shape: broadcast, one image's numbers would become another's.

    Raises:
        RecipeError: it has another shape.
    """
    if found.shape != wanted:
        raise RecipeError(
            f"{typed_name(part)} gives a tensor of shape {tuple(found.shape)} where {tuple(wanted)} is wanted.",
            "An objective gives one number for each image, an estimator and an update one value for each of theirs.",
        )


def check_images(images: torch.Tensor, ids: Sequence[str], parts: Stage) -> None:
    """Refuse images (N, C, H, W) that parts made NaN or infinite, before a network is blamed for it.

    Raises:
        ModelError: there are some; they are named.
    """
    finite = torch.isfinite(images).flatten(1).all(1).tolist()
    bad = [image_id for image_id, fine in zip(ids, finite, strict=True) if not fine]
    if bad:
        raise ModelError(
            f"{parts} leads to values that are NaN or infinite at {len(bad)} of {len(finite)} images: "
            f"{', '.join(bad[:3])}{', ...' if len(bad) > 3 else ''}.",
            "A part divides by a norm that is 0 there, or its numbers overflow: leave out the part or the image.",
        )


def _moved(logits: torch.Tensor, at: torch.Tensor | None) -> torch.Tensor:
    """Logits of other values, with the same gradient."""
    return logits if at is None else at + (logits - logits.detach())

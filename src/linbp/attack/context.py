"""What the parts of an attack may look at while they work on a batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field

import torch

from linbp.attack.budget import Budget
from linbp.attack.pool import Pool

__all__ = ["Context", "Goal", "Trace"]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """The classes that an attack works on: away from the labels, or towards the targets.

    Attributes:
        labels: (N,), the images' classes.
        targets: (N,), the classes that the adversarial images should have, or None for an untargeted attack.
    """

    labels: torch.Tensor
    targets: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Trace:
    """What a stage leaves to the next one.

    Attributes:
        images: (N, C, H, W), where it ended, before the values are put on the 8-bit grid.
        iterates: its images before each step and after the last one; kept only where the next stage asks for them.
        objectives: its objective's values (N,) at each of them; kept only where the next stage asks for them.
        flat: (N,) booleans: every gradient that was taken at the image is zero.
    """

    images: torch.Tensor
    iterates: tuple[torch.Tensor, ...] = ()
    objectives: tuple[torch.Tensor, ...] = ()
    flat: torch.Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Context:
    """One batch in one stage.

    Attributes:
        budget: of the clean images (N, C, H, W).
        goal: labels and targets.
        step_size: on the scale of [0, 1], shape (N, 1, 1, 1).
        steps: how many there are in this stage.
        pool: images to mix in, or None.
        trace: of the stage before, or None in the first one.
    """

    budget: Budget
    goal: Goal
    step_size: torch.Tensor
    steps: int
    pool: Pool | None = None
    trace: Trace | None = field(default=None, repr=False)

    @functools.cached_property
    def candidates(self) -> tuple[tuple[int, ...], ...]:
        """For each image of the batch, the numbers of the pool's images that may be mixed into it.

        Raises:
            ImageError: there is none for an image.
        """
        if self.pool is None:
            raise TypeError("The batch has no pool.")
        pairs = zip(self.budget.clean, self.goal.labels.tolist(), strict=True)
        return tuple(self.pool.candidates(clean, label) for clean, label in pairs)

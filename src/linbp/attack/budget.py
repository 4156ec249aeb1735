"""The ball around the clean image, and the 8-bit grid in it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch

from linbp.attack.image_norms import absolute_mean, divided, euclidean
from linbp.errors import BudgetError
from linbp.randomness import Draws
from linbp.validation import read_fraction

__all__ = ["Budget", "Norm", "Rounding", "check_budget", "parse_radius"]

Norm = Literal["linf", "l2"]
Rounding = Literal["inward", "nearest", "truncate"]
LEVELS = 255
WHOLE = 1e-3
"""Levels by which a value may lie below a level and still be that level when fractions are cut off."""
LEAST_LEVELS: dict[Rounding, float] = {"inward": 0.5, "nearest": 0.5, "truncate": WHOLE}
"""The smallest change, in levels, that rounding to 8-bit values does not take back everywhere."""


def parse_radius(value: Any, what: str = "eps") -> float:
    """A radius or a step size from what a user writes: `8/255`, `0.03` or a number.

    Numbers of 16 and 32 bits that are a whole number of levels as exactly as they can be are that number of levels.

    Raises:
        BudgetError: not a positive finite number.
    """
    try:
        number = read_fraction(value) if isinstance(value, str) else float("nan" if isinstance(value, bool) else value)
    except (ValueError, ZeroDivisionError, OverflowError, TypeError, RuntimeError):
        raise BudgetError(f"{what} is {value!r}.", "Write a number or a fraction, such as 8/255 or 0.03.") from None
    if not math.isfinite(number) or number <= 0:
        raise BudgetError(f"{what} is {value!r}.", f"{what} must be a positive finite number, such as 8/255.")
    levels = round(LEVELS * number)
    return levels / LEVELS if abs(LEVELS * number - levels) <= levels * _precision(value) else number


def _precision(value: Any) -> float:
    """By which share a number may miss what it stands for, where its dtype is less exact than Python's floats."""
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return float(torch.finfo(value.dtype).eps) if value.dtype != torch.float64 else 0
    dtype = getattr(value, "dtype", None)
    return float(np.finfo(dtype).eps) if dtype in (np.float16, np.float32) else 0


def check_budget(eps: Sequence[float], norm: Norm, rounding: Rounding) -> None:
    """Refuse radii that allow no 8-bit value but the clean one's, or are larger than the range of images.

    Raises:
        BudgetError: there is one, or the norm or the rounding is not known.
    """
    if norm not in get_args(Norm) or rounding not in get_args(Rounding):
        raise BudgetError(
            f"norm is {norm!r} and rounding {rounding!r}.",
            f"norm: linf or l2; rounding: {', '.join(get_args(Rounding))}.",
        )
    least, most = min(eps, default=1.0), max(eps, default=1.0)
    if norm == "linf" and most > 1:
        raise BudgetError(
            f"eps is {most:g}, more than the whole range of an image.",
            "Images are in [0, 1]: "
            + (f"did you mean {most:g}/255?" if most >= 2 else "give at most 1, such as 8/255."),
        )
    if least * LEVELS < 1 and rounding == "inward":
        raise BudgetError(
            f"eps is {least:g}, less than one level of 8-bit images (1/255): no adversarial image could differ.",
            "Give at least 1/255, or 0.5/255 with rounding=nearest.",
        )
    if least * LEVELS < LEAST_LEVELS[rounding]:
        raise BudgetError(
            f"eps is {least:g}, less than {'half' if rounding == 'nearest' else 'a thousandth of'} a level of 8-bit "
            "images: every adversarial image would be rounded back.",
            f"Give at least {LEAST_LEVELS[rounding]:g}/255.",
        )


class Budget:
    """How far the adversarial images of a batch may be from their clean images.

    Its settings are trusted: `check_budget` checks them once, before the first batch.

    Args:
        clean: images (N, C, H, W) in [0, 1], on the 8-bit grid.
        eps: one radius for each image, on the scale of [0, 1].
        norm: `linf`: every channel of every pixel differs by at most eps. `l2`: the Euclidean norm of the difference,
            over all channels and pixels, is at most eps.
        rounding: `inward`: the adversarial image's 8-bit values obey the budget: at most floor(255 eps) levels, or a
            Euclidean norm of at most eps. `nearest`: each value goes to the nearest level, as in the paper's released
            code; eps = 0.03 (7.65 levels) then becomes 8 levels, outside the budget. `truncate`: fractions of a level
            are cut off, as in TransferAttack's code, which makes adversarial images darker and leaves the budget by up
            to a level downward. What lies within a thousandth of a level below one counts as that level; there the last
            digit of a float decides.
    """

    def __init__(self, clean: torch.Tensor, eps: Sequence[float], *, norm: Norm, rounding: Rounding) -> None:
        self.clean, self.norm, self.rounding = clean, norm, rounding
        self.levels = (clean * LEVELS).round()
        per_image = torch.tensor(eps, dtype=torch.float64, device=clean.device)
        exact = per_image * LEVELS
        if norm == "linf" and rounding == "inward":
            # So the loop never leaves the levels that the adversarial image may have.
            per_image = exact.floor() / LEVELS
        shape = (-1, 1, 1, 1)
        self.allowed = exact.floor().to(clean.dtype).view(shape)
        self.exact = exact
        self.eps = per_image.to(clean.dtype).view(shape)

    def project(self, images: torch.Tensor) -> torch.Tensor:
        """Images inside the ball and inside [0, 1]: the nearest ones in L-inf, in L2 scaled back and then clipped."""
        if self.norm == "linf":
            inside = torch.maximum(torch.minimum(images, self.clean + self.eps), self.clean - self.eps)
            return inside.clamp_(0, 1)
        change = images - self.clean
        norm = euclidean(change)
        factor = torch.where(norm > self.eps, self.eps / torch.where(norm > 0, norm, 1), 1).to(change.dtype)
        return (self.clean + change * factor).clamp_(0, 1)

    def shortened(self, change: torch.Tensor, radius: float) -> torch.Tensor:
        """A change (N, C, H, W) put back into the ball of `radius` times eps around no change."""
        if self.norm == "linf":
            return torch.maximum(torch.minimum(change, self.eps * radius), -self.eps * radius)
        norm = euclidean(change)
        return change * (self.eps * radius / torch.where(norm > self.eps * radius, norm, self.eps * radius)).to(change)

    def direction(self, gradient: torch.Tensor) -> torch.Tensor:
        """The steepest direction of norm one: the sign, or the gradient over its Euclidean norm.

        An image whose gradient is zero stays where it is.
        """
        if self.norm == "linf":
            return gradient.sign()
        return divided(gradient, euclidean(gradient))

    def unit(self, gradient: torch.Tensor) -> torch.Tensor:
        """The gradient over the mean of its absolute values (L-inf) or over its Euclidean norm (L2), image by image.

        Times a step's size it is a step of that size on average, and not only a direction. Zero stays zero.
        """
        return divided(gradient, absolute_mean(gradient) if self.norm == "linf" else euclidean(gradient))

    @property
    def radius_of_values(self) -> torch.Tensor:
        """How far all values may move at once, (N, 1, 1, 1): eps; in L2 over the square root of their number."""
        return self.eps if self.norm == "linf" else self.eps / math.sqrt(self.clean[0].numel())

    def sample(self, draws: Draws, purpose: str, radius: float | torch.Tensor) -> torch.Tensor:
        """A change drawn uniformly from the ball of `radius` times eps, for each image of its own.

        With the rounding `inward` eps is that of the whole levels, floor(255 eps) / 255, here as in the whole loop.
        """
        if self.norm == "linf":
            return draws.uniform(purpose, self.clean, self.eps * radius)
        shape = tuple(self.clean.shape[1:])
        rows = []
        for draw in draws.generators(purpose):
            way = draw.standard_normal(shape)
            rows.append(way / np.linalg.norm(way) * draw.random() ** (1 / way.size))
        unit = torch.from_numpy(np.stack(rows)).to(self.clean)
        return unit * self.eps * radius

    def finish(self, images: torch.Tensor) -> torch.Tensor:
        """The images on the 8-bit grid: every value k / 255 with a whole k from 0 to 255."""
        if self.rounding == "truncate":
            return (images * LEVELS + WHOLE).floor().clamp(0, LEVELS) / LEVELS
        levels = (images * LEVELS).round().clamp(0, LEVELS)
        if self.rounding == "inward":
            if self.norm == "linf":
                change = (levels - self.levels).maximum(-self.allowed).minimum(self.allowed)
            else:
                change = self._inside(levels - self.levels, images * LEVELS - self.levels)
            levels = (self.levels + change).clamp(0, LEVELS)
        return levels / LEVELS

    def _inside(self, change: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """Take back, one level each, the values that rounding moved outward most, until each image is in the ball."""
        result = change.clone(memory_format=torch.contiguous_format)  # rows are written to as vectors
        for row, (rounded, exact) in enumerate(zip(change.flatten(1), wanted.flatten(1), strict=True)):
            size = rounded.double().abs()
            excess = float((size**2).sum()) - float(self.exact[row]) ** 2
            if excess <= 0:
                continue
            outward = size - exact.double().abs()
            order = outward.argsort(descending=True, stable=True)
            gain = torch.where(outward[order] > 0, 2 * size[order] - 1, 0).cumsum(0)
            needed = int((gain < excess).sum()) + 1
            taken = order[:needed]
            flat = result[row].view(-1)
            flat[taken] -= flat[taken].sign()
        return result

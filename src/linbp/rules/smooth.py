"""Smooth derivatives in the place of a ReLU's: what ConBP and BPA have in common."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from linbp.errors import RuleError
from linbp.graph import Operation, SiteBackward, Structure, norm_ratio

__all__ = ["Derivative", "sigmoid", "smooth_sites"]

Derivative = Callable[[torch.Tensor], torch.Tensor]
"""Of a smooth function in the place of ReLU, at its input."""


def sigmoid(value: torch.Tensor) -> torch.Tensor:
    """1 / (1 + exp(-z)), with the same bits wherever a number lies in memory.

    On a CPU, `torch.sigmoid` rounds the last few numbers of a float32 tensor in another way than the rest, so that an
    image's gradient would depend on its companions.
    """
    return 1 / (1 + torch.exp(-value))


@dataclass(frozen=True)
class _Smooth:
    """A clipping activation is low + relu(z - low) - relu(z - high), and each of its ReLUs is smooth.

    Attributes:
        derivative: of the function in the place of ReLU.
        low: below it the activation is constant.
        high: above it the activation is constant; infinity for ReLU.
        keep_norm: whether the result is scaled to the norm of the ordinary gradient, image by image.
    """

    derivative: Derivative
    low: float
    high: float
    keep_norm: bool

    needs: ClassVar[Literal["input"]] = "input"

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        value = ordinary.input
        factor = self.derivative(value - self.low if self.low else value)
        if math.isfinite(self.high):
            factor = factor - self.derivative(value - self.high)
        passed = gradient * factor
        return passed * norm_ratio(ordinary(gradient), passed) if self.keep_norm else passed


def smooth_sites(
    rule: str,
    derivative: Derivative,
    chosen: Collection[int],
    structure: Structure,
    *,
    by_number: bool,
    keep_norm: bool = False,
) -> tuple[dict[int, SiteBackward], tuple[str, ...]]:
    """A smooth derivative at every clipping activation among a rule's sites, and what the user should know of it.

    Args:
        rule: its name.
        derivative: of the smooth function.
        chosen: numbers of the sites.
        structure: of the network.
        by_number: whether the user gave the numbers, so that each of them must clip.
        keep_norm: scale each site's gradient to the norm of the ordinary one, image by image.

    Raises:
        RuleError: none of the sites clips, or one that was asked for by number does not.
    """
    sites = [structure.sites[index] for index in sorted(chosen)]
    others = [site for site in sites if site.clips is None]
    if others and (by_number or len(others) == len(sites)):
        found = ", ".join(f"{count} {op}" for op, count in Counter(site.op for site in others).items())
        raise RuleError(
            f"{rule} would have no effect on {found}: it makes the kink of ReLU, ReLU6 and the like smooth.",
            "Leave it out, or name sites that are ReLUs; `linbp inspect` lists them.",
        )
    smooth: dict[int, SiteBackward] = {
        site.index: _Smooth(derivative, *site.clips, keep_norm) for site in sites if site.clips is not None
    }
    notes = [f"{rule}: {len(smooth)} of {len(structure.sites)} sites have a smooth derivative"]
    if others:
        notes.append(f"{rule}: {len(others)} sites that are no ReLUs stay ordinary")
    return smooth, tuple(notes)

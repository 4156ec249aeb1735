"""BPA: smooth derivatives for ReLUs and max-pools (Wang, Tong, He, NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial, reduce
from typing import ClassVar, Literal

import torch
from torch.nn import functional

from linbp.errors import RecipeError, RuleError
from linbp.graph import MaxPool, Operation, Plan, Position, SiteBackward, Structure
from linbp.registry import part
from linbp.rules.sites import Which, check_sites, select_sites
from linbp.rules.smooth import sigmoid, smooth_sites
from linbp.validation import number, one_of

__all__ = ["BPA"]

TEMPERATURE = 10.0


def silu_derivative(value: torch.Tensor, slope: float) -> torch.Tensor:
    """Of z sigmoid(slope z), SiLU where the slope is 1."""
    steep = slope * value
    gate = sigmoid(steep)
    return gate * (1 + steep * (1 - gate))


@dataclass(frozen=True)
class _SoftArgMax:
    """A max-pool's gradient goes to every place of a window, in proportion to exp(temperature x place's value)."""

    pool: MaxPool
    temperature: float

    needs: ClassVar[Literal["input"]] = "input"

    def __call__(self, gradient: torch.Tensor, ordinary: Operation) -> torch.Tensor:
        value = ordinary.input
        (high, wide), (above, left) = value.shape[2:], self.pool.padding
        below, right = self._missing(gradient.shape[2:], (high, wide))
        padded = functional.pad(value, (left, right, above, below), value=-torch.inf)
        places = list(self._places(gradient))
        largest = reduce(torch.maximum, (padded[place] for place in places))
        weights = [torch.exp(self.temperature * (padded[place] - largest)) for place in places]
        share = gradient / reduce(torch.add, weights)
        passed = torch.zeros_like(padded)
        for place, weight in zip(places, weights, strict=True):
            passed[place] += share * weight
        return passed[:, :, above : above + high, left : left + wide]

    def _missing(self, windows: torch.Size, size: tuple[int, ...]) -> tuple[int, ...]:
        """How far the last windows reach beyond the feature map, downwards and to the right."""
        pool = self.pool
        ends = [(windows[at] - 1) * pool.stride[at] + (pool.kernel[at] - 1) * pool.dilation[at] for at in (0, 1)]
        return tuple(max(0, ends[at] + 1 - size[at] - pool.padding[at]) for at in (0, 1))

    def _places(self, gradient: torch.Tensor) -> Iterator[tuple[slice, ...]]:
        """For each place of a window, where it lies in the padded feature map in all windows."""
        whole = slice(None)
        reach = [(windows - 1) * step + 1 for windows, step in zip(gradient.shape[2:], self.pool.stride, strict=True)]
        for row in range(0, self.pool.kernel[0] * self.pool.dilation[0], self.pool.dilation[0]):
            for column in range(0, self.pool.kernel[1] * self.pool.dilation[1], self.pool.dilation[1]):
                yield (
                    whole,
                    whole,
                    slice(row, row + reach[0], self.pool.stride[0]),
                    slice(column, column + reach[1], self.pool.stride[1]),
                )


@part("rule", "bpa")
class BPA:
    """Backward propagation attack: smooth derivatives at ReLUs from a position on, and in every max-pool.

        at a ReLU:      gradient at the input = sigmoid(s z) (1 + s z (1 - sigmoid(s z))) g    (SiLU's derivative)
        in a max-pool:  gradient at a window's place i = softmax(temperature z)_i g            (in place of the arg max)

    with z the input, g the gradient at the output and s the slope; where windows overlap, their shares are added. A
    ReLU6 is relu(z) - relu(z - 6), and each of the two is treated so (here; the released code knows ReLU only). Other
    activations stay ordinary. Wang, Tong, He: Rethinking the Backward Propagation for Adversarial Transferability,
    NeurIPS 2023, arXiv 2306.12685, and its code: the activation after a residual sum is included, and the max-pools
    are all of the network's, also in front of `start`. There, padded zeros of a window get a share too; here only
    places of the feature map do, as in a max-pool's own gradient.

    Args:
        start: where smooth activations begin: a site's index (`7`), a fraction of the sites (`0.5`), a module path
            (`layer3.1`), `default`, the published position of this architecture (also without `start`), or
            `auto`, which the networks of `--proxy` choose (`choose_start`). Left out where `activations=false`.
        temperature: of the max-pools, above 0; the larger, the nearer to the arg max. Without a unit: it multiplies
            the feature map's values.
        slope: s above, above 0; the larger, the nearer to the ReLU's own derivative. 1 is the paper's. Slope and
            temperature multiply values of the network: on one whose first weights and all of whose biases are c times
            as large, which computes the same in other units, 1/c of both is the same attack.
        activations: whether ReLUs are smooth.
        pools: whether max-pools are.
        sites: which sites from `start` on: `all` but gates; `inside`: the ones in branches. `outside`: the ones outside
            branches and not after a sum. None (`none`): both of these. Or a list of sites' numbers.

    Raises:
        RuleError: the position matches nothing, no ReLU is reached, or there is nothing at all to act on.
    """

    start: Position | None = None
    temperature: float = TEMPERATURE
    slope: float = 1.0
    activations: bool = True
    pools: bool = True
    sites: Which | tuple[int, ...] | None = "all"

    def __post_init__(self) -> None:
        number(self, "temperature", least=0.0)
        number(self, "slope", least=0.0)
        one_of(self, "activations", (True, False))
        one_of(self, "pools", (True, False))
        check_sites(self)
        if self.temperature == 0:
            raise RecipeError("bpa(temperature=0) would average every window.", "Give a temperature above 0.")
        if self.slope == 0:
            raise RecipeError("bpa(slope=0) would halve every gradient and nothing else.", "Give a slope above 0.")
        if not self.activations and not self.pools:
            raise RecipeError("bpa(activations=false, pools=false) would have no effect.", "Leave bpa out.")
        if not self.activations and (self.start is not None or self.sites != "all" or self.slope != 1):
            raise RecipeError(
                "bpa(activations=false) smooths no activation, so start, sites and slope would have no effect.",
                "Leave them out.",
            )
        if not self.pools and self.temperature != TEMPERATURE:
            raise RecipeError(
                "bpa(pools=false) leaves max-pools alone, so temperature would have no effect.", "Leave it out."
            )

    def plan(self, structure: Structure) -> Plan:
        """SiLU's derivative at the ReLUs that are reached, and softmax in every max-pool."""
        sites: dict[int, SiteBackward] = {}
        notes: tuple[str, ...] = ()
        if self.activations:
            try:
                selected = select_sites("bpa", self.start, self.sites, structure)
            except RuleError as fault:
                hint = f"{fault.hint} bpa(activations=false) is the max-pools alone." if structure.pools else fault.hint
                raise RuleError(fault.message, hint) from None
            derivative = partial(silu_derivative, slope=float(self.slope))
            sites, notes = smooth_sites(
                "bpa", derivative, selected.indices, structure, by_number=isinstance(self.sites, tuple)
            )
            notes = (*selected.notes, *notes)
        pools = structure.pools if self.pools else ()
        if self.pools and not pools:
            if not sites:
                raise RuleError("bpa would have no effect: the network has no max-pool.", "Leave bpa out.")
            notes += ("bpa: the network has no max-pool, so only activations change",)
        elif pools:
            notes += (f"bpa: {len(pools)} max-pools divide their gradient by softmax",)
        behaviours = {pool.index: _SoftArgMax(pool, float(self.temperature)) for pool in pools}
        return Plan(sites=sites, pools=behaviours, notes=notes)

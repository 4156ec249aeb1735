"""ConBP: a smooth derivative in the place of the ReLU's (CVPR workshop on adversarial machine learning, 2021)."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch

from linbp.errors import RecipeError
from linbp.graph import Plan, Position, Structure
from linbp.registry import part
from linbp.rules.sites import Which, check_sites, select_sites
from linbp.rules.smooth import sigmoid, smooth_sites
from linbp.validation import number, one_of

__all__ = ["ConBP"]


def softplus_derivative(value: torch.Tensor, slope: float) -> torch.Tensor:
    """Of softplus, log(1 + exp(slope z)) / slope."""
    return sigmoid(slope * value)


@part("rule", "conbp")
class ConBP:
    """ConBP: the ReLU's derivative is softplus's, which is never zero and has no kink; values are the ordinary ones.

        gradient at the input = sigmoid(slope z) g,

    with z the activation's input (N, ...) and g the gradient at its output. A ReLU6 is relu(z) - relu(z - 6), and each
    of the two is treated so (here; the public code knows ReLU only). Other activations (GELU, SiLU, leaky ReLU) stay
    ordinary. Backpropagating Smoothly Improves Transferability of Adversarial Examples, CVPR workshop on adversarial
    machine learning, 2021; formula and slope 0.5 as in TA-Bench's code (arXiv 2311.01323), which also scales each
    site's gradient (`rebalance=site`, there over the batch).

    Args:
        start: where it begins: a site's index (`7`), a fraction of the sites (`0.5`), a module path (`layer3.1`),
            `default`, the published position of this architecture (also without `start`), or `auto`, which
            the networks of `--proxy` choose (`choose_start`).
        slope: of softplus at large inputs' side: the larger, the nearer to the ReLU's own derivative. Above 0.
        rebalance: `site`: every site's gradient is scaled to the norm of the ordinary one, per image. `none` (None): no
            scaling.
        sites: which sites from `start` on: by default all but gates and activations after a sum. `inside`: of those,
            the ones in branches. `outside`: the ones outside branches. `all`: those after a sum too. Or a list of
            sites' numbers.

    Raises:
        RuleError: the position matches nothing, or no ReLU is reached.
    """

    start: Position | None = None
    slope: float = 0.5
    rebalance: Literal["site"] | None = None
    sites: Which | tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        number(self, "slope", least=0.0)
        if self.slope == 0:
            raise RecipeError("conbp(slope=0) would halve every gradient and nothing else.", "Give a slope above 0.")
        one_of(self, "rebalance", ("site", None))
        check_sites(self)

    def plan(self, structure: Structure) -> Plan:
        """Softplus's derivative at the ReLUs that are reached."""
        selected = select_sites("conbp", self.start, self.sites, structure)
        sites, notes = smooth_sites(
            "conbp",
            partial(softplus_derivative, slope=float(self.slope)),
            selected.indices,
            structure,
            by_number=isinstance(self.sites, tuple),
            keep_norm=self.rebalance == "site",
        )
        return Plan(sites=sites, notes=(*selected.notes, *notes))

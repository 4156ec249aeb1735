"""ILPD: the change that the attack makes of a feature map decays on the way through it."""

from __future__ import annotations

import torch

from linbp.attack.context import Context
from linbp.attack.parts.objective.feature_maps import middle_stage
from linbp.attack.parts.transform.base import MapTransform
from linbp.errors import RecipeError
from linbp.graph import Structure
from linbp.randomness import Draws
from linbp.registry import part, typed_name
from linbp.validation import number

__all__ = ["IntermediateDecay"]


@part("transform", "ilpd")
class IntermediateDecay(MapTransform):
    """Intermediate-level perturbation decay: one feature map is mixed with the clean image's, which keeps most of it.

        J(tail(h')),    h' = share h(x) + (1 - share) h(clean + sigma xi),    xi ~ N(0, 1)

    with h the feature map, tail all that comes behind it, and xi drawn for each value of each image and step. The
    second term has no gradient, so that the gradient at x is share h'(x)^T dJ/dh at the mixed map.

    **Values differ from the plain forward pass**: logits, objective, and all masks behind the map are those of the
    mixed map. It is no backward rule but the ordinary gradient of another function, and beside LinBP the sites behind
    the map take its masks there. Other transforms act on the clean image as on x, with the same draws. An objective on
    feature maps sees mixed values behind the map, and plain ones in front of it; what it asks before the first step is
    plain.

    Li, Guo, Zuo, Chen: Improving Adversarial Transferability via Intermediate-level Perturbation Decay, NeurIPS 2023,
    arXiv 2304.13410: share 0.1, sigma 0.05, `layer2.3` of ResNet-50; 100 steps of 1/255 at eps 8/255, without momentum
    (TransferAttack's has it, and knows ResNet-50 only). Each step takes 1 gradient, and a forward pass up to the map.

    Args:
        at: path of the module whose result is the feature map; everything has to go through it. By default the middle
            one of the last feature maps of every size (`layer2` in a ResNet).
        share: how much of the image's own feature map is kept, above 0 and below 1.
        sigma: standard deviation of the noise around the clean image, on the scale of [0, 1], at least 0.
    """

    at: str | None = None
    share: float = 0.1
    sigma: float = 0.05

    def __post_init__(self) -> None:
        if self.at is not None and (not isinstance(self.at, str) or not self.at):
            raise RecipeError(
                f"{typed_name(self)}(at={self.at}) names no module.",
                f"Write {typed_name(self)}(at=layer2.3); a path that is a number stands in quotes.",
            )
        number(self, "share", least=1e-9, most=1)
        number(self, "sigma", least=0)
        if self.share == 1:
            raise RecipeError(f"{typed_name(self)}(share=1) would have no effect.", "Give a share below 1.")

    def feature_map(self, structure: Structure) -> str:
        """The module of `at`, or the middle one."""
        return middle_stage(structure) if self.at is None else self.at

    def beside(self, context: Context, draws: Draws) -> torch.Tensor:
        """The clean images with noise."""
        clean = context.budget.clean
        if not self.sigma:
            return clean
        rows = [torch.from_numpy(draw.standard_normal(clean.shape[1:])) for draw in draws.generators("ilpd")]
        return clean + self.sigma * torch.stack(rows).to(clean)

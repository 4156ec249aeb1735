"""Named recipes that act on feature maps: weighed before the first step, or mixed on the way."""

from __future__ import annotations

import math

from linbp.attack.parts.objective import BFA, FIA, NAA
from linbp.attack.parts.objective.feature_maps import Paths
from linbp.attack.parts.transform import IntermediateDecay
from linbp.attack.parts.update import Momentum
from linbp.attack.recipe.named import Parts, named


@named("fia-mifgsm")
def fia_mifgsm(*, decay: float = 1.0, at: Paths | None = None, samples: int = 30, keep: float = 0.7) -> Parts:
    """FIA: momentum over the gradient of a feature map, weighed by what the label's logit says of it.

    Wang et al., ICCV 2021, arXiv 2107.14185: 30 masks, keep 0.7, decay 1; TransferAttack's has no momentum. Takes 1
    gradient a step, and 30 before the first.

    Args:
        decay: how much of the sum is kept from step to step.
        at: path of the module whose feature map is led; by default the middle one of the last ones of every size.
        samples: how many masks.
        keep: probability of keeping a value of the image.
    """
    return (FIA(at=at, samples=samples, keep=keep), Momentum(decay=decay))


@named("naa-mifgsm")
def naa_mifgsm(*, decay: float = 1.0, at: Paths | None = None, samples: int = 30, noise: float = 0.1) -> Parts:
    """NAA: momentum over the gradient of a feature map, weighed by what the label's probability owes to it.

    Zhang et al., CVPR 2022, arXiv 2204.00008: 30 points between the image and black, decay 1. Takes 1 gradient a step,
    and 30 before the first.

    Args:
        decay: how much of the sum is kept from step to step.
        at: path of the module whose feature map is led; by default the middle one of the last ones of every size.
        samples: how many points.
        noise: standard deviation on the scale of [0, 1].
    """
    return (NAA(at=at, samples=samples, noise=noise), Momentum(decay=decay))


@named("bfa-mifgsm")
def bfa_mifgsm(
    *, decay: float = 1.0, at: Paths | None = None, samples: int = 30, radius: float = 28 / math.sqrt(3 * 299 * 299)
) -> Parts:
    """BFA: momentum over the gradient of a feature map, weighed at images that are fitted to mislead.

    Wang, Wang, Ma, Luo, Neurocomputing 2024: 30 images at an RMS distance of 0.054, decay 1. Takes 1 gradient a step,
    and 60 before the first.

    Args:
        decay: how much of the sum is kept from step to step.
        at: path of the module whose feature map is led; by default the middle one of the last ones of every size.
        samples: how many fitted images.
        radius: their root mean square distance from the clean image.
    """
    return (BFA(at=at, samples=samples, radius=radius), Momentum(decay=decay))


@named("ilpd-mifgsm")
def ilpd_mifgsm(*, decay: float = 1.0, at: str | None = None, share: float = 0.1, sigma: float = 0.05) -> Parts:
    """ILPD: momentum over gradients behind a feature map that is mostly the clean image's.

    Li, Guo, Zuo, Chen, NeurIPS 2023, arXiv 2304.13410: share 0.1, noise 0.05. Momentum 1 as in TransferAttack; the
    authors have none (`ilpd` alone), and 100 steps of 1/255. Takes 1 gradient a step.

    Args:
        decay: how much of the sum is kept from step to step.
        at: path of the module whose feature map is mixed; by default the middle one of the last ones of every size.
        share: how much of the image's own feature map is kept.
        sigma: standard deviation of the noise around the clean image.
    """
    return (IntermediateDecay(at=at, share=share, sigma=sigma), Momentum(decay=decay))

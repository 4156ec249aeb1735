"""Named recipes for vision transformers."""

from __future__ import annotations

from linbp.attack.parts.objective import RewardedCrossEntropy
from linbp.attack.parts.transform import PacedPatchOut, PatchOut
from linbp.attack.parts.update import Momentum
from linbp.attack.recipe.named import Parts, named
from linbp.rules import ATT, PNA, TGR, VDC


@named("pna-patchout")
def pna_patchout(*, decay: float = 1.0, patch: int = 16, share: float = 130 / 196, reward: float = 0.1) -> Parts:
    """PNA and PatchOut with momentum: attention maps are constants, some patches count, and long changes are rewarded.

    Wei et al., AAAI 2022, arXiv 2109.04176: 130 of 196 patches of 16 x 16, 0.1, decay 1. Takes 1 gradient a step.

    Args:
        decay: how much of the sum is kept from step to step.
        patch: side of a patch in pixels.
        share: of the patches that count.
        reward: for each unit of the change's L2 norm.
    """
    return (PNA(), PatchOut(patch=patch, share=share), RewardedCrossEntropy(reward=reward), Momentum(decay=decay))


@named("tgr-mifgsm")
def tgr_mifgsm(*, decay: float = 1.0, attention: float = 0.25, projection: float = 0.75, mlp: float = 0.5) -> Parts:
    """TGR with momentum: gradients in transformer blocks are scaled, and their extremes are cut.

    Zhang, Huang, Wu, Lyu, CVPR 2023, arXiv 2303.15754: 0.25, 0.75, 0.5, decay 1. Takes 1 gradient a step.

    Args:
        decay: how much of the sum is kept from step to step.
        attention: factor at the softmax's input.
        projection: factor at query, key and value.
        mlp: factor at the end of the MLP branch.
    """
    return (TGR(attention=attention, projection=projection, mlp=mlp), Momentum(decay=decay))


@named("att-mifgsm")
def att_mifgsm(
    *,
    decay: float = 1.0,
    attention: float = 0.45,
    projection: float = 0.7,
    mlp: float = 0.65,
    truncated: int = 2,
    patch: int = 16,
    scale: float = 0.4,
    base: float = 0.4,
) -> Parts:
    """ATT with momentum: extremes of gradients are weakened by how much they spread, and unimportant patches left out.

    Ming, Ren, Wang, Feng, NeurIPS 2024: 0.45, 0.7, 0.65, 2 blocks of 12, patches of 16 x 16, 0.4, 0.4, decay 1, for a
    ViT-B. Takes 1 gradient a step, and 1 before the first.

    Args:
        decay: how much of the sum is kept from step to step.
        attention: factor at the softmax's input.
        projection: factor at query, key and value.
        mlp: factor at the end of the MLP branch.
        truncated: how many of the last blocks pass nothing through their maps.
        patch: side of a patch in pixels.
        scale: how far apart the thresholds of patches are.
        base: the smallest threshold.
    """
    rule = ATT(attention=attention, projection=projection, mlp=mlp, truncated=truncated)
    return (rule, PacedPatchOut(patch=patch, scale=scale, base=base), Momentum(decay=decay))


@named("vdc-mifgsm")
def vdc_mifgsm(*, decay: float = 1.0, weight: float = 0.1) -> Parts:
    """VDC with momentum: the gradients of later transformer blocks are added to those of earlier ones.

    Zhang, Huang, Xu, Wu, Lyu, AAAI 2024: weight 0.1, decay 1. Takes 2 gradients a step.

    Args:
        decay: how much of the sum is kept from step to step.
        weight: of the last block's gradient; it halves from block to block.
    """
    return (VDC(weight=weight), Momentum(decay=decay))

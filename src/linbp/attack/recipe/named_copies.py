"""Named recipes whose gradient is that of many changed copies, with momentum."""

from __future__ import annotations

from linbp.attack.parts.estimator import DeformationWarp
from linbp.attack.parts.transform import (
    BlockShuffle,
    DiversityEnsemble,
    OperatorSampling,
    ShiftGrid,
    SpectrumSimulation,
    StructureInvariant,
    TranslationInvariant,
)
from linbp.attack.parts.transform.diverse_inputs import Interpolation
from linbp.attack.parts.transform.sia import Operations
from linbp.attack.parts.update import Momentum, RunningMean
from linbp.attack.recipe.named import Parts, named


@named("ssa-mifgsm")
def ssa_mifgsm(*, decay: float = 1.0, copies: int = 20, rho: float = 0.5, sigma: float = 1.0) -> Parts:
    """SSA: momentum over gradients at copies whose spectrum is shaken.

    Long et al., ECCV 2022, arXiv 2207.05382: 20 gradients a step. Momentum 1 as in TransferAttack; the authors' script
    has none (`ssa` alone).

    Args:
        decay: how much of the sum is kept from step to step.
        copies: gradients a step.
        rho: how far coefficients are multiplied away from 1 at most.
        sigma: standard deviation of the noise in multiples of eps.
    """
    return (SpectrumSimulation(copies=copies, rho=rho, sigma=sigma), Momentum(decay=decay))


@named("bsr-mifgsm")
def bsr_mifgsm(*, decay: float = 1.0, copies: int = 20, blocks: int = 3, angle: float = 24.0) -> Parts:
    """BSR: momentum over gradients at copies whose blocks are shuffled and turned.

    Wang, He, Wang, Wang, CVPR 2024, arXiv 2308.10299: 20 gradients a step.

    Args:
        decay: how much of the sum is kept from step to step.
        copies: gradients a step.
        blocks: pieces along each axis.
        angle: the largest, in degrees.
    """
    return (BlockShuffle(copies=copies, blocks=blocks, angle=angle), Momentum(decay=decay))


@named("sia-mifgsm")
def sia_mifgsm(*, decay: float = 1.0, copies: int = 20, blocks: int = 3, operations: Operations = "ten") -> Parts:
    """SIA: momentum over gradients at copies whose blocks are each changed in their own way.

    Wang, Zhang, Zhang, ICCV 2023, arXiv 2309.14700: 20 gradients a step. The default of the authors' script is no
    momentum (`sia` alone).

    Args:
        decay: how much of the sum is kept from step to step.
        copies: gradients a step.
        blocks: along each axis.
        operations: `ten` or `seven`.
    """
    return (StructureInvariant(copies=copies, blocks=blocks, operations=operations), Momentum(decay=decay))


@named("ops-mifgsm")
def ops_mifgsm(*, decay: float = 1.0, operators: int = 30, noises: int = 30) -> Parts:
    """OPS: momentum over gradients at all pairs of noises and chains of operations.

    Guo et al., CVPR 2025: 30 noises and 30 chains, 900 gradients a step.

    Args:
        decay: how much of the sum is kept from step to step.
        operators: how many chains.
        noises: how many noises.
    """
    return (OperatorSampling(operators=operators, noises=noises), Momentum(decay=decay))


@named("dem-mifgsm")
def dem_mifgsm(*, decay: float = 1.0, interpolation: Interpolation = "nearest", size: int = 15) -> Parts:
    """DEM: momentum over smoothed gradients of the mean logits of five diverse inputs.

    Zou et al., ECCV 2020, arXiv 2112.06011: five scales, a Gaussian kernel of 15 x 15, decay 1; 5 gradients a step.

    Args:
        decay: how much of the sum is kept from step to step.
        interpolation: `nearest` or `bilinear`.
        size: of the kernel, in pixels, odd.
    """
    inputs = DiversityEnsemble(interpolation=interpolation)
    return (inputs, TranslationInvariant(size=size), Momentum(decay=decay))


@named("decowa-mifgsm")
def decowa_mifgsm(*, decay: float = 1.0, warps: int = 20, step: float = 0.01) -> Parts:
    """DeCoWA: momentum over gradients at warped copies, each warp moved against the attack first.

    Lin et al., AAAI 2024, arXiv 2402.03951: 20 warps, 40 gradients a step.

    Args:
        decay: how much of the sum is kept from step to step.
        warps: how many.
        step: of the warp's inner step.
    """
    return (DeformationWarp(warps=warps, step=step), Momentum(decay=decay))


@named("anda")
def anda(*, shifts: int = 5, reach: float = 0.3) -> Parts:
    """ANDA: steps along the mean of all gradients so far, at copies moved by a grid of shifts.

    Fang et al., CVPR 2024, arXiv 2209.11964: 5 x 5 shifts, 25 gradients a step.

    Args:
        shifts: along each axis.
        reach: the largest, as a share of half the side.
    """
    return (ShiftGrid(shifts=shifts, reach=reach), RunningMean())

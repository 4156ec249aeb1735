"""Named recipes whose gradient is taken elsewhere than at the image, or is made of several."""

from __future__ import annotations

from linbp.attack.parts.estimator import (
    CommonWeakness,
    ExpectedFlatness,
    GradientRelevance,
    NormPenalty,
    PenalisedGradient,
    ReversePerturbation,
    VarianceReducedEnsemble,
    VarianceTuning,
)
from linbp.attack.parts.transform import ScaleInvariant
from linbp.attack.parts.update import DampedMomentum, Momentum, Nesterov
from linbp.attack.parts.update.nesterov import Scale
from linbp.attack.recipe.named import Parts, named


@named("nifgsm")
def nifgsm(*, decay: float = 1.0, scale: Scale = "step") -> Parts:
    """NI-FGSM: momentum whose gradient is taken where the sum of earlier ones leads.

        g at x + step decay m,    m <- decay m + g / mean |g|,    x <- project(x + step sign(m))

    Lin et al.: Nesterov Accelerated Gradient and Scale Invariance for Adversarial Attacks, ICLR 2020, arXiv 1908.06281;
    decay 1 is theirs.

    Args:
        decay: how much of the sum is kept from step to step.
        scale: `step` as in the released code, or `l1` as printed.
    """
    return (Nesterov(decay=decay, scale=scale),)


@named("sinifgsm")
def sinifgsm(*, decay: float = 1.0, scales: int = 5, centre: float = 0.0) -> Parts:
    """SI-NI-FGSM: the mean gradient of x, x / 2, ..., x / 16, and Nesterov's momentum.

    Lin et al., ICLR 2020, arXiv 1908.06281: five scales, decay 1.

    Args:
        decay: how much of the sum is kept from step to step.
        scales: number of copies, each a gradient.
        centre: the value that copies fade to: 0 black, 0.5 mid-grey as in their code.
    """
    return (ScaleInvariant(scales=scales, centre=centre), Nesterov(decay=decay))


@named("vmifgsm")
def vmifgsm(*, decay: float = 1.0, neighbours: int = 20, radius: float = 1.5) -> Parts:
    """VMI-FGSM: momentum, with gradients corrected by what the neighbourhood of the last iterate said.

        m <- decay m + (g + v) / |g + v|_1,    v <- mean_i gradient(x + r_i) - g

    Wang, He: Enhancing the Transferability of Adversarial Attacks through Variance Tuning, CVPR 2021, arXiv 2103.15571:
    20 neighbours, 1.5 eps, decay 1. Takes 21 gradients a step, one in the last.

    Args:
        decay: how much of the sum is kept from step to step.
        neighbours: how many gradients are taken around each iterate.
        radius: of the neighbourhood, in multiples of eps.
    """
    return (VarianceTuning(neighbours=neighbours, radius=radius), Momentum(decay=decay))


@named("vnifgsm")
def vnifgsm(*, decay: float = 1.0, neighbours: int = 20, radius: float = 1.5) -> Parts:
    """VNI-FGSM: Nesterov's momentum, with gradients corrected by what the neighbourhood of the last iterate said.

    Wang, He, CVPR 2021, arXiv 2103.15571: 20 neighbours, 1.5 eps, decay 1. Takes 21 gradients a step, one in the last.

    Args:
        decay: how much of the sum is kept from step to step.
        neighbours: how many gradients are taken around each iterate.
        radius: of the neighbourhood, in multiples of eps.
    """
    return (VarianceTuning(neighbours=neighbours, radius=radius), Nesterov(decay=decay))


@named("pgn-mifgsm")
def pgn_mifgsm(*, decay: float = 1.0, samples: int = 20, radius: float = 3.0, balance: float = 0.5) -> Parts:
    """PGN: momentum, with gradients that lead to where the gradient itself is small.

        g = mean_i (1 - balance) gradient(x_i) + balance gradient(x_i - step gradient(x_i) / mean |gradient(x_i)|)

    at points x_i around the image. Ge et al.: Boosting Adversarial Transferability by Achieving Flat Local Maxima,
    NeurIPS 2023, arXiv 2306.05225: 20 points, 3 eps, balance 0.5, decay 1. Takes 40 gradients a step.

    Args:
        decay: how much of the sum is kept from step to step.
        samples: how many points around the image; two gradients each.
        radius: of the neighbourhood, in multiples of eps.
        balance: share of the second gradient.
    """
    return (PenalisedGradient(samples=samples, radius=radius, balance=balance), Momentum(decay=decay))


@named("gra-mifgsm")
def gra_mifgsm(*, decay: float = 1.0, neighbours: int = 20, radius: float = 3.5, shrink: float = 0.94) -> Parts:
    """GRA: the gradient and its neighbours' mean, weighed by their cosine, and momentum with steps that shrink.

    Zhu et al., ICCV 2023: 20 neighbours, 3.5 eps, decay 1, steps times 0.94 where the sign turns. Takes 21 gradients a
    step.

    Args:
        decay: how much of the sum is kept from step to step.
        neighbours: how many gradients are taken around each iterate.
        radius: of the neighbourhood, in multiples of eps.
        shrink: what a value's step is multiplied by where its sign turns.
    """
    return (GradientRelevance(neighbours=neighbours, radius=radius), DampedMomentum(decay=decay, shrink=shrink))


@named("mef-mifgsm")
def mef_mifgsm(*, decay: float = 0.5, samples: int = 20, radius: float = 2.0, inner: float = 0.15) -> Parts:
    """MEF: momentum over the mean gradient at random points, each moved along what it saw last.

    Qiu et al., arXiv 2405.16181: 20 points, radius 2 eps, 0.15 eps along the memory, decay 0.5. Takes 20 gradients a
    step; 20 steps of eps/10 there.

    Args:
        decay: how much of the sum is kept from step to step.
        samples: how many points around the image.
        radius: of the neighbourhood, in multiples of eps.
        inner: how far a point moves along its memory, in multiples of eps.
    """
    return (ExpectedFlatness(samples=samples, radius=radius, inner=inner), Momentum(decay=decay))


@named("gnp-mifgsm")
def gnp_mifgsm(*, decay: float = 1.0, weight: float = 0.8, radius: float = 0.01) -> Parts:
    """GNP: momentum over the gradient of the objective minus a multiple of its gradient's norm.

    Wu, Luo, Wunsch, ICIP 2023, arXiv 2307.04099: weight 0.8, radius 0.01, decay 1. Takes 2 gradients a step.

    Args:
        decay: how much of the sum is kept from step to step.
        weight: of the penalty.
        radius: Euclidean length of the step to the second point.
    """
    return (NormPenalty(weight=weight, radius=radius), Momentum(decay=decay))


@named("rap-mifgsm")
def rap_mifgsm(*, decay: float = 1.0, steps: int = 8, radius: float = 1.0, late: float = 0.25) -> Parts:
    """RAP with a late start: momentum over gradients where an inner attack against the attack leads.

    Qin et al., NeurIPS 2022, arXiv 2210.05968: 8 inner steps in a ball of eps, the first quarter of the attack without.
    Takes 9 gradients a step then.

    Args:
        decay: how much of the sum is kept from step to step.
        steps: of the inner attack.
        radius: of its ball, in multiples of eps.
        late: share of the attack's steps without it.
    """
    return (ReversePerturbation(steps=steps, radius=radius, late=late), Momentum(decay=decay))


@named("svre-mifgsm")
def svre_mifgsm(*, decay: float = 1.0, rounds: int = 4, inner_decay: float = 1.0) -> Parts:
    """SVRE-MI-FGSM: momentum over inner attacks that go from surrogate to surrogate, corrected by the ensemble.

    Needs at least two surrogates. Xiong et al.: Stochastic Variance Reduced Ensemble Adversarial Attack for Boosting
    the Adversarial Transferability, CVPR 2022, arXiv 2111.10752: four inner steps for each surrogate, decays 1.

    Args:
        decay: how much of the sum is kept from step to step.
        rounds: inner steps for each surrogate.
        inner_decay: how much of the inner sum is kept from inner step to inner step.
    """
    return (VarianceReducedEnsemble(rounds=rounds, decay=inner_decay), Momentum(decay=decay))


@named("mi-cwa")
def mi_cwa(
    *, decay: float = 1.0, reverse_step: float = 1 / 15, inner_step: float = 250.0, inner_decay: float = 1.0
) -> Parts:
    """MI-CWA: momentum over a step back and one large step on each surrogate in turn.

    Needs at least two surrogates. Chen et al.: Rethinking Model Ensemble in Transfer-based Adversarial Attacks, ICLR
    2024, arXiv 2303.09105: back by eps/15, inner step 250, decays 1.

    Args:
        decay: how much of the sum is kept from step to step.
        reverse_step: the step back, in multiples of eps.
        inner_step: the inner step on the scale of [0, 1], for a gradient of Euclidean norm 1.
        inner_decay: how much of the inner sum is kept from surrogate to surrogate.
    """
    weakness = CommonWeakness(reverse_step=reverse_step, inner_step=inner_step, decay=inner_decay)
    return (weakness, Momentum(decay=decay))

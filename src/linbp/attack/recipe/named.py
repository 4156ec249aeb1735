"""The named recipes: each is a function that gives the parts it stands for, or one part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from linbp.attack.parts.objective import FDA, NRDM, TAP, Logit, Margin
from linbp.attack.parts.objective.fda import Channels
from linbp.attack.parts.objective.feature_maps import Paths
from linbp.attack.parts.start import RandomStart
from linbp.attack.parts.transform import Admix, DiverseInputs, ScaleInvariant, TranslationInvariant, UniformNoise
from linbp.attack.parts.transform.diverse_inputs import Interpolation
from linbp.attack.parts.transform.translation import Kernel
from linbp.attack.parts.update import FullStep, Momentum, Sign
from linbp.graph import Position
from linbp.registry import grammar_name, register
from linbp.rules import ATT, BPA, PNA, SGM, TGR, VDC, ConBP, LinBP

__all__ = ["named", "needs_targets"]

Parts = tuple[Any, ...]
Maker = TypeVar("Maker", bound=Callable[..., Parts])

_targeted: set[str] = set()


def named(name: str, *, targeted: bool = False) -> Callable[[Maker], Maker]:
    """Register a function, from keyword-only parameters to parts, as a recipe.

    Args:
        name: its word in the grammar.
        targeted: whether it is an attack with targets, and refused without.
    """

    def decorate(maker: Maker) -> Maker:
        register("recipe", name, maker)
        if targeted:
            _targeted.add(name)
        return maker

    return decorate


def needs_targets(name: str) -> bool:
    """Whether a word of the grammar is the name of an attack with targets."""
    return name in _targeted


@named("fgsm")
def fgsm() -> Parts:
    """FGSM: one step of the whole radius along the gradient's sign.

        x = project(clean + eps sign(g))

    Goodfellow, Shlens, Szegedy: Explaining and Harnessing Adversarial Examples, ICLR 2015, arXiv 1412.6572. (The LinBP
    paper's released code steps 2 eps and clips, which is the same point.)
    """
    return (FullStep(),)


@named("ifgsm")
def ifgsm() -> Parts:
    """I-FGSM (BIM): many small steps along the gradient's sign, projected onto the ball.

        x <- project(x + step sign(g))

    Kurakin, Goodfellow, Bengio: Adversarial Examples in the Physical World, ICLR 2017 workshop, arXiv 1607.02533; step
    1/255 as in the LinBP paper.
    """
    return (Sign(),)


@named("pgd")
def pgd(*, radius: float = 1.0) -> Parts:
    """PGD: I-FGSM from a random point of the ball.

    Madry et al.: Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, arXiv 1706.06083; the start
    is uniform in the whole ball, as there.

    Args:
        radius: of the ball to start in, in multiples of eps.
    """
    return (RandomStart(radius=radius),)


@named("pgd-noise")
def pgd_noise(*, radius: float = 1.0) -> Parts:
    """What the LinBP paper's released code calls PGD: fresh uniform noise at every step, for the gradient only.

    Guo, Li, Chen, NeurIPS 2020: noise in [-eps, eps] around the iterate, no random start.

    Args:
        radius: of the noise, in multiples of eps.
    """
    return (UniformNoise(radius=radius),)


@named("mifgsm")
def mifgsm(*, decay: float = 1.0) -> Parts:
    """MI-FGSM: gradients are summed with momentum, each over its L1 norm.

        m <- decay m + g / |g|_1,    x <- project(x + step sign(m))

    Dong et al.: Boosting Adversarial Attacks with Momentum, CVPR 2018, arXiv 1710.06081; decay 1 is theirs.

    Args:
        decay: how much of the sum is kept from step to step.
    """
    return (Momentum(decay=decay),)


@named("difgsm")
def difgsm(*, probability: float = 0.5, scale: float = 1.1, interpolation: Interpolation = "nearest") -> Parts:
    """DI-FGSM: gradients at randomly resized and padded inputs.

    Xie et al.: Improving Transferability of Adversarial Examples with Input Diversity, CVPR 2019, arXiv 1803.06978:
    probability 0.5, up to 330 pixels for images of 299, nearest neighbour.

    Args:
        probability: of changing an image in a step.
        scale: largest size over the image's own.
        interpolation: `nearest` or `bilinear`.
    """
    return (DiverseInputs(probability=probability, scale=scale, interpolation=interpolation),)


@named("mdi2fgsm")
def mdi2fgsm(
    *, decay: float = 1.0, probability: float = 0.5, scale: float = 256 / 224, interpolation: Interpolation = "nearest"
) -> Parts:
    """M-DI2-FGSM: diverse inputs and momentum.

    Xie et al., CVPR 2019, arXiv 1803.06978, with Dong et al.'s momentum; defaults of the LinBP paper's released code:
    sizes from 224 to 256 (scale 8/7), nearest neighbour, probability 0.5, decay 1. The released code tosses one coin
    for a batch; here each image has its own.

    Args:
        decay: how much of the sum is kept from step to step.
        probability: of changing an image in a step.
        scale: largest size over the image's own.
        interpolation: `nearest` or `bilinear`.
    """
    transform = DiverseInputs(probability=probability, scale=scale, interpolation=interpolation)
    return (transform, Momentum(decay=decay))


@named("tifgsm")
def tifgsm(*, size: int = 15, sigma: float | None = None, kernel: Kernel = "gaussian") -> Parts:
    """TI-FGSM, iterated: I-FGSM with a smoothed gradient.

        x <- project(x + step sign(W * g))

    Dong et al., CVPR 2019, arXiv 1904.02884: a Gaussian kernel of 15 x 15. Their TI-FGSM takes one step: `fgsm + ti`;
    TI-MI-FGSM is `ti + mi`, TI-DIM `ti + di + mi`.

    Args:
        size: of the kernel, in pixels, odd.
        sigma: standard deviation of the Gaussian kernel in pixels; none: a third of its radius, as in their code.
        kernel: `gaussian`, `uniform` or `linear`.
    """
    return (TranslationInvariant(size=size, sigma=sigma, kernel=kernel),)


@named("sifgsm")
def sifgsm(*, scales: int = 5, centre: float = 0.0) -> Parts:
    """SI-FGSM, iterated: I-FGSM with the mean gradient of x, x / 2, ..., x / 16.

    Lin et al., ICLR 2020, arXiv 1908.06281; the paper itself has it with Nesterov's momentum only.

    Args:
        scales: number of copies, each a gradient.
        centre: the value that copies fade to: 0 black, 0.5 mid-grey as in their code.
    """
    return (ScaleInvariant(scales=scales, centre=centre),)


@named("simifgsm")
def simifgsm(*, decay: float = 1.0, scales: int = 5, centre: float = 0.0) -> Parts:
    """SI-MI-FGSM: the mean gradient of x, x / 2, ..., x / 16, and momentum.

    Lin et al., ICLR 2020, arXiv 1908.06281, whose code has it under this name; papers after it call it SIM.

    Args:
        decay: how much of the sum is kept from step to step.
        scales: number of copies, each a gradient.
        centre: the value that copies fade to: 0 black, 0.5 mid-grey as in their code.
    """
    return (ScaleInvariant(scales=scales, centre=centre), Momentum(decay=decay))


@named("admix-mifgsm")
def admix_mifgsm(
    *, decay: float = 1.0, strength: float = 0.2, partners: int = 3, scales: int = 5, centre: float = 0.0
) -> Parts:
    """The attack that the Admix paper calls Admix: the transform `admix`, and momentum.

    Wang et al., ICCV 2021, arXiv 2102.00436: 0.2 of 3 other images each, 5 scales, decay 1. It needs a pool. (`admix`
    alone names the transform, without momentum.)

    Args:
        decay: how much of the sum is kept from step to step.
        strength: how much of a partner is added.
        partners: how many partners an image has in a step.
        scales: at how many scales; a step takes partners x scales gradients.
        centre: the value that copies fade to: 0 black, 0.5 mid-grey as in their code.
    """
    return (Admix(strength=strength, partners=partners, scales=scales, centre=centre), Momentum(decay=decay))


@named("tapfgsm")
def tapfgsm(*, at: Paths | None = None, distance: float = 0.005, smoothness: float = 0.01) -> Parts:
    """TAP: I-FGSM with the objective `tap`: cross-entropy, the distance of feature maps, smooth changes.

    Zhou et al.: Transferable Adversarial Perturbations, ECCV 2018, with the weights of public code (0.005 and 0.01),
    which calls it TAP.

    Args:
        at: paths of the modules whose feature maps are compared; by default the last one of every size.
        distance: weight of the feature maps' distance.
        smoothness: weight of the smoothed change's size.
    """
    return (TAP(at=at, distance=distance, smoothness=smoothness),)


@named("nrdmfgsm")
def nrdmfgsm(*, at: Paths | None = None, radius: float = 0.1) -> Parts:
    """NRDM: I-FGSM with the objective `nrdm`, the distance of a feature map, from a point close to the clean image.

    Naseer et al., arXiv 1811.09020; TA-Bench calls it NRDM and starts from normal noise that the first step cuts to
    the ball. Here the start is uniform in a tenth of the ball: enough to leave the clean image, where there is no
    gradient.

    Args:
        at: path of the module whose feature map is compared; by default the middle one of the last ones of every size.
        radius: of the ball to start in, in multiples of eps.
    """
    return (NRDM(at=at), RandomStart(radius=radius))


@named("fdafgsm")
def fdafgsm(*, at: Paths | None = None, channels: Channels | None = None, radius: float = 1.0) -> Parts:
    """FDA: I-FGSM with the objective `fda`, feature maps turned over, from a random point of the ball.

    Ganeshan, Vivek, Babu: FDA: Feature Disruptive Attack, ICCV 2019, arXiv 1909.04385; the random start is that of
    their code. TA-Bench's FDA starts at the clean image, as the part `fda` alone does.

    Args:
        at: paths of the modules whose feature maps are turned over; by default the last one of every size.
        channels: `first` or `last`; by default as the part `fda` finds it.
        radius: of the ball to start in, in multiples of eps.
    """
    return (FDA(at=at, channels=channels), RandomStart(radius=radius))


@named("targeted-logit", targeted=True)
def targeted_logit(*, decay: float = 1.0, probability: float = 0.7, scale: float = 330 / 299, size: int = 5) -> Parts:
    """The attack that targeted benchmarks call Logit: the target's logit, diverse inputs, smoothed gradients, momentum.

    Zhao, Liu, Larson, NeurIPS 2021, arXiv 2012.11207: DI with probability 0.7 and up to 330 pixels for images of 299,
    TI with a kernel of 5 x 5, decay 1; 300 steps of 2/255 there, which are yours to set. Without targets this name is
    refused; its parts (`logit + di + ti + mi`) are not.

    Args:
        decay: how much of the sum is kept from step to step.
        probability: of changing an image in a step.
        scale: largest size over the image's own.
        size: of the kernel, in pixels, odd.
    """
    inputs = DiverseInputs(probability=probability, scale=scale)
    return (Logit(), inputs, TranslationInvariant(size=size), Momentum(decay=decay))


@named("targeted-margin", targeted=True)
def targeted_margin(*, decay: float = 1.0, probability: float = 0.7, scale: float = 330 / 299, size: int = 5) -> Parts:
    """As `targeted-logit`, with cross-entropy of logits over their margin.

    Weng et al., IEEE TIFS 2023, arXiv 2303.03680, which public code calls Logit Margin.

    Args:
        decay: how much of the sum is kept from step to step.
        probability: of changing an image in a step.
        scale: largest size over the image's own.
        size: of the kernel, in pixels, odd.
    """
    inputs = DiverseInputs(probability=probability, scale=scale)
    return (Margin(), inputs, TranslationInvariant(size=size), Momentum(decay=decay))


@named("leaky-linbp")
def leaky_linbp(*, start: Position = 0, leak: float = 0.1) -> Parts:
    """Leaky LinBP: the gradient passes a share of what each activation would have stopped, and nothing is rescaled.

        gradient at the input = (d + leak (1 - d)) g

    with d the activation's derivative and g the gradient at its output: `linbp(start=0, rebalance=none, leak=0.1)`,
    from the first site to the last. Not of the LinBP paper, but of this project's measurements on eleven networks, with
    `di` and `mi`: 0.1 transferred better than the ordinary gradient on ten of them. On CIFAR-10 and on SqueezeNet 0.2
    was better still, and on inverted residuals far worse (`docs/suites.md`). It costs one gradient a step, as LinBP.

    Args:
        start: where it begins, as in the rule `linbp`.
        leak: how much of what the activation would have stopped is passed, above 0 and at most 1.
    """
    return (LinBP(start=start, rebalance=None, leak=leak),)


@named("sgm-dense")
def sgm_dense(*, gamma: float = 0.5) -> Parts:
    """SGM for a DenseNet: the gradient that enters a layer's new channels is multiplied, at every concatenation.

    Wu et al., ICLR 2020, arXiv 2002.05990: 0.5 for DenseNets, where the rule's default is their 0.2 for ResNets. Takes
    1 gradient a step.

    Args:
        gamma: in [0, 1); 1 would be the ordinary gradient.
    """
    return (SGM(gamma=gamma, skips="dense"),)


for rule in (LinBP, SGM, ConBP, BPA, PNA, TGR, ATT, VDC):
    register("recipe", grammar_name(rule), rule)  # I-FGSM with the rule's gradient

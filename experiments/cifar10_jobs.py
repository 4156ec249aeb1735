"""Which attacks the CIFAR-10 experiments run: five parts, each a list of jobs; a job of two parts is run once."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

SOURCE, BASIC, BOTTLENECK = "vgg19_bn", "resnet18", "resnet50"
SHORT = "resnet18-short"
"""A ResNet-18 that was trained for a few epochs only, where there is one: is it the training?"""
RADII = ("0.1", "0.05", "0.03")
RADIUS = "0.05"
"""Of the parts that look at one radius only."""
PLACES = {SOURCE: "features.23", BASIC: "layer3.0", BOTTLENECK: "layer3.1"}
"""Where LinBP begins outside of the part that varies it: the paper's positions on VGG-19-BN and ResNet-50, and about as
deep on ResNet-18."""
READ = {SOURCE: "features.23", BASIC: "layer2.1", BOTTLENECK: "layer2.3"}
"""What ILA reads: the paper's nodes, and the last block in front of the position."""
SITES = {SOURCE: tuple(range(16)), BASIC: (0, 1, 3, 5, 7, 9, 11, 13, 15)}
"""Positions that differ: activations after a sum stay as they are, so that a position there means the next block's."""
DEPTHS = {BASIC: (3, 7, 11, 13), BOTTLENECK: (10, 19, 28, 40)}
"""Sites at the beginning of blocks, at about a fifth, two, three and four fifths of the network."""
LINEARISED = {SOURCE: (3, 5, 7, 9, 11, 13), BASIC: (5, 7, 9, 11, 13, 15)}
"""From which sites on LinS removes activations."""
HALVES = {site: (site // 2) | 1 for sites in LINEARISED.values() for site in sites}
"""The site about half as deep, where LinBP begins in a network of LinS."""
BUDGETS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 300)


@dataclass(frozen=True)
class Job:
    """One attack on all images.

    Attributes:
        surrogate: network.
        recipe: as text.
        eps: radius.
        steps: how many; a recipe of a single step has 1.
        removed: the site from which on LinS removed the surrogate's activations and tuned the rest; None: it did not.
    """

    surrogate: str
    recipe: str
    eps: str
    steps: int
    removed: int | None = None

    @property
    def step_size(self) -> str:
        """1/255, or more where the steps would not reach the radius otherwise."""
        return str(float(max(Fraction(1, 255), Fraction(self.eps) / self.steps)))

    def fields(self) -> dict[str, str | int | None]:
        """What one line of the results is about."""
        return {
            "surrogate": self.surrogate,
            "recipe": self.recipe,
            "eps": self.eps,
            "steps": self.steps,
            "removed": self.removed,
        }


def linbp(surrogate: str) -> str:
    """LinBP from the surrogate's own position."""
    return f"linbp(start={PLACES[surrogate]})"


def rivals(surrogate: str) -> tuple[str, ...]:
    """What the paper says LinBP's mean lies above, and SGM, which needs sums."""
    ila = f"ifgsm >> ila(at={READ[surrogate]})"
    sgm = () if surrogate == SOURCE else ("sgm(gamma=0.5)", "sgm(gamma=0.2)")
    return ("ifgsm", "mifgsm", "tapfgsm", "nrdmfgsm", "fdafgsm", ila, *sgm)


def transfer() -> list[Job]:
    """The paper's first experiment, and the same on residual nets, where SGM has something to act on."""
    jobs = []
    for surrogate in (SOURCE, BASIC, BOTTLENECK):
        own = linbp(surrogate)
        ours = (own, f"{own} + mi", f"{own} + di(scale=8/7) + mi", f"{own} >> ila(at={READ[surrogate]})")
        every = ("pgd", "pgd-noise", "mdi2fgsm", *rivals(surrogate), *ours)
        jobs += [Job(surrogate, recipe, eps, 100) for eps in RADII for recipe in every]
    return jobs


def rebalancing() -> list[Job]:
    """What the ratio and gamma buy, on basic blocks and bottlenecks, from four depths; after a short training too."""
    jobs = []
    for surrogate, depths in ((BASIC, DEPTHS[BASIC]), (SHORT, DEPTHS[BASIC]), (BOTTLENECK, DEPTHS[BOTTLENECK])):
        recipes = ["ifgsm", "sgm(gamma=0.5)", "sgm(gamma=0.2)"]
        for start in depths:
            recipes += [f"linbp(start={start}, rebalance={rebalance})" for rebalance in ("branch", "site", "none")]
            recipes.append(f"linbp(start={start}, rebalance=branch, gamma=0.5)")
        jobs += [Job(surrogate, recipe, RADIUS, 50) for recipe in recipes]
    return jobs


def position() -> list[Job]:
    """Success against the position: LinBP from every site, LinS from six."""
    jobs = []
    for surrogate, sites in SITES.items():
        jobs.append(Job(surrogate, "ifgsm", RADIUS, 50))
        jobs += [Job(surrogate, f"linbp(start={site})", RADIUS, 50) for site in sites]
        jobs += [Job(surrogate, "ifgsm", RADIUS, 50, removed=site) for site in LINEARISED[surrogate]]
    return jobs


def gradients() -> list[Job]:
    """Success against the gradients spent; the single step from several positions at every radius."""
    jobs = []
    for surrogate in (SOURCE, BASIC):
        own = linbp(surrogate)
        single = ("fgsm", f"{own} + fgsm", *(f"linbp(start={site}) + fgsm" for site in LINEARISED[surrogate][::2]))
        jobs += [Job(surrogate, recipe, eps, 1) for eps in RADII for recipe in single]
        for steps in BUDGETS:
            momentum = ("mifgsm", f"{own} + mi") if steps > 1 else ()  # one step has nothing to remember
            jobs += [Job(surrogate, recipe, RADIUS, steps) for recipe in ("ifgsm", own, *momentum)]
    return jobs


def linear() -> list[Job]:
    """LinS against LinBP from the same site, and LinBP from earlier sites of the network that LinS made."""
    jobs = []
    for surrogate in (SOURCE, BASIC):
        jobs.append(Job(surrogate, "ifgsm", RADIUS, 50))
        for site in LINEARISED[surrogate]:
            half = f"linbp(start={HALVES[site]})"
            jobs.append(Job(surrogate, "ifgsm", RADIUS, 50, removed=site))
            jobs.append(Job(surrogate, f"linbp(start={site})", RADIUS, 50))
            jobs.append(Job(surrogate, half, RADIUS, 50))
            if HALVES[site] < site:
                jobs.append(Job(surrogate, half, RADIUS, 50, removed=site))
    return jobs


PARTS = {
    "transfer": transfer,
    "rebalancing": rebalancing,
    "position": position,
    "gradients": gradients,
    "linear": linear,
}
"""The parts by name, in the order of the page."""

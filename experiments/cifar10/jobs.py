"""Which attacks the CIFAR-10 experiments run: seven parts, each a list of jobs; a job of two parts is run once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from fractions import Fraction
from typing import Any

from common import lines

RESULTS = lines.RESULTS / "cifar10" / "attacks.jsonl"

SOURCE, BASIC, BOTTLENECK = "vgg19_bn", "resnet18", "resnet50"
SHORT = "resnet18-short"
"""A ResNet-18 that was trained for a few epochs only, where there is one: is it the training?"""
SMOOTH = "resnet50-smooth"
"""A ResNet-50 trained with label smoothing and else as it ships, where there is one: is it the blocks?"""
EARLY = "vgg19_bn-early"
"""The paper's source as it is before it fits the training images closely, where there is one."""
RADII = ("0.1", "0.05", "0.03")
RADIUS = "0.05"
"""Of the parts that look at one radius only."""
ATTACKED = {SOURCE: RADII, EARLY: RADII[-1:], BASIC: RADII, BOTTLENECK: RADII, SMOOTH: (RADIUS,)}
"""The surrogates that every attack is run on, and at which radii."""
PLACES = {
    SOURCE: "features.23",
    EARLY: "features.23",
    BASIC: "layer3.0",
    BOTTLENECK: "layer3.1",
    SMOOTH: "layer3.1",
}
"""Where LinBP begins outside of the part that varies it: the paper's positions on VGG-19-BN and ResNet-50, and about as
deep on ResNet-18."""
READ = {
    SOURCE: "features.23",
    EARLY: "features.23",
    BASIC: "layer2.1",
    BOTTLENECK: "layer2.3",
    SMOOTH: "layer2.3",
}
"""What ILA reads: the paper's nodes, and the last block in front of the position."""
SITES = {SOURCE: tuple(range(16)), BASIC: (0, 1, 3, 5, 7, 9, 11, 13, 15)}
"""Positions that differ: activations after a sum stay as they are, so that a position there means the next block's."""
DEPTHS = {BASIC: (3, 7, 11, 13), BOTTLENECK: (10, 19, 28, 40)}
"""Sites at the beginning of blocks, at about a fifth, two, three and four fifths of the network."""
RESIDUAL = {BASIC: DEPTHS[BASIC], SHORT: DEPTHS[BASIC], BOTTLENECK: DEPTHS[BOTTLENECK]}
"""The depths of each residual surrogate."""
SKIPPED = (BASIC, BOTTLENECK)
"""Surrogates with projections that SGM is run on as other frameworks have it, and that its decay is examined on."""
WAYS = {"branch": "", "site": ", rebalance=site", "none": ", rebalance=none", "branch, gamma=0.5": ", gamma=0.5"}
"""Ways of rebalancing, and how the recipe says so; `branch` is what it does where nothing is said."""
LINEARISED = {SOURCE: (3, 5, 7, 9, 11, 13), BASIC: (5, 7, 9, 11, 13, 15)}
"""From which sites on LinS removes activations."""
OTHERWISE = {SOURCE: (0.1, (3, 5, 7, 9)), BASIC: (0.0, (9,))}
"""A label smoothing that the surrogate was not trained with, and the sites from which on LinS takes that one too."""
SINGLE = {SOURCE: (3, 7, 11), BASIC: (5, 9, 13)}
"""Where LinBP begins in a single step."""
HALVES = {site: (site // 2) | 1 for sites in LINEARISED.values() for site in sites}
"""The site about half as deep, where LinBP begins in a network of LinS."""
BUDGETS = (1, 2, 3, 5, 10, 20, 50, 100, 300)
LEAPS = (2, 3, 10, 11, 100)
"""How many steps of twice the radius; 100 are what the released code takes on CIFAR-10, and 1 is FGSM."""
OWN_SITE = {SOURCE: 7, BASIC: 9}
"""The sites that `PLACES` are: attacks from there have one name in all parts."""


@dataclass(frozen=True)
class Job:
    """One attack on all images.

    Attributes:
        surrogate: network.
        recipe: as text.
        eps: radius.
        steps: how many; a recipe of a single step has 1.
        removed: the site from which on LinS removed the surrogate's activations and tuned the rest; None: it did not.
        filled: whether every pixel that moved is then moved on to the radius, in its direction.
        leaps: whether every step is twice the radius long, as in what the released code calls fgsm.
        smoothing: of the labels that LinS tuned with, where it is not that of the surrogate's training; None: it is.
        spread: whether projections with a stride spread their gradient over the places that they do not take.
    """

    surrogate: str
    recipe: str
    eps: str
    steps: int
    removed: int | None = None
    filled: bool = False
    leaps: bool = False
    smoothing: float | None = None
    spread: bool = False

    @property
    def step_size(self) -> str:
        """1/255, or more where the steps would not reach the radius otherwise."""
        if self.leaps:
            return str(float(2 * Fraction(self.eps)))
        return str(float(max(Fraction(1, 255), Fraction(self.eps) / self.steps)))

    def fields(self) -> dict[str, Any]:
        """What one line of the results is about."""
        return asdict(self)

    @classmethod
    def of(cls, line: dict[str, Any]) -> Job:
        """The job that a line of the results is of; old lines lack the fields that have defaults."""
        return cls(**{one.name: line[one.name] for one in fields(cls) if one.name in line})


def linbp(surrogate: str) -> str:
    """LinBP from the surrogate's own position."""
    return f"linbp(start={PLACES[surrogate]})"


def from_site(surrogate: str, site: int, options: str = "") -> str:
    """LinBP from a site."""
    place = PLACES[surrogate] if site == OWN_SITE.get(surrogate) else site
    return f"linbp(start={place}{options})"


def rivals(surrogate: str) -> tuple[str, ...]:
    """What the paper says LinBP's mean lies above, and SGM, which needs sums."""
    ila = f"ifgsm >> ila(at={READ[surrogate]})"
    sgm = () if surrogate in (SOURCE, EARLY) else ("sgm(gamma=0.5)", "sgm(gamma=0.2)")
    sgm += ("sgm(gamma=0.2, skips=identity)",) if surrogate in SKIPPED else ()
    return ("ifgsm", "mifgsm", "tapfgsm", "nrdmfgsm", "fdafgsm", ila, *sgm)


def transfer() -> list[Job]:
    """The paper's first experiment, and the same on residual nets, where SGM has something to act on."""
    jobs = []
    for surrogate, radii in ATTACKED.items():
        own = linbp(surrogate)
        ours = (own, f"{own} + mi", f"{own} + di(scale=8/7) + mi", f"{own} >> ila(at={READ[surrogate]})")
        every = ("pgd", "pgd-noise", "mdi2fgsm", *rivals(surrogate), *ours)
        jobs += [Job(surrogate, recipe, eps, 100) for eps in radii for recipe in every]
    return jobs


def distance() -> list[Job]:
    """How far adversarial images go, and where: all of them moved on to the radius."""
    jobs = []
    for surrogate in (SOURCE, BASIC):
        own = linbp(surrogate)
        every = (*rivals(surrogate), own, "mdi2fgsm", f"{own} + di(scale=8/7) + mi")
        jobs += [Job(surrogate, recipe, RADIUS, 100, filled=filled) for recipe in every for filled in (False, True)]
    return jobs


def rebalancing() -> list[Job]:
    """What the ratio and gamma buy, on basic blocks and bottlenecks, from four depths; after a short training too."""
    jobs = []
    for surrogate, depths in RESIDUAL.items():
        recipes = ["ifgsm", "sgm(gamma=0.5)", "sgm(gamma=0.2)"]
        recipes += [from_site(surrogate, start, options) for start in depths for options in WAYS.values()]
        jobs += [Job(surrogate, recipe, RADIUS, 50) for recipe in recipes]
    return jobs


def skips() -> list[Job]:
    """What SGM's decay does beside identities and projections, and what the projections' coarse gradient does."""
    recipes = ["ifgsm", *(f"sgm(gamma={gamma}{rest})" for gamma in (0.5, 0.2) for rest in ("", ", skips=identity"))]
    recipes.append("sgm(gamma=0.2, skips=projection)")
    smooth = [recipe for recipe in recipes if "0.5" not in recipe]
    jobs = []
    for surrogate in SKIPPED:
        jobs += [Job(surrogate, recipe, RADIUS, 50) for recipe in (*recipes, linbp(surrogate))]
        jobs += [Job(surrogate, recipe, RADIUS, 50, spread=True) for recipe in smooth]
    return jobs


def position() -> list[Job]:
    """Success against the position: LinBP from every site, LinS from six."""
    jobs = []
    for surrogate, sites in SITES.items():
        jobs.append(Job(surrogate, "ifgsm", RADIUS, 50))
        jobs += [Job(surrogate, from_site(surrogate, site), RADIUS, 50) for site in sites]
        jobs += [Job(surrogate, "ifgsm", RADIUS, 50, removed=site) for site in LINEARISED[surrogate]]
    return jobs


def gradients() -> list[Job]:
    """Success against the gradients spent; the single step from several positions, and leaps, at every radius."""
    jobs = []
    for surrogate in (SOURCE, BASIC):
        own = linbp(surrogate)
        single = ("fgsm", *(f"{from_site(surrogate, site)} + fgsm" for site in SINGLE[surrogate]))
        jobs += [Job(surrogate, recipe, eps, 1) for eps in RADII for recipe in single]
        jobs += [
            Job(surrogate, recipe, eps, steps, leaps=True)
            for eps in RADII
            for steps in LEAPS
            for recipe in ("ifgsm", own)
        ]
        for steps in BUDGETS:
            momentum = ("mifgsm", f"{own} + mi") if steps > 1 else ()  # one step has nothing to remember
            jobs += [Job(surrogate, recipe, RADIUS, steps) for recipe in ("ifgsm", own, *momentum)]
    return jobs


def linear() -> list[Job]:
    """LinS against LinBP from the same site, LinBP on what LinS made, and LinS with other labels."""
    jobs = []
    for surrogate in (SOURCE, BASIC):
        jobs.append(Job(surrogate, "ifgsm", RADIUS, 50))
        for site in LINEARISED[surrogate]:
            half = from_site(surrogate, HALVES[site])
            jobs.append(Job(surrogate, "ifgsm", RADIUS, 50, removed=site))
            jobs.append(Job(surrogate, from_site(surrogate, site), RADIUS, 50))
            jobs.append(Job(surrogate, half, RADIUS, 50))
            if HALVES[site] < site:
                jobs.append(Job(surrogate, half, RADIUS, 50, removed=site))
        smoothing, sites = OTHERWISE[surrogate]
        jobs += [Job(surrogate, "ifgsm", RADIUS, 50, removed=site, smoothing=smoothing) for site in sites]
    return jobs


PARTS = {
    "transfer": transfer,
    "distance": distance,
    "rebalancing": rebalancing,
    "skips": skips,
    "position": position,
    "gradients": gradients,
    "linear": linear,
}
"""The parts by name, in the order of the page."""

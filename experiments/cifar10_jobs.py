"""Which attacks the CIFAR-10 experiments run: five parts, each a list of jobs; a job of two parts is run once."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

PAPER = "features.23"
"""The paper's position on VGG-19-BN."""
SOURCE, BASIC, BOTTLENECK = "vgg19_bn", "resnet18", "resnet50"
RADII = ("0.1", "0.05", "0.03")
RADIUS = "0.05"
"""Of the parts that look at one radius only."""
SITES = {SOURCE: 16, BASIC: 17, BOTTLENECK: 49}
PLACES = {SOURCE: 8, BASIC: 9, BOTTLENECK: 33}
"""Where LinBP begins outside of the part that varies it: the paper's site, and about as deep in the residual nets."""
LINEARISED = {SOURCE: (4, 6, 8, 10, 12, 14), BASIC: (4, 6, 8, 10, 12, 14)}
"""From which sites on LinS removes activations."""
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


LINBP = f"linbp(start={PAPER})"
CHAIN = (
    "ifgsm",
    "pgd",
    "mifgsm",
    "mdi2fgsm",
    "tapfgsm",
    "nrdmfgsm",
    "fdafgsm",
    f"ifgsm >> ila(at={PAPER})",
    LINBP,
    f"{LINBP} + mi",
    f"{LINBP} + di(scale=8/7) + mi",
    f"{LINBP} >> ila(at={PAPER})",
)
RESIDUAL_RULES = ("sgm(gamma=0.2)", "sgm(gamma=0.5)")


def transfer() -> list[Job]:
    """The paper's first experiment, and the same on a residual net, where SGM has something to act on."""
    start = f"linbp(start={PLACES[BASIC]})"
    residual = ("ifgsm", "mifgsm", "mdi2fgsm", *RESIDUAL_RULES, start, f"{start} + mi", f"{start} + di(scale=8/7) + mi")
    jobs = [Job(SOURCE, recipe, eps, 100) for eps in RADII for recipe in CHAIN]
    return jobs + [Job(BASIC, recipe, eps, 100) for eps in RADII for recipe in residual]


def rebalancing() -> list[Job]:
    """What the ratio and gamma buy, on basic blocks and on bottlenecks, from four depths."""
    jobs = []
    for surrogate in (BASIC, BOTTLENECK):
        jobs.append(Job(surrogate, "ifgsm", RADIUS, 50))
        jobs += [Job(surrogate, recipe, RADIUS, 50) for recipe in RESIDUAL_RULES]
        for depth in (1, 2, 3, 4):
            start = depth * SITES[surrogate] // 5
            for rebalance in ("branch", "site", "none"):
                recipe = f"linbp(start={start}, rebalance={rebalance}"
                jobs.append(Job(surrogate, recipe + ")", RADIUS, 50))
                if rebalance == "branch":
                    jobs.append(Job(surrogate, recipe + ", gamma=0.5)", RADIUS, 50))
    return jobs


def position() -> list[Job]:
    """Success against the position: LinBP from every site, LinS from six."""
    jobs = []
    for surrogate in (SOURCE, BASIC):
        jobs.append(Job(surrogate, "ifgsm", RADIUS, 50))
        jobs += [Job(surrogate, f"linbp(start={site})", RADIUS, 50) for site in range(SITES[surrogate])]
        jobs += [Job(surrogate, "ifgsm", RADIUS, 50, removed=site) for site in LINEARISED[surrogate]]
    return jobs


def gradients() -> list[Job]:
    """Success against the gradients spent, single steps included."""
    jobs = []
    for surrogate in (SOURCE, BASIC):
        start = f"linbp(start={PLACES[surrogate]})"
        jobs += [Job(surrogate, recipe, RADIUS, 1) for recipe in ("fgsm", f"{start} + fgsm")]
        for steps in BUDGETS:
            jobs += [Job(surrogate, recipe, RADIUS, steps) for recipe in ("ifgsm", "mifgsm", start, f"{start} + mi")]
    return jobs


def linear() -> list[Job]:
    """LinS against LinBP from the same site, and LinBP from earlier sites of the network that LinS made."""
    jobs = []
    for surrogate in (SOURCE, BASIC):
        for site in LINEARISED[surrogate]:
            jobs.append(Job(surrogate, "ifgsm", RADIUS, 50, removed=site))
            jobs.append(Job(surrogate, f"linbp(start={site})", RADIUS, 50))
            jobs.append(Job(surrogate, f"linbp(start={site // 2})", RADIUS, 50))
            jobs.append(Job(surrogate, f"linbp(start={site // 2})", RADIUS, 50, removed=site))
    return jobs


PARTS = {
    "transfer": transfer,
    "rebalancing": rebalancing,
    "position": position,
    "gradients": gradients,
    "linear": linear,
}
"""The parts by name, in the order of the page."""

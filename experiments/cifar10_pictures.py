"""The pictures of `docs/cifar10.md`: SVG and PNG, readable on light and on dark pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from cifar10_jobs import LINBP, PARTS, PLACES, RADII, Job
from matplotlib import pyplot

IMAGES = Path(__file__).parent.parent / "docs" / "images"
GREY = "#8a8a8a"
"""Of axes and words: as far from white as from black."""
COLOURS = ("#2f8fdd", "#d56e28", "#279d6e", "#c45ab3")
"""Each at least 3.4 to 1 against white and against the dark page."""
NAMES = {"vgg19_bn": "VGG-19-BN", "resnet18": "ResNet-18", "resnet50": "ResNet-50"}
matplotlib.rcParams.update(
    {
        "svg.hashsalt": "linbp",
        "svg.fonttype": "none",
        "font.size": 10,
        "text.color": GREY,
        "axes.edgecolor": GREY,
        "axes.labelcolor": GREY,
        "axes.titlecolor": GREY,
        "xtick.color": GREY,
        "ytick.color": GREY,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
        "savefig.transparent": True,
        "legend.frameon": False,
        "grid.color": GREY,
        "grid.alpha": 0.25,
        "axes.grid": True,
    }
)


def save(figure: Any, name: str) -> None:
    """As SVG and as PNG."""
    figure.tight_layout()
    figure.savefig(IMAGES / f"cifar10-{name}.svg", metadata={"Date": None})
    figure.savefig(IMAGES / f"cifar10-{name}.png", dpi=160, metadata={"Software": None})
    pyplot.close(figure)


def interval(outcomes: Any, job: Job) -> tuple[float, float]:
    """A 95% interval of the mean over victims: images drawn again 1,000 times."""
    draw, counts = np.random.default_rng(0), outcomes.count(job)
    means = [draw.choice(counts, len(counts)).mean() for _ in range(1000)]
    low, high = np.percentile(means, [2.5, 97.5]) * 100 / len(outcomes.victims(job.surrogate))
    return float(low), float(high)


def curve(axis: Any, outcomes: Any, points: list[tuple[float, Job]], label: str, number: int, marker: str) -> None:
    """One line with its band of 95%."""
    if not points:
        return
    places = [place for place, _ in points]
    means = [outcomes.mean(job) for _, job in points]
    bands = [interval(outcomes, job) for _, job in points]
    colour = COLOURS[number]
    axis.plot(places, means, color=colour, label=label, marker=marker, markersize=5)
    axis.fill_between(places, [low for low, _ in bands], [high for _, high in bands], color=colour, alpha=0.15, lw=0)


def transfer(outcomes: Any) -> None:
    """Bars of every attack at each radius, on the paper's source."""
    jobs = [job for job in outcomes.complete(PARTS["transfer"]()) if job.surrogate == "vgg19_bn"]
    recipes = list(dict.fromkeys(job.recipe for job in jobs))
    if not recipes:
        return
    figure, axis = pyplot.subplots(figsize=(9, 0.5 * len(recipes) + 1.2))
    for number, eps in enumerate(RADII):
        mine = {job.recipe: job for job in jobs if job.eps == eps}
        rows = [row for row, recipe in enumerate(recipes) if recipe in mine]
        means = [outcomes.mean(mine[recipes[row]]) for row in rows]
        bands = [interval(outcomes, mine[recipes[row]]) for row in rows]
        errors = np.abs(np.array(bands).T - means)
        places = [row + 0.26 * (number - 1) for row in rows]
        axis.barh(places, means, 0.24, xerr=errors, color=COLOURS[number], label=f"eps {eps}", ecolor=GREY)
    axis.set_yticks(range(len(recipes)), [recipe.replace(LINBP, "linbp") for recipe in recipes])
    axis.invert_yaxis()
    axis.set(xlabel="victims fooled, mean, %", xlim=(0, 100))
    axis.grid(visible=False, axis="y")
    axis.legend(loc="lower right")
    save(figure, "transfer")


def position(outcomes: Any) -> None:
    """Success against the position, LinBP and LinS."""
    jobs = outcomes.complete(dict.fromkeys(PARTS["position"]()))
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axis, surrogate in zip(axes, ("vgg19_bn", "resnet18"), strict=True):
        mine = [job for job in jobs if job.surrogate == surrogate]
        linbp = [(site_of(job), job) for job in mine if job.recipe.startswith("linbp")]
        lins = [(float(job.removed), job) for job in mine if job.removed is not None]
        curve(axis, outcomes, sorted(linbp, key=lambda point: point[0]), "LinBP", 0, "o")
        curve(axis, outcomes, sorted(lins, key=lambda point: point[0]), "LinS", 1, "s")
        plain = [job for job in mine if job.recipe == "ifgsm" and job.removed is None]
        if plain:
            axis.axhline(outcomes.mean(plain[0]), color=GREY, linestyle="--", label="I-FGSM")
        axis.axvline(PLACES[surrogate], color=GREY, linestyle=":", linewidth=1)
        if surrogate in outcomes.choices:
            axis.axvline(outcomes.choices[surrogate]["start"], color=COLOURS[2], linewidth=1, label="start=auto")
        axis.set(title=NAMES[surrogate], xlabel="linear from site")
        axis.legend()
    axes[0].set_ylabel("victims fooled, mean, %")
    save(figure, "position")


def site_of(job: Job) -> float:
    """The number in `linbp(start=K)`."""
    return float(job.recipe.partition("start=")[2].partition(")")[0].partition(",")[0])


def gradients(outcomes: Any) -> None:
    """Success against the gradients spent."""
    jobs = outcomes.complete(dict.fromkeys(PARTS["gradients"]()))
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axis, surrogate in zip(axes, ("vgg19_bn", "resnet18"), strict=True):
        mine = [job for job in jobs if job.surrogate == surrogate]
        start = f"linbp(start={PLACES[surrogate]})"
        kinds = {"I-FGSM": "ifgsm", "MI-FGSM": "mifgsm", "LinBP": start, "LinBP + MI": f"{start} + mi"}
        for number, (label, recipe) in enumerate(kinds.items()):
            points = [(float(job.steps), job) for job in mine if job.recipe == recipe]
            curve(axis, outcomes, points, label, number, "os^D"[number])
        axis.set_xscale("log")
        axis.set(title=NAMES[surrogate], xlabel="gradients an image")
        axis.legend()
    axes[0].set_ylabel("victims fooled, mean, %")
    save(figure, "gradients")


def rebalancing(outcomes: Any) -> None:
    """The three rebalancings and gamma, by position."""
    jobs = outcomes.complete(dict.fromkeys(PARTS["rebalancing"]()))
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axis, surrogate in zip(axes, ("resnet18", "resnet50"), strict=True):
        mine = [job for job in jobs if job.surrogate == surrogate]
        kinds = ("rebalance=branch)", "rebalance=site)", "rebalance=none)", "rebalance=branch, gamma=0.5)")
        for number, kind in enumerate(kinds):
            points = [(site_of(job), job) for job in mine if job.recipe.endswith(kind)]
            label = kind.removesuffix(")").removeprefix("rebalance=")
            curve(axis, outcomes, points, label, number, "os^D"[number])
        for number, recipe in enumerate(("ifgsm", "sgm(gamma=0.5)")):
            plain = [job for job in mine if job.recipe == recipe]
            if plain:
                axis.axhline(outcomes.mean(plain[0]), color=GREY, linestyle=("--", ":")[number], label=recipe)
        axis.set(title=NAMES[surrogate], xlabel="linear from site")
        axis.legend()
    axes[0].set_ylabel("victims fooled, mean, %")
    save(figure, "rebalancing")


def linear(outcomes: Any) -> None:
    """LinS and LinBP at the same sites, and LinBP on networks of LinS."""
    jobs = outcomes.complete(dict.fromkeys(PARTS["linear"]()))
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    for axis, surrogate in zip(axes, ("vgg19_bn", "resnet18"), strict=True):
        mine = [job for job in jobs if job.surrogate == surrogate]
        lins = [(float(job.removed), job) for job in mine if job.removed is not None and job.recipe == "ifgsm"]
        sites = {int(site) for site, _ in lins}
        both = [(float(job.removed), job) for job in mine if job.removed is not None and job.recipe != "ifgsm"]
        kept = [job for job in mine if job.removed is None and job.recipe != "ifgsm"]
        same = [(site_of(job), job) for job in kept if site_of(job) in sites]
        half = [(2 * site_of(job), job) for job in kept if 2 * site_of(job) in sites]
        curve(axis, outcomes, lins, "LinS from k", 0, "s")
        curve(axis, outcomes, sorted(same, key=lambda point: point[0]), "LinBP from k", 1, "o")
        curve(axis, outcomes, sorted(half, key=lambda point: point[0]), "LinBP from k / 2", 2, "^")
        curve(axis, outcomes, both, "LinS from k, LinBP from k / 2", 3, "D")
        axis.set(title=NAMES[surrogate], xlabel="site k")
        axis.legend()
    axes[0].set_ylabel("victims fooled, mean, %")
    save(figure, "linear")


def draw(outcomes: Any) -> None:
    """All pictures."""
    for picture in (transfer, rebalancing, position, gradients, linear):
        picture(outcomes)

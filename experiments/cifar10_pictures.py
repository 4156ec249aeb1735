"""The pictures of `docs/cifar10.md`: SVG and PNG, readable on light and on dark pages."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from cifar10_jobs import BASIC, BOTTLENECK, DEPTHS, PARTS, RADII, SHORT, SOURCE, Job, linbp
from cifar10_outcomes import Outcomes
from matplotlib import pyplot

IMAGES = Path(__file__).parent.parent / "docs" / "images"
GREY = "#8a8a8a"
"""Of axes and words: as far from white as from black."""
COLOURS = ("#2f8fdd", "#d56e28", "#279d6e", "#c45ab3")
"""Each at least 3.4 to 1 against white and against the dark page."""
NAMES = {SOURCE: "VGG-19-BN", BASIC: "ResNet-18", BOTTLENECK: "ResNet-50", SHORT: "ResNet-18, short training"}
PAPER = {SOURCE: 7, BASIC: 9}
"""The sites of the positions that the other parts use."""
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


def curve(axis: Any, outcomes: Outcomes, points: list[tuple[float, Job]], label: str, number: int) -> None:
    """One line with its band of 95%."""
    if not points:
        return
    points = sorted(points, key=lambda point: point[0])
    places = [place for place, _ in points]
    bands = [outcomes.interval(job) for _, job in points]
    colour, marker = COLOURS[number], "os^D"[number]
    axis.plot(places, [outcomes.mean(job) for _, job in points], color=colour, label=label, marker=marker, markersize=5)
    axis.fill_between(places, [low for low, _ in bands], [high for _, high in bands], color=colour, alpha=0.15, lw=0)


def level(axis: Any, outcomes: Outcomes, jobs: list[Job], recipe: str, label: str, style: str) -> None:
    """A horizontal line for a recipe on the surrogate as it is."""
    for job in jobs:
        if job.recipe == recipe and job.removed is None:
            axis.axhline(outcomes.mean(job), color=GREY, linestyle=style, label=label)


def site_of(job: Job) -> int | None:
    """The number in `linbp(start=K...)`, if the recipe begins so."""
    found = re.match(r"linbp\(start=(\d+)\b", job.recipe)
    return int(found[1]) if found else None


def transfer(outcomes: Outcomes) -> Any:
    """Bars of every attack at each radius, on the paper's source."""
    jobs = [job for job in outcomes.jobs if job.surrogate == SOURCE]
    recipes = list(dict.fromkeys(job.recipe for job in jobs))
    figure, axis = pyplot.subplots(figsize=(9, 0.5 * len(recipes) + 1.2))
    for number, eps in enumerate(RADII):
        mine = {job.recipe: job for job in jobs if job.eps == eps}
        rows = [row for row, recipe in enumerate(recipes) if recipe in mine]
        means = np.array([outcomes.mean(mine[recipes[row]]) for row in rows])
        bands = np.array([outcomes.interval(mine[recipes[row]]) for row in rows])
        places = [row + 0.26 * (number - 1) for row in rows]
        errors = np.abs(bands.T - means) if rows else None
        axis.barh(places, means, 0.24, xerr=errors, color=COLOURS[number], label=f"eps {eps}", ecolor=GREY)
    axis.set_yticks(range(len(recipes)), [recipe.replace(linbp(SOURCE), "linbp") for recipe in recipes])
    axis.invert_yaxis()
    axis.set(xlabel="victims fooled, mean, %", xlim=(0, 100))
    axis.grid(visible=False, axis="y")
    axis.legend(loc="lower right")
    return figure


def side_by_side(outcomes: Outcomes, surrogates: tuple[str, ...]) -> tuple[Any, list[tuple[Any, str, list[Job]]]]:
    """A figure with one plot a surrogate."""
    figure, axes = pyplot.subplots(1, len(surrogates), figsize=(4.5 * len(surrogates), 3.8), sharey=True, squeeze=False)
    plots = []
    for axis, surrogate in zip(axes[0], surrogates, strict=True):
        axis.set_title(NAMES[surrogate])
        plots.append((axis, surrogate, [job for job in outcomes.jobs if job.surrogate == surrogate]))
    axes[0][0].set_ylabel("victims fooled, mean, %")
    return figure, plots


def position(outcomes: Outcomes, choices: dict[str, int]) -> Any:
    """Success against the position, LinBP and LinS."""
    figure, plots = side_by_side(outcomes, (SOURCE, BASIC))
    for axis, surrogate, mine in plots:
        kept = [(site, job) for job in mine if job.removed is None and (site := site_of(job)) is not None]
        curve(axis, outcomes, kept, "LinBP", 0)
        curve(axis, outcomes, [(job.removed, job) for job in mine if job.removed is not None], "LinS", 1)
        level(axis, outcomes, mine, "ifgsm", "I-FGSM", "--")
        axis.axvline(PAPER[surrogate], color=GREY, linestyle=":", linewidth=1)
        if surrogate in choices:
            axis.axvline(choices[surrogate], color=COLOURS[2], linewidth=1, label="start=auto")
        axis.set_xlabel("linear from site")
        axis.legend()
    return figure


def gradients(outcomes: Outcomes) -> Any:
    """Success against the gradients spent."""
    figure, plots = side_by_side(outcomes, (SOURCE, BASIC))
    for axis, surrogate, mine in plots:
        own = linbp(surrogate)
        kinds = {"I-FGSM": "ifgsm", "MI-FGSM": "mifgsm", "LinBP": own, "LinBP + MI": f"{own} + mi"}
        for number, (label, recipe) in enumerate(kinds.items()):
            curve(axis, outcomes, [(job.steps, job) for job in mine if job.recipe == recipe], label, number)
        axis.set_xscale("log")
        axis.set_xlabel("gradients an image")
        axis.legend()
    return figure


def rebalancing(outcomes: Outcomes) -> Any:
    """The three rebalancings and gamma, by position."""
    there = tuple(name for name in (BASIC, SHORT, BOTTLENECK) if any(job.surrogate == name for job in outcomes.jobs))
    figure, plots = side_by_side(outcomes, there)
    for axis, surrogate, mine in plots:
        for number, kind in enumerate(("branch", "site", "none", "branch, gamma=0.5")):
            points = [(site, job) for job in mine if job.recipe.endswith(f"={kind})") and (site := site_of(job))]
            curve(axis, outcomes, points, kind, number)
        level(axis, outcomes, mine, "ifgsm", "I-FGSM", "--")
        level(axis, outcomes, mine, "sgm(gamma=0.5)", "SGM, gamma 0.5", ":")
        axis.set_xticks(DEPTHS[BASIC if surrogate == SHORT else surrogate])
        axis.set_xlabel("linear from site")
        axis.legend()
    return figure


def linear(outcomes: Outcomes) -> Any:
    """LinS and LinBP at the same sites, and LinBP on networks of LinS."""
    figure, plots = side_by_side(outcomes, (SOURCE, BASIC))
    for axis, _, mine in plots:
        lins = [job for job in mine if job.removed is not None]
        curve(axis, outcomes, [(job.removed, job) for job in lins if job.recipe == "ifgsm"], "LinS from k", 0)
        both = [(job.removed, job) for job in lins if job.recipe != "ifgsm"]
        curve(axis, outcomes, both, "LinS from k, LinBP from k / 2", 1)
        sites = {job.removed for job in lins}
        same = [(site, job) for job in mine if job.removed is None and (site := site_of(job)) in sites]
        curve(axis, outcomes, same, "LinBP from k", 2)
        level(axis, outcomes, mine, "ifgsm", "I-FGSM", "--")
        axis.set_xlabel("site k")
        axis.legend()
    return figure


def draw(lines: list[dict[str, Any]], without: dict[str, tuple[str, ...]]) -> None:
    """All pictures that there are jobs for."""
    choices = {line["surrogate"]: line["choice"]["start"] for line in lines if "choice" in line}
    pictures = {
        "transfer": transfer,
        "rebalancing": rebalancing,
        "position": lambda outcomes: position(outcomes, choices),
        "gradients": gradients,
        "linear": linear,
    }
    for part, picture in pictures.items():
        outcomes = Outcomes(lines, PARTS[part](), without.get(part, ()))
        if outcomes.jobs:
            save(picture(outcomes), part)

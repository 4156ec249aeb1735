"""The pictures of `docs/cifar10.md`: SVG and PNG, readable on light and on dark pages."""

from __future__ import annotations

import re
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from common.pages import DOCS
from matplotlib import pyplot

from cifar10.jobs import (
    BASIC,
    BOTTLENECK,
    EARLY,
    OTHERWISE,
    OWN_SITE,
    PARTS,
    PLACES,
    RADII,
    RESIDUAL,
    SHORT,
    SITES,
    SMOOTH,
    SOURCE,
    WAYS,
    Job,
    linbp,
)
from cifar10.outcomes import Outcomes, by_surrogate

IMAGES = DOCS / "images"
GREY = "#8a8a8a"
"""Of axes and words: as far from white as from black."""
COLOURS = ("#2f8fdd", "#d56e28", "#279d6e", "#c45ab3")
"""Each at least 3.4 to 1 against white and against the dark page."""
NAMES = {
    SOURCE: "VGG-19-BN",
    EARLY: "VGG-19-BN, early",
    BASIC: "ResNet-18",
    BOTTLENECK: "ResNet-50",
    SMOOTH: "ResNet-50, smoothed labels",
    SHORT: "ResNet-18, short training",
}
Found = dict[str, Outcomes]
"""The outcomes of a part, by surrogate."""
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
    means = [outcomes.mean(job) for _, job in points]
    colour, marker = COLOURS[number], "os^D"[number]
    axis.plot(places, [one.value for one in means], color=colour, label=label, marker=marker, markersize=5)
    low, high = ([getattr(one, end) for one in means] for end in ("low", "high"))
    axis.fill_between(places, low, high, color=colour, alpha=0.15, lw=0)


def level(axis: Any, outcomes: Outcomes, jobs: list[Job], recipe: str, label: str, style: str) -> None:
    """A horizontal line for a recipe on the surrogate as it is."""
    for job in jobs:
        if job.recipe == recipe and job.removed is None:
            axis.axhline(outcomes.mean(job).value, color=GREY, linestyle=style, label=label)


def site_of(job: Job) -> int | None:
    """The site at which the recipe's LinBP begins, if it begins with LinBP."""
    found = re.match(r"linbp\(start=([\w.]+)", job.recipe)
    if not found:
        return None
    return OWN_SITE.get(job.surrogate) if found[1] == PLACES[job.surrogate.partition("-")[0]] else int(found[1])


def dots(axis: Any, outcomes: Outcomes, names: list[str], kinds: dict[str, list[Job]]) -> None:
    """A row for each recipe, and in it a dot with its 95% interval for each kind of job."""
    shown = [(label, number, jobs) for number, (label, jobs) in enumerate(kinds.items()) if jobs]
    for place, (label, number, jobs) in enumerate(shown):
        rows = [names.index(job.recipe) + 0.22 * (place - (len(shown) - 1) / 2) for job in jobs]
        found = [outcomes.mean(job) for job in jobs]
        means = [one.value for one in found]
        errors = np.abs(np.array([[one.low, one.high] for one in found]).T - means)
        style = {"color": COLOURS[number], "marker": "os^D"[number], "linestyle": "none", "capsize": 2}
        axis.errorbar(means, rows, xerr=errors, label=label, **style)
    axis.set_yticks(range(len(names)), [recipe.replace(linbp(outcomes.jobs[0].surrogate), "linbp") for recipe in names])
    axis.invert_yaxis()
    axis.set(xlabel="victims fooled, mean, %", xlim=(20, 100))
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=len(shown))


def transfer(found: Found) -> Any:
    """Every attack at each radius, one plot a surrogate."""
    recipes = {name: list(dict.fromkeys(job.recipe for job in outcomes.jobs)) for name, outcomes in found.items()}
    heights = [0.42 * len(names) + 1.6 for names in recipes.values()]
    figure, axes = pyplot.subplots(
        len(found), figsize=(9, sum(heights)), squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axis, (surrogate, outcomes) in zip(axes[:, 0], found.items(), strict=True):
        kinds = {f"eps {eps}": [job for job in outcomes.jobs if job.eps == eps] for eps in RADII}
        dots(axis, outcomes, recipes[surrogate], kinds)
        axis.set_title(NAMES[surrogate], pad=26)
    return figure


def distance(found: Found) -> Any:
    """Every attack as it is and moved on to the radius, one plot a surrogate."""
    figure, axes = pyplot.subplots(1, len(found), figsize=(6 * len(found), 4.5), squeeze=False)
    for axis, (surrogate, outcomes) in zip(axes[0], found.items(), strict=True):
        names = list(dict.fromkeys(job.recipe for job in outcomes.jobs))
        words = {False: "as they are", True: "moved on to the radius"}
        kinds = {label: [job for job in outcomes.jobs if job.filled == filled] for filled, label in words.items()}
        dots(axis, outcomes, names, kinds)
        axis.set_title(NAMES[surrogate], pad=26)
    return figure


def side_by_side(found: Found) -> tuple[Any, list[tuple[Any, str, Outcomes]]]:
    """A figure with one plot a surrogate."""
    figure, axes = pyplot.subplots(1, len(found), figsize=(max(5, 4.5 * len(found)), 4.4), sharey=True, squeeze=False)
    plots = []
    for axis, (surrogate, outcomes) in zip(axes[0], found.items(), strict=True):
        axis.set_title(NAMES[surrogate])
        plots.append((axis, surrogate, outcomes))
    axes[0][0].set_ylabel("victims fooled, mean, %")
    return figure, plots


def below(axis: Any) -> None:
    """The legend under the plot, where it hides nothing."""
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)


def position(found: Found, choices: dict[str, int]) -> Any:
    """Success against the position, LinBP and LinS."""
    figure, plots = side_by_side(found)
    for axis, surrogate, outcomes in plots:
        kept = [(site, job) for job in outcomes.jobs if job.removed is None and (site := site_of(job)) is not None]
        curve(axis, outcomes, kept, "LinBP", 0)
        tuned = [(job.removed, job) for job in outcomes.jobs if job.removed is not None]
        curve(axis, outcomes, tuned, "LinS", 1)
        level(axis, outcomes, outcomes.jobs, "ifgsm", "I-FGSM", "--")
        axis.axvline(OWN_SITE[surrogate], color=GREY, linestyle=":", linewidth=1, label="as in the other parts")
        if surrogate in choices:
            # What begins at a site that stays as it is begins at the next one that does not.
            chosen = min(site for site in SITES[surrogate] if site >= choices[surrogate])
            axis.axvline(chosen, color=COLOURS[2], linewidth=1, label="start=auto")
        axis.set_xticks(range(0, max(SITES[surrogate]) + 1, 3))
        axis.set_xlabel("linear from site")
        below(axis)
    return figure


def gradients(found: Found) -> Any:
    """Success against the gradients spent."""
    figure, plots = side_by_side(found)
    for axis, surrogate, outcomes in plots:
        own = linbp(surrogate)
        kinds = {"I-FGSM": "ifgsm", "MI-FGSM": "mifgsm", "LinBP": own, "LinBP + MI": f"{own} + mi"}
        for number, (label, recipe) in enumerate(kinds.items()):
            mine = [job for job in outcomes.jobs if job.recipe == recipe and not job.leaps]
            curve(axis, outcomes, [(job.steps, job) for job in mine], label, number)
        axis.set_xscale("log")
        axis.set_xticks([1, 3, 10, 30, 100, 300], [1, 3, 10, 30, 100, 300])
        axis.set_xlabel("gradients an image")
        below(axis)
    return figure


def rebalancing(found: Found) -> Any:
    """The three rebalancings and gamma, by position."""
    figure, plots = side_by_side(found)
    for axis, surrogate, outcomes in plots:
        for number, (kind, options) in enumerate(WAYS.items()):
            mine = [
                job for job in outcomes.jobs if re.fullmatch(rf"linbp\(start=[\w.]+{re.escape(options)}\)", job.recipe)
            ]
            curve(axis, outcomes, [(site_of(job) or 0, job) for job in mine], kind, number)
        level(axis, outcomes, outcomes.jobs, "ifgsm", "I-FGSM", "--")
        level(axis, outcomes, outcomes.jobs, "sgm(gamma=0.5)", "SGM, gamma 0.5", ":")
        axis.set_xticks(RESIDUAL[surrogate])
        axis.set_xlabel("linear from site")
        below(axis)
    return figure


def linear(found: Found) -> Any:
    """LinS and LinBP at the same sites, and LinBP on networks of LinS."""
    figure, plots = side_by_side(found)
    for axis, surrogate, outcomes in plots:
        lins = [job for job in outcomes.jobs if job.removed is not None]
        alone = [job for job in lins if job.recipe == "ifgsm"]
        for number, smoothing in ((0, None), (3, OTHERWISE[surrogate][0])):
            label = "LinS from k" + ("" if smoothing is None else f", smoothing {smoothing:g}")
            mine = [(job.removed, job) for job in alone if job.smoothing == smoothing]
            curve(axis, outcomes, mine, label, number)
        both = [(job.removed, job) for job in lins if job.recipe != "ifgsm"]
        curve(axis, outcomes, both, "LinS from k, LinBP from k / 2", 1)
        sites = {job.removed for job in lins}
        same = [(site, job) for job in outcomes.jobs if job.removed is None and (site := site_of(job)) in sites]
        curve(axis, outcomes, same, "LinBP from k", 2)
        level(axis, outcomes, outcomes.jobs, "ifgsm", "I-FGSM", "--")
        axis.set_xlabel("site k")
        below(axis)
    return figure


def draw(lines: list[dict[str, Any]], without: dict[str, tuple[str, ...]]) -> None:
    """All pictures that there are jobs for."""
    choices = {line["surrogate"]: line["choice"]["start"] for line in lines if "choice" in line}
    pictures = {
        "transfer": transfer,
        "distance": distance,
        "rebalancing": rebalancing,
        "position": lambda found: position(found, choices),
        "gradients": gradients,
        "linear": linear,
    }
    for part, picture in pictures.items():
        found = by_surrogate(lines, PARTS[part](), without.get(part, ()))
        if found:
            save(picture(found), part)

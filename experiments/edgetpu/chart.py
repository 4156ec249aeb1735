"""The chart of `docs/edgetpu.md`: agreement by position on both surrogates."""

from __future__ import annotations

import re

import matplotlib
from common.pages import DOCS
from matplotlib import pyplot

from edgetpu.tables import VICTIMS, Line, mean, of

matplotlib.use("Agg")
matplotlib.rcParams["svg.hashsalt"] = "linbp"


def draw(lines: list[Line]) -> None:
    """Agreement by position on both surrogates."""
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.4), sharey=True)
    for axis, surrogate in zip(axes, ("mobilenet_edgetpu", "squeezenet1_1"), strict=True):
        found = of(lines, "agreement", surrogate)
        for kind in ("branch", "site", "none", "outside", "inside"):
            points = sorted(
                (int(a["variant"].split()[-1]), mean(a["cos"]))
                for a in found
                if re.match(f"{kind} from \\d+$", a["variant"])
            )
            if points:
                axis.plot(*zip(*points, strict=True), marker=".", label=kind)
        ordinary = [mean(a["cos"]) for a in found if a["variant"] == "ordinary"]
        if ordinary:
            axis.axhline(ordinary[0], color="grey", linestyle="--", label="ordinary")
        axis.set(title=VICTIMS[surrogate], xlabel="linear from site")
    axes[0].set_ylabel("cosine with other networks' gradients")
    axes[0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(DOCS / "images" / "edgetpu.svg", metadata={"Date": None})

"""The tables of `docs/cifar10.md`, made from the lines that `cifar10.py` stored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from cifar10_jobs import LINBP, PARTS, Job
from imagenet_tables import cell
from scipy.stats import binomtest

PAGE = Path(__file__).parent.parent / "docs" / "cifar10.md"
RIVALS = ("ifgsm", "mifgsm", "tapfgsm", "nrdmfgsm", "fdafgsm", "ifgsm >> ila(at=features.23)")
"""What the paper says LinBP's mean lies above."""
HEADS = {
    "transfer": "Every attack at three radii",
    "rebalancing": "What the ratio and gamma buy on residual nets",
    "position": "Success against the position",
    "gradients": "Success against the gradients spent",
    "linear": "LinS against LinBP, and both",
}
Fooled = dict[str, np.ndarray]
"""For each network, whether each image is wrong on its twin; all networks have all clean images right."""


class Outcomes:
    """What each job did to the images."""

    def __init__(self, lines: Iterable[dict[str, Any]], labels: np.ndarray) -> None:
        self.labels, self.networks = labels, []
        self._pieces: dict[Job, dict[int, dict[str, str]]] = {}
        self.gradients: dict[Job, int] = {}
        self.choices: dict[str, dict[str, Any]] = {}
        for line in lines:
            if "selection" in line:
                self.networks = list(line["selection"]["networks"])
            elif "choice" in line:
                self.choices[line["surrogate"]] = line["choice"]
            else:
                job = Job(*(line[name] for name in ("surrogate", "recipe", "eps", "steps", "removed")))
                self._pieces.setdefault(job, {})[line["piece"]] = line["predictions"]
                self.gradients[job] = line["gradients"]

    def __getitem__(self, job: Job) -> Fooled:
        """Of a job that has been run on all images.

        Raises:
            KeyError: it has not.
        """
        pieces = self._pieces[job]
        found = {
            name: np.array([int(digit) for number in sorted(pieces) for digit in pieces[number][name]])
            for name in self.networks
        }
        if any(len(classes) != len(self.labels) for classes in found.values()):
            raise KeyError(job)
        return {name: classes != self.labels for name, classes in found.items()}

    def complete(self, jobs: Iterable[Job]) -> list[Job]:
        """Those of the jobs that have been run on all images."""
        there = []
        for job in jobs:
            try:
                self[job]
            except KeyError:
                continue
            there.append(job)
        return there

    def victims(self, surrogate: str) -> list[str]:
        """All networks but the surrogate."""
        return [name for name in self.networks if name != surrogate]

    def count(self, job: Job) -> np.ndarray:
        """How many victims each image's twin fools."""
        found = self[job]
        return np.sum([found[name] for name in self.victims(job.surrogate)], axis=0)

    def mean(self, job: Job) -> float:
        """Mean over victims of the share fooled, in per cent."""
        return 100 * float(self.count(job).mean()) / len(self.victims(job.surrogate))


def table(outcomes: Outcomes, jobs: list[Job], heads: tuple[str, ...], columns: list[tuple[str, ...]]) -> list[str]:
    """One table in Markdown; `heads` and `columns` are what stands before the networks."""
    if not jobs:
        return []
    victims = outcomes.victims(jobs[0].surrogate)
    text = [
        "| " + " | ".join([*heads, "mean", *(f"`{name}`" for name in victims), "itself"]) + " |",
        "|" + "---|" * len(heads) + "---:|" * (len(victims) + 2),
    ]
    for job, first in zip(jobs, columns, strict=True):
        found = outcomes[job]
        cells = [f"**{outcomes.mean(job):.1f}**", *(cell(found[name]) for name in victims)]
        text.append("| " + " | ".join([*first, *cells, f"{100 * found[job.surrogate].mean():.0f}"]) + " |")
    return [*text, ""]


def compare(outcomes: Outcomes, one: Job, other: Job) -> str:
    """One line: difference of means, and the exact sign test over images of the number of victims fooled."""
    more = outcomes.count(one) - outcomes.count(other)
    up, down = int((more > 0).sum()), int((more < 0).sum())
    chance = binomtest(up, up + down).pvalue if up + down else 1.0
    gap = outcomes.mean(one) - outcomes.mean(other)
    return f"| `{other.recipe}` | {gap:+.1f} | {up} | {down} | {chance:.2g} |"


def transfer(outcomes: Outcomes) -> list[str]:
    """Every attack at three radii, and the paper's claim."""
    text: list[str] = []
    jobs = outcomes.complete(PARTS["transfer"]())
    for surrogate, eps in dict.fromkeys((job.surrogate, job.eps) for job in jobs):
        mine = [job for job in jobs if (job.surrogate, job.eps) == (surrogate, eps)]
        text += [f"#### `{surrogate}`, eps {eps}", ""]
        text += table(outcomes, mine, ("recipe",), [(f"`{job.recipe}`",) for job in mine])
        by_recipe = {job.recipe: job for job in mine}
        rivals = [by_recipe[recipe] for recipe in RIVALS if recipe in by_recipe]
        if LINBP in by_recipe and rivals:
            text += [
                f"`{LINBP}` against each attack that the paper says it is better than (images on which more, or "
                "fewer, victims are fooled; exact sign test over images):",
                "",
                "| against | difference of means | more | fewer | p |",
                "|---|---:|---:|---:|---:|",
            ]
            text += [*(compare(outcomes, by_recipe[LINBP], rival) for rival in rivals), ""]
    return text


def listed(outcomes: Outcomes, part: str) -> list[str]:
    """A part as one table a surrogate."""
    text: list[str] = []
    jobs = outcomes.complete(dict.fromkeys(PARTS[part]()))
    for surrogate in dict.fromkeys(job.surrogate for job in jobs):
        mine = [job for job in jobs if job.surrogate == surrogate]
        words = [("activations kept" if job.removed is None else f"LinS from {job.removed}") for job in mine]
        columns = [
            (f"`{job.recipe}`", word, str(outcomes.gradients[job])) for job, word in zip(mine, words, strict=True)
        ]
        eps = mine[0].eps
        text += [f"#### `{surrogate}`, eps {eps}", ""]
        text += table(outcomes, mine, ("recipe", "surrogate", "gradients"), columns)
    return text


def write(lines: list[dict[str, Any]]) -> None:
    """Put the tables into the page, each between its two marks, and draw the pictures."""
    from cifar10_pictures import draw

    selection = next((line["selection"] for line in lines if "selection" in line), None)
    if selection is None:
        return
    outcomes = Outcomes(lines, np.array(selection["labels"]))
    page = PAGE.read_text() if PAGE.is_file() else "# Results on CIFAR-10\n"
    for part in PARTS:
        begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
        if begin not in page:
            page += f"\n## {HEADS[part]}\n\n![{HEADS[part]}](images/cifar10-{part}.svg)\n\n{begin}\n{end}\n"
        text = transfer(outcomes) if part == "transfer" else listed(outcomes, part)
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = before + begin + "\n\n" + "\n".join(text) + "\n" + end + after
    PAGE.write_text(page)
    draw(outcomes)

"""The tables of `docs/cifar10.md`, made from the lines that `attack.py` stored."""

from __future__ import annotations

from typing import Any

from common import pages
from common.pages import DOCS, between

from cifar10.comparisons import COMPARED
from cifar10.jobs import PARTS, Job
from cifar10.outcomes import Outcomes, by_surrogate
from linbp.data.files import write_atomically
from linbp.evaluation.statistics import holm, rate

PAGE = DOCS / "cifar10.md"
HEADS = {
    "transfer": "Every attack at three radii",
    "distance": "How far adversarial images go, and where",
    "rebalancing": "What the ratio and gamma buy on residual nets",
    "skips": "What SGM's decay does beside projections",
    "position": "Success against the position",
    "gradients": "Success against the gradients spent",
    "linear": "LinS against LinBP, and both",
}
BARE = ("skips",)
"""Parts without a picture."""
NAMED = 3
"""Jobs that have not been run and are named."""
PROXIES = {"position": ("mobilenet_v2",)}
"""Networks that are no victims in a part: start=auto asked them."""


def lins_of(job: Job) -> str:
    """The network of LinS that a job attacks."""
    return f"LinS from {job.removed}" + ("" if job.smoothing is None else f", smoothing {job.smoothing:g}")


def words(job: Job) -> str:
    """A job as the tables call it."""
    linear = "" if job.removed is None else f" on {lins_of(job)}"
    steps = f", {job.steps} leaps of two radii" if job.leaps else ""
    ends = (", moved on to the radius" if job.filled else "") + (", projections spread" if job.spread else "")
    return f"`{job.recipe}`{linear}{steps}{ends}"


def table(outcomes: Outcomes, jobs: list[Job]) -> list[str]:
    """One table in Markdown."""
    surrogate = jobs[0].surrogate
    victims = outcomes.victims(surrogate)
    removed = any(job.removed is not None for job in jobs)
    levels = any(job.filled for job in jobs)
    heads = ["recipe", *(["activations", "accuracy, %"] if removed else []), "gradients"]
    heads += [*(["levels a pixel"] if levels else []), "mean"]
    heads += [*(f"`{name}`" for name in victims), "itself", "victims' loss"]
    rows = []
    for job in jobs:
        cells = [words(job) if levels or job.leaps or job.spread else f"`{job.recipe}`"]
        if removed:
            lins = outcomes.line[job].get("lins")
            cells += ["kept", ""] if lins is None else [lins_of(job), f"{100 * lins['right'] / lins['n']:.1f}"]
        cells.append(str(outcomes.line[job]["gradients"]))
        if levels:
            cells.append(f"{outcomes.levels[job]:.1f}")
        cells.append(pages.mean(outcomes.mean(job), 1))
        wrong = [outcomes.wrong[job][name] for name in (*victims, "itself")]
        cells += [pages.share(rate(int(one.sum()), len(one))) for one in wrong]
        rows.append([*cells, f"{outcomes.rise(job):+.2f}"])
    return [*pages.table(heads, rows), ""]


def compared(outcomes: Outcomes, surrogate: str, pairs: list[tuple[Job, Job]]) -> list[str]:
    """Pairs of jobs on one surrogate, each with a paired test."""
    mine = [pair for pair in pairs if pair[0].surrogate == surrogate]
    there = [pair for pair in mine if all(job in outcomes.wrong for job in pair)]
    if not there:
        return []
    found = [outcomes.gap(*pair) for pair in there]
    corrected = holm([gap.p for gap in found])
    text = [
        f"#### Differences on `{surrogate}`",
        "",
        "Difference of the means over victims with its 95% interval (images drawn again), and p of the paired "
        f"permutation test over images, corrected by Holm's method for the {len(there)} comparisons of this table"
        + (f" (of {len(mine)} planned)." if len(there) < len(mine) else "."),
        "",
    ]
    rows = [
        [one.eps, words(one), words(other), pages.difference(gap, 1), f"{p:.2g}"]
        for (one, other), gap, p in zip(there, found, corrected, strict=True)
    ]
    return [*text, *pages.table(["eps", "recipe", "against", "difference", "p"], rows, left=(0, 1, 2)), ""]


def listed(lines: list[dict[str, Any]], part: str) -> list[str]:
    """A part: one table a surrogate and radius, then the differences."""
    text: list[str] = []
    found = by_surrogate(lines, PARTS[part](), PROXIES.get(part, ()))
    for surrogate, outcomes in found.items():
        for eps in dict.fromkeys(job.eps for job in outcomes.jobs):
            mine = [job for job in outcomes.jobs if job.eps == eps]
            text += [f"#### `{surrogate}`, eps {eps}, n = {outcomes.n}", "", *table(outcomes, mine)]
        if outcomes.missing:
            late = [f"{words(job)} (eps {job.eps}, {job.steps} steps)" for job in outcomes.missing]
            more = f" and {len(late) - NAMED} more" if len(late) > NAMED else ""
            text += [f"Not run on `{surrogate}` yet: {', '.join(late[:NAMED])}{more}.", ""]
    for surrogate, outcomes in found.items() if part in COMPARED else ():
        text += compared(outcomes, surrogate, COMPARED[part]())
    if part == "position":
        text += [
            f"`start=auto` on `{line['surrogate']}`: site {line['choice']['start']}."
            for line in lines
            if "choice" in line
        ]
    return text


def about(lines: list[dict[str, Any]]) -> list[str]:
    """The networks and the images."""
    selection = next(line["selection"] for line in lines if "selection" in line)
    rows = [
        [f"`{name}`", f"{100 * share:.2f}", f"{selection['loss'][name]:.3f}"]
        for name, share in selection["accuracy"].items()
    ]
    count, right = len(selection["images"]), selection["right_on_all"]
    return [
        *pages.table(["network", "accuracy, %", "loss on these images"], rows),
        "",
        f"{count} images: the first of the {right} test images that all of these networks have right.",
        "",
    ]


def put(page: str, name: str, text: list[str], head: str, picture: bool) -> str:
    """The page with a text between its two marks; a new section where there are none yet."""
    if f"<!-- {name}: begin -->" not in page:
        image = f"![{head}](images/cifar10-{name}.svg)\n\n" if picture else ""
        page += f"\n## {head}\n\n{image}<!-- {name}: begin -->\n<!-- {name}: end -->\n"
    return between(page, name, text)


def write(lines: list[dict[str, Any]]) -> None:
    """Put the tables into the page, each between its two marks, and draw the pictures."""
    from cifar10.pictures import draw

    if not any("selection" in line for line in lines):
        return
    page = PAGE.read_text() if PAGE.is_file() else "# Results on CIFAR-10\n"
    page = put(page, "networks", about(lines), "Networks and images", False)
    for part in PARTS:
        text = listed(lines, part)
        if text:
            page = put(page, part, text, HEADS[part], part not in BARE)
    write_atomically(PAGE, page.encode())
    draw(lines, PROXIES)

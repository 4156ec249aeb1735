"""The tables of `docs/cifar10.md`, made from the lines that `cifar10.py` stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cifar10_jobs import PARTS, RADII, Job, linbp, rivals
from cifar10_outcomes import Outcomes
from imagenet_tables import cell, holm

PAGE = Path(__file__).parent.parent / "docs" / "cifar10.md"
HEADS = {
    "transfer": "Every attack at three radii",
    "rebalancing": "What the ratio and gamma buy on residual nets",
    "position": "Success against the position",
    "gradients": "Success against the gradients spent",
    "linear": "LinS against LinBP, and both",
}
PROXIES = {"position": ("mobilenet_v2",)}
"""Networks that are no victims in a part: start=auto asked them."""


def table(outcomes: Outcomes, jobs: list[Job]) -> list[str]:
    """One table in Markdown."""
    surrogate = jobs[0].surrogate
    victims = outcomes.victims(surrogate)
    removed = any(job.removed is not None for job in jobs)
    heads = ["recipe", *(["activations"] if removed else []), "gradients", "mean", *(f"`{name}`" for name in victims)]
    text = ["| " + " | ".join([*heads, "itself"]) + " |", "|---|" + "---:|" * len(heads)]
    for job in jobs:
        low, high = outcomes.interval(job)
        word = "kept" if job.removed is None else f"LinS from {job.removed}"
        cells = [f"`{job.recipe}`", *([word] if removed else []), str(outcomes.line[job]["gradients"])]
        cells.append(f"**{outcomes.mean(job):.1f}** <small>{low:.1f}-{high:.1f}</small>")
        cells += [cell(outcomes.wrong[job][name]) for name in (*victims, "itself")]
        text.append("| " + " | ".join(cells) + " |")
    return [*text, ""]


def claim(outcomes: Outcomes, surrogate: str) -> list[str]:
    """LinBP against each attack that the paper says it is better than, at each radius."""
    pairs = [
        (Job(surrogate, linbp(surrogate), eps, 100), Job(surrogate, recipe, eps, 100))
        for eps in RADII
        for recipe in rivals(surrogate)
    ]
    pairs = [pair for pair in pairs if all(job in outcomes.wrong for job in pair)]
    if not pairs:
        return []
    found = [outcomes.gap(*pair) for pair in pairs]
    corrected = holm([p for *_, p in found])
    text = [
        f"#### `{linbp(surrogate)}` on `{surrogate}` against the others",
        "",
        "Difference of the means over victims with its 95% interval (images drawn again), and p of the paired "
        f"permutation test over images, corrected by Holm's method for the {len(pairs)} comparisons of this table.",
        "",
        "| eps | against | difference | p |",
        "|---|---|---:|---:|",
    ]
    for (_, other), (gap, low, high, _), p in zip(pairs, found, corrected, strict=True):
        text.append(
            f"| {other.eps} | `{other.recipe}` | {gap:+.1f} <small>{low:+.1f} to {high:+.1f}</small> | {p:.2g} |"
        )
    return [*text, ""]


def listed(lines: list[dict[str, Any]], part: str) -> list[str]:
    """A part, one table a surrogate and radius."""
    text: list[str] = []
    outcomes = Outcomes(lines, PARTS[part](), PROXIES.get(part, ()))
    for surrogate, eps in dict.fromkeys((job.surrogate, job.eps) for job in outcomes.jobs):
        mine = [job for job in outcomes.jobs if (job.surrogate, job.eps) == (surrogate, eps)]
        text += [f"#### `{surrogate}`, eps {eps}, n = {outcomes.n}", "", *table(outcomes, mine)]
    if part == "transfer":
        for surrogate in dict.fromkeys(job.surrogate for job in outcomes.jobs):
            text += claim(outcomes, surrogate)
    return text


def write(lines: list[dict[str, Any]]) -> None:
    """Put the tables into the page, each between its two marks, and draw the pictures."""
    from cifar10_pictures import draw

    if not any("selection" in line for line in lines):
        return
    page = PAGE.read_text() if PAGE.is_file() else "# Results on CIFAR-10\n"
    for part in PARTS:
        begin, end = f"<!-- {part}: begin -->", f"<!-- {part}: end -->"
        if begin not in page:
            page += f"\n## {HEADS[part]}\n\n![{HEADS[part]}](images/cifar10-{part}.svg)\n\n{begin}\n{end}\n"
        before, _, rest = page.partition(begin)
        _, _, after = rest.partition(end)
        page = before + begin + "\n\n" + "\n".join(listed(lines, part)) + "\n" + end + after
    PAGE.write_text(page)
    draw(lines, PROXIES)

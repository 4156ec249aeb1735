"""The first screen in words."""

from __future__ import annotations

from linbp.evaluation.statistics import Interval
from linbp.report.result import Report
from linbp.report.words import chance, counted, interval, percent

__all__ = ["sentences"]


def sentences(report: Report) -> list[str]:
    """What a reader has to know first, one thought a sentence; the first is the answer."""
    count = len(report.outcomes.images)
    head = report.headline
    if head is None:
        return [
            f"{counted(count, 'image')}; every victim has the weights of the surrogate, so nothing was transferred."
        ]
    best = report.standings[head.best]
    assert best.mean is not None
    black = sum(rate is not None and not white for rate, white in zip(best.rates, best.white_box, strict=True))
    victims = "the victim on" if black == 1 else f"{black} victims on an average of"
    found = [
        f"Adversarial images made on {best.attack.surrogate} with {best.attack.recipe} at eps {head.eps_text} fool "
        f"{victims} {_share(best.mean)} of the images that {'it gets' if black == 1 else 'they get'} right.",
    ]
    if head.against is not None:
        other = report.outcomes.attacks[head.against.other]
        gap = head.against.difference
        p = chance(head.against.adjusted)
        told = (
            f"That is {gap.value:.1f} points ({gap.low:.1f} to {gap.high:.1f}) more than {other.recipe}, the next best "
            f"recipe: p {p if p.startswith('<') else f'= {p}'} after Holm's correction"
        )
        found.append(f"{told}." if head.against.adjusted <= 0.05 else f"{told}, so the two cannot be told apart.")
    if head.worst.mean is not None and head.worst.attacks > 1:
        found.append(
            f"All {head.worst.attacks} attacks of this radius together, counted as the worst case of each image, fool "
            f"{_share(head.worst.mean)}, for {head.worst.gradients:,} gradients per image."
        )
    found.append(
        f"n = {counted(best.images, 'image')} that at least one victim has right; the best attack costs "
        f"{counted(best.attack.gradients, 'gradient')} per image."
    )
    return found


def _share(mean: Interval) -> str:
    return f"{percent(mean.value)} (95% interval {interval(mean.low, mean.high)})"

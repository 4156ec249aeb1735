"""The first screen of an audit in words: the verdict, the exposure, what it is worth."""

from __future__ import annotations

import math
from collections import Counter

from linbp.audit.result import Audit, Change
from linbp.audit.verdict import RadiusVerdict
from linbp.evaluation.statistics import Rate
from linbp.report.words import chance, counted, interval, percent, points

__all__ = [
    "baseline_sentence",
    "change_words",
    "exposure_sentences",
    "levels",
    "rate_and_interval",
    "references_sentence",
    "sentences",
    "stamp",
    "status",
    "verdict_sentences",
]

WORDS = {"failed": "Failed", "passed": "Passed", "open": "No threshold was set", "incomplete": "Not complete"}


def status(audit: Audit) -> str:
    """`failed`, `passed`, `open` where there was no threshold and no baseline, or `incomplete`."""
    if audit.failed:
        return "failed"
    if not audit.complete:
        return "incomplete"
    return "passed" if audit.judged else "open"


def rate_and_interval(rate: Rate | None) -> str:
    """`61% (95% interval 51 to 70; 59 of 96 images)`."""
    if rate is None or rate.value is None:
        return "none counted"
    return f"{percent(rate.value)} (95% interval {interval(rate.low, rate.high)}; {rate.successes} of {rate.n} images)"


def levels(eps: float) -> str:
    """A radius for people who do not know the word."""
    number = math.floor(255 * eps + 1e-9)
    return f"at most {number} of 255 levels in each colour of each pixel"


def stamp(audit: Audit) -> str:
    """The verdict in a word or two."""
    word = WORDS[status(audit)]
    unsure = status(audit) == "passed" and any(one.threshold is not None and not one.certain for one in audit.verdicts)
    return f"{word}, but not for certain" if unsure else word


def sentences(audit: Audit) -> list[str]:
    """What a reader has to know first, the verdict in front."""
    return [*verdict_sentences(audit), *exposure_sentences(audit)]


def verdict_sentences(audit: Audit) -> list[str]:
    """The exposure against the threshold at each radius that has one, and what the baseline says."""
    found = [_verdict(audit, one) for one in audit.verdicts if one.threshold is not None]
    if not found:
        told = f"{_fooled(audit, audit.headline.worst)}."
        found = [told if audit.baseline else f"{told} No threshold was set beforehand, so nothing is judged."]
    if audit.baseline is not None:
        found.append(baseline_sentence(audit))
    return found


def _fooled(audit: Audit, rate: Rate) -> str:
    told = (
        f"Attacks made on other networks fool {audit.victim.name} on {percent(rate.value)} of the images that it gets"
    )
    return f"{told} right (95% interval {interval(rate.low, rate.high)}; {rate.successes} of {rate.n} images)"


def _verdict(audit: Audit, one: RadiusVerdict) -> str:
    assert one.threshold is not None
    limit = f"the threshold of {percent(one.threshold)}"
    fooled = _fooled(audit, one.exposure)
    head = fooled if one.eps_text == audit.decisive else f"At eps {one.eps_text}, {fooled[0].lower()}{fooled[1:]}"
    if one.failed and one.certain:
        return f"{head}. The whole interval lies above {limit}."
    if one.failed:
        return f"{head}. It is not shown to stay below {limit}, which with --strict fails."
    if one.certain:
        return f"{head}. The whole interval lies at or below {limit}."
    return f"{head}. It is not shown to be above {limit}, which lies inside the interval: more images would tell."


def baseline_sentence(audit: Audit) -> str:
    """Whether the model is worse than the one of the baseline."""
    assert audit.baseline is not None
    worse = [one for one in audit.baseline.changes if one.worse]
    if worse:
        return f"Failed against the baseline: {'; '.join(change_words(one) for one in worse)}."
    shown = next((one for one in audit.baseline.changes if one.eps_text == audit.decisive), audit.baseline.changes[-1])
    better = shown.difference.value < 0 and shown.adjusted <= 0.05
    told = "less exposed than" if better else "not shown to be more exposed than"
    return f"Passed against the baseline: {told} before; {change_words(shown)}."


def change_words(one: Change) -> str:
    """A change in points, with its interval and p."""
    return (
        f"at eps {one.eps_text} the exposure went from {percent(one.before.value)} to {percent(one.after.value)}, "
        f"{points(one.difference)} points, p {chance(one.adjusted)}"
    )


def exposure_sentences(audit: Audit) -> list[str]:
    """What exposure means, what stands beside it, and other networks."""
    head = audit.headline
    any_of = (
        f"as soon as one of {len(head.attacks)} attacks succeeds" if len(head.attacks) > 1 else "if the attack succeeds"
    )
    found = [
        f"That share is called exposure. Here it is given at eps {head.eps_text}: an image may be changed by "
        f"{levels(head.eps)}. An image counts {any_of}. The interval says how far the share could be off because these "
        f"are only {counted(head.worst.n, 'image')}. The attacker needs neither the model nor its answers.",
    ]
    beside = [f"The strongest attack alone fools {percent(head.best.rate.value)}"] if len(head.attacks) > 1 else []
    if head.noise is not None:
        beside.append(f"random noise of the same size {percent(head.noise.value)}")
    if beside:
        told = ", ".join(beside)
        found.append(f"{told[0].upper()}{told[1:]}.")
    if audit.references:
        found.append(references_sentence(audit))
    return found


def references_sentence(audit: Audit) -> str:
    """How the model stands among the reference networks."""
    counts, total = (
        Counter(one.verdict for one in audit.references),
        counted(len(audit.references), "reference network"),
    )
    words = {"more": "is more exposed than", "less": "is less exposed than", "alike": "cannot be told apart from"}
    told = [f"{words[kind]} {counts[kind]}" for kind in words if counts[kind]]
    listed = f"{', '.join(told[:-1])} and {told[-1]}" if len(told) > 1 else told[0]
    return f"Under the same attacks on the same images, the model {listed} of {total}."

"""What an audit doubts of its own figures: each flag by a rule."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from linbp.audit.flags import Flag
from linbp.audit.record import AuditRecord
from linbp.audit.result import AttackRate, Exposure, Reference, SurrogateFacts
from linbp.evaluation.statistics import SATURATED, Rate

__all__ = ["FEW", "doubts", "other_classes"]

FEW = 100
"""Fewer counted images than that are few: the interval of the exposure is up to 20 points wide."""

FAR = 0.2
"""A clean accuracy so far below that of another network on the same images is suspicious."""

WEAK = 0.5
"""An attack that fools its own surrogate on fewer of the images than that has not done its work."""

SURE = 0.05


def doubts(
    record: AuditRecord,
    clean: Rate,
    radii: Sequence[Exposure],
    headline: Exposure,
    surrogates: Sequence[SurrogateFacts],
    references: Sequence[Reference],
) -> tuple[Flag, ...]:
    """Every reason to doubt the figures, the serious ones first.

    Args:
        record: of the audit.
        clean: the model's accuracy on the clean images.
        radii: the exposures.
        headline: the one that decides.
        surrogates, references: the other networks.
    """
    found = [
        *_about_the_run(record),
        *record.checks,
        *_about_accuracy(record.victim, clean, [one for one in surrogates if not one.other_classes], references),
        *_about_counts(headline),
        *_about_noise(radii, headline),
        *_about_surrogates(record, surrogates, headline),
    ]
    return tuple(sorted(found, key=lambda one: not one.serious))


def other_classes(surrogate: str) -> str:
    """What should be known of a surrogate that has other classes than the model."""
    return (
        f"The surrogate {surrogate} has other classes than the model: its attacks lead away from its own predictions, "
        "and what counts are the model's labels. Networks of its classes, or a substitute (--queries), may do more."
    )


def _about_the_run(record: AuditRecord) -> Iterator[Flag]:
    if record.failure:
        text = f"The audit is not complete, and these are the results that there are: {record.failure}"
        yield Flag(kind="incomplete", text=text, serious=True)
    if record.suite.draft:
        text = f"The suite {record.suite.name} is a draft, not frozen: exposures may be compared only within its hash."
        yield Flag(kind="draft-suite", text=text)


def _about_accuracy(
    name: str, clean: Rate, surrogates: Sequence[SurrogateFacts], references: Sequence[Reference]
) -> Iterator[Flag]:
    others = [*((one.name, one.clean) for one in references), *((one.name, one.clean) for one in surrogates)]
    best = max(others, key=lambda one: one[1].value or 0, default=None)
    value = clean.value or 0
    if best is not None and clean.high < best[1].low and value < (best[1].value or 0) - FAR:
        beside = f" {best[0]} has {best[1].value:.0%} of the same images right."
    elif value < 0.5:
        beside = ""
    else:
        return
    yield Flag(
        kind="clean-accuracy",
        text=f"{name} has only {value:.0%} of the clean images right ({clean.successes} of {clean.n}).{beside} Are "
        "size, mean, std and order of channels those of its training, and are the labels its classes? Only images "
        "that it has right are counted.",
        serious=True,
    )


def _about_counts(headline: Exposure) -> Iterator[Flag]:
    n = headline.worst.n
    if n < FEW:
        width = 100 * (headline.worst.high - headline.worst.low)
        text = f"{n} images are counted, fewer than {FEW}: the interval is {width:.0f} points wide. Add images."
        yield Flag(kind="few-images", text=text)
    if headline.worst.saturated:
        text = (
            f"The exposure at eps {headline.eps_text} is above {SATURATED:.0%}: it could hardly be higher, and does "
            "not tell models apart. Look at a smaller radius."
        )
        yield Flag(kind="saturated", text=text)


def _about_noise(radii: Sequence[Exposure], headline: Exposure) -> Iterator[Flag]:
    for one in radii:
        if one.noise is None or one.noise_p is None:
            continue
        above = (one.best.rate.value or 0) > (one.noise.value or 0)
        if one.noise.successes and not (above and one.noise_p <= SURE):
            yield Flag(
                kind="noise",
                text=f"At eps {one.eps_text}, random noise of the same size fools the model on {one.noise.value:.0%} "
                f"of the images, and the strongest attack on {one.best.rate.value:.0%}: the two cannot be told apart. "
                "What is measured there may be how the model bears noise, and not the attack.",
                serious=one is headline,
            )


def _about_surrogates(record: AuditRecord, surrogates: Sequence[SurrogateFacts], headline: Exposure) -> Iterator[Flag]:
    for one in surrogates:
        if one.other_classes:
            yield Flag(kind="surrogate-classes", text=other_classes(one.name))
        elif one.clean.low <= max(0.1, 2 / record.classes):
            yield Flag(
                kind="surrogate-classes",
                text=f"The surrogate {one.name} has {one.clean.successes} of {one.clean.n} clean images right: its "
                "classes seem to differ from the labels. What is made on it says little about the model.",
                serious=True,
            )
    strongest: AttackRate = headline.best
    if strongest.own.n and (strongest.own.value or 0) < WEAK:
        yield Flag(
            kind="weak-attack",
            text=f"The strongest attack, {strongest.name}, fools its own surrogate on only {strongest.own.value:.0%} "
            "of the images: it has not done its work, and a low exposure means nothing. Try other surrogates, or "
            "more steps.",
            serious=True,
        )
    if any(one.white_box for one in headline.attacks):
        yield Flag(
            kind="white-box",
            text="A surrogate has the model's own weights: the exposure is that to an attacker who has the model, an "
            "upper bound of what others can do.",
        )

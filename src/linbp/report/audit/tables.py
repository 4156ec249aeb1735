"""The tables of an audit, before they are Markdown or HTML."""

from __future__ import annotations

from linbp.audit.controls import CHANGES, SMALLER
from linbp.audit.result import Audit, Exposure
from linbp.audit.verdict import RadiusVerdict
from linbp.evaluation.statistics import Rate
from linbp.report.tables import Cell, Table
from linbp.report.words import chance, counted, interval, percent, points

__all__ = [
    "attacks_table",
    "change_table",
    "class_table",
    "controls_table",
    "exposure_table",
    "recipes_table",
    "references_table",
    "surrogates_table",
]

MOST_CLASSES = 12

WORDS = {"jpeg-90": "saved as JPEG, quality 90", "jpeg-75": "saved as JPEG, quality 75"}
WORDS["resized"] = f"reduced to {SMALLER:.0%} of its sides, and enlarged again"

VERDICTS = {"more": "more exposed", "less": "less exposed", "alike": "not told apart"}


def _rate(rate: Rate | None, *, best: bool = False, mark: bool = False) -> Cell:
    """A rate with its interval and counts; where it tells attacks apart, saturated ones are marked."""
    if rate is None or rate.value is None:
        return Cell("–", "none counted" if rate is not None else "")
    detail = f"{interval(rate.low, rate.high)}; {rate.successes}/{rate.n}"
    return Cell(percent(rate.value), detail, best=best, saturated=mark and rate.saturated)


def exposure_table(audit: Audit) -> Table:
    """Each radius: the exposure, the best single attack, noise, and the verdict."""
    rows = [
        [
            Cell(one.eps_text),
            _rate(one.worst, best=one.eps_text == audit.decisive, mark=True),
            _rate(one.best.rate, mark=True),
            _rate(one.noise),
            _verdict(verdict),
        ]
        for one, verdict in zip(audit.radii, audit.verdicts, strict=True)
    ]
    heads = ["eps", "exposure", "strongest single attack", "noise", "verdict"]
    return Table("Exposure at each radius", heads, rows, 4)


def _verdict(one: RadiusVerdict) -> Cell:
    if one.threshold is None:
        return Cell("–", "no threshold")
    word = "failed" if one.failed else "passed"
    bound = f"{'upper' if one.strict else 'lower'} bound {percent(one.bound)}"
    return Cell(word, f"{bound}; threshold {percent(one.threshold)}")


def attacks_table(audit: Audit) -> Table:
    """Each attack at each radius, with its success on its own surrogate."""
    every: dict[str, list[tuple[Exposure, int]]] = {}
    for one in audit.radii:
        for place, attack in enumerate(one.attacks):
            every.setdefault(attack.name, []).append((one, place))
    rows = []
    for name, places in every.items():
        found = {one.eps_text: one.attacks[place] for one, place in places}
        first = next(iter(found.values()))
        own = found.get(audit.decisive, first).own
        rates = [
            _rate(found[one.eps_text].rate, best=found[one.eps_text] is one.best, mark=True)
            if one.eps_text in found
            else Cell("–")
            for one in audit.radii
        ]
        rows.append([Cell(name), Cell(f"{first.gradients:,}"), *rates, _rate(own)])
    heads = ["attack", "gradients", *(f"eps {one.eps_text}" for one in audit.radii), "on its own surrogate"]
    return Table("Each attack alone", heads, rows, len(heads) - 1)


def controls_table(audit: Audit) -> Table:
    """The best attack at the decisive radius, and what changes leave of it."""
    head = audit.headline
    rows = [
        [Cell("random noise of the same size"), _rate(head.noise), Cell("–"), Cell("–")],
        [Cell("the attack, unchanged"), _rate(head.best.rate), Cell("–"), Cell("–")],
    ]
    for name in CHANGES:
        for one in audit.changed:
            if one.control == name:
                rows.append([Cell(WORDS[name]), _rate(one.rate), _rate(one.survival), _rate(one.clean)])
    heads = ["control", "wrong answers", "successes that survive", "clean images, changed alike"]
    return Table(f"Controls at eps {head.eps_text}, for {head.best.name}", heads, rows, 3)


def references_table(audit: Audit) -> Table:
    """The model beside reference networks, the most exposed of these first."""
    rows = [
        [
            Cell(one.name, counted(one.attacks, "attack")),
            _rate(one.exposure),
            _rate(one.victim),
            Cell(points(one.difference).split(" ")[0], points(one.difference).split(" ", 1)[1][1:-1]),
            Cell(chance(one.adjusted), best=one.adjusted <= 0.05),
            Cell(VERDICTS[one.verdict]),
        ]
        for one in audit.references
    ]
    heads = ["network", "its exposure", "the model's", "difference, points", "p (Holm)", "the model is"]
    return Table(f"The same images against other networks, eps {audit.decisive}", heads, rows, 5)


def class_table(audit: Audit) -> Table:
    """The most fragile classes."""
    rows = [[Cell(one.name), _rate(one.rate)] for one in audit.classes[:MOST_CLASSES]]
    return Table(f"Exposure of single classes at eps {audit.decisive}", ["class", "exposure"], rows, 1)


def change_table(audit: Audit) -> Table:
    """What changed since the baseline at each radius."""
    assert audit.baseline is not None
    rows = [
        [
            Cell(one.eps_text),
            _rate(one.before),
            _rate(one.after),
            Cell(points(one.difference).split(" ")[0], points(one.difference).split(" ", 1)[1][1:-1]),
            Cell(chance(one.adjusted), best=one.adjusted <= 0.05),
            Cell(f"{one.lost}, {one.won}"),
            Cell(str(one.attacks)),
        ]
        for one in audit.baseline.changes
    ]
    heads = ["eps", "before", "now", "difference, points", "p (Holm)", "images lost, won", "attacks"]
    return Table("Since the baseline, on the images that both models have right", heads, rows, 6)


def surrogates_table(audit: Audit) -> Table:
    """The networks that the adversarial images were made on."""
    substitutes = any(one.agreement for one in audit.surrogates)
    rows = [
        [
            Cell(one.name),
            Cell(", ".join(one.recipes)),
            Cell("other classes") if one.other_classes else _rate(one.clean),
            *([Cell("–") if one.agreement is None else _rate(one.agreement)] if substitutes else []),
            Cell(one.sha256[:12] or "–"),
        ]
        for one in audit.surrogates
    ]
    agreement = ["agrees with the model"] if substitutes else []
    return Table("Surrogates", ["surrogate", "recipes", "right on clean", *agreement, "weights"], rows, 2)


def recipes_table(audit: Audit) -> Table:
    """What exactly each attack was, and where its images lie."""
    rows = [
        [
            Cell(attack.name),
            Cell(attack.recipe_text),
            Cell(one.eps_text),
            Cell(str(attack.steps)),
            Cell(str(attack.gradients)),
            Cell(f"attacks/{attack.attack}"),
        ]
        for one in audit.radii
        for attack in one.attacks
    ]
    return Table("Attacks", ["attack", "in full", "eps", "steps", "gradients", "folder"], rows, 0)

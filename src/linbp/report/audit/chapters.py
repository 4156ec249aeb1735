"""The chapters of an audit's page: a manager reads the first screen, an engineer the rest."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from linbp.audit.result import Audit, atlas
from linbp.report.audit.charts import exposure_chart
from linbp.report.audit.pictures import Shown
from linbp.report.audit.summary import (
    exposure_sentences,
    levels,
    rate_and_interval,
    references_sentence,
    stamp,
    status,
    verdict_sentences,
)
from linbp.report.audit.tables import (
    attacks_table,
    change_table,
    class_table,
    controls_table,
    exposure_table,
    recipes_table,
    references_table,
    surrogates_table,
)
from linbp.report.page import Chapter
from linbp.report.words import counted, interval, percent

__all__ = ["chapters_of"]


def chapters_of(audit: Audit, pictures: Sequence[Shown]) -> list[Chapter]:
    """All chapters in their order; one that has nothing to tell is left out."""
    found = [
        verdict(audit),
        tested(audit),
        threat(audit),
        exposure(audit),
        controls(audit),
        calibration(audit),
        classes(audit),
        examples(audit, pictures),
        change(audit),
        doubts(audit),
        limits(audit),
        repeat(audit),
    ]
    return [chapter for chapter in found if chapter is not None]


def verdict(audit: Audit) -> Chapter:
    """The first screen: the verdict, three figures, what to doubt."""
    head = audit.headline
    figures = [(f"exposure at eps {head.eps_text}", head.worst, "any of the attacks")]
    if len(head.attacks) > 1:
        figures.append(("strongest single attack", head.best.rate, head.best.name))
    if head.noise is not None:
        figures.append(("random noise of the same size", head.noise, "a control: no attack"))
    shown = [
        (what, percent(rate.value), f"{interval(rate.low, rate.high)}, n = {rate.n}", more)
        for what, rate, more in figures
    ]
    return Chapter(
        ident="verdict",
        title="Verdict",
        template="audit_verdict.html.j2",
        values={
            "status": status(audit),
            "word": stamp(audit),
            "judged": verdict_sentences(audit),
            "told": exposure_sentences(audit),
            "figures": shown,
            "serious": [flag for flag in audit.flags if flag.serious],
        },
    )


def tested(audit: Audit) -> Chapter:
    """What was tested."""
    one = audit.victim
    facts = [
        ("model", one.name),
        ("loaded as", one.model),
        ("SHA-256 of its weights", one.sha256 or "unknown: it is a black box to linbp too"),
        ("preprocessing", one.preprocessing),
        ("clean images", f"{audit.images:,}"),
        ("clean accuracy", rate_and_interval(one.clean)),
    ]
    more = "Only images that the model gets right when they are clean are counted: there an attack can do something."
    return _prose("tested", "What was tested", [more], facts=facts)


def threat(audit: Audit) -> Chapter:
    """Who attacks with what."""
    ids = ", ".join(f"{ident} ({name})" for ident, name in atlas(audit))
    source = "networks that you named" if audit.named else "public networks"
    asked = audit.queries.attacker
    others = sum(one.other_classes for one in audit.surrogates)
    every = others == len(audit.surrogates)
    classes = "other classes" if every else "the same classes and of others" if others else "the same classes"
    paragraphs = [
        f"The attacker does not have the model. They take {source} of {classes} (surrogates), compute on them "
        "how to change an image so that it is misclassified, and hope that the model is fooled by the same change. "
        "That is called transfer.",
    ]
    if asked:
        paragraphs.append(
            f"They can query the model, though: they asked it about {counted(asked, 'image')} and trained a network on "
            "its answers (a substitute), on which they make their attacks."
        )
    facts = [
        ("what they know", "the classes, and images of them; neither weights nor gradients of the model"),
        ("what they may change", f"{_radii(audit)}; at eps {audit.decisive}, {levels(audit.headline.eps)}"),
        ("what they want", "any wrong answer (untargeted)"),
        (
            "queries of the model",
            f"{asked:,} by the attacker. The audit asked it {counted(audit.queries.total, 'time')}, and fewer than a "
            "hundred times more to check and to time it",
        ),
        ("MITRE ATLAS", ids),
        ("suite", _suite_words(audit)),
    ]
    afterwards = [f"Not used: {one.network}. {one.why}" for one in audit.left_out]
    return _prose(
        "threat", "Threat model", paragraphs, facts=facts, tables=[surrogates_table(audit)], afterwards=afterwards
    )


def _radii(audit: Audit) -> str:
    return f"eps {', '.join(one.eps_text for one in audit.radii)} in L-inf"


def _suite_words(audit: Audit) -> str:
    one = audit.suite
    cost = f"{one.steps} steps" if one.steps is not None else f"{one.budget} gradients per image and radius"
    return f"{one.name}, version {one.version}, hash {one.sha256[:12]}; {cost}. {one.about}"


def exposure(audit: Audit) -> Chapter:
    """The curve, and every attack."""
    chart = exposure_chart(audit)
    paragraphs = [
        "Exposure is the worst case: an image counts as soon as any of the attacks fools the model with it. It grows "
        "with every attack that is tried, so it belongs to its suite. The strongest single attack stands beside it; "
        "it was found on these images, so its rate is a little too high."
    ]
    tables = [exposure_table(audit), attacks_table(audit)]
    return _prose(
        "exposure",
        "Exposure",
        paragraphs,
        charts=[] if chart is None else [chart],
        tables=tables,
        afterwards=[
            "95% intervals are Wilson's: how far a rate could be off because these are only some images. Gradients "
            "per image are what an attack costs: how many forward and backward passes through the surrogate."
        ],
    )


def controls(audit: Audit) -> Chapter | None:
    """Noise, JPEG, another size."""
    if audit.headline.noise is None and not audit.changed:
        return None
    paragraphs = [
        "Is it the attack, or would any change do? And does the attack survive what happens to images on their way? "
        "Noise has the full size of the attack, up or down by chance. The last column is what the change alone does "
        "to clean images."
    ]
    return _prose("controls", "Controls", paragraphs, tables=[controls_table(audit)])


def calibration(audit: Audit) -> Chapter | None:
    """Is that much? The same images against other networks."""
    if not audit.references:
        return None
    paragraphs = [
        f"Is that much? {references_sentence(audit)} Each network is compared on the images that both get right, "
        "under the attacks that were made on neither of them; p is of a paired permutation test, corrected by Holm's "
        "method."
    ]
    return _prose("calibration", "Beside other networks", paragraphs, tables=[references_table(audit)])


def classes(audit: Audit) -> Chapter | None:
    """The most fragile classes."""
    if len(audit.classes) < 2:
        return None
    table = class_table(audit)
    paragraphs = [
        f"Sorted by the lower end of the interval, so that a class of a single image does not lead. {len(table.rows)} "
        f"of {len(audit.classes)} classes are shown; results.json has all."
    ]
    return _prose("classes", "Most fragile classes", paragraphs, tables=[table])


def examples(audit: Audit, pictures: Sequence[Shown]) -> Chapter | None:
    """Six images as a viewer sees them."""
    if not pictures:
        return None
    return Chapter(
        ident="examples",
        title="As a viewer sees them",
        template="audit_examples.html.j2",
        values={
            "pictures": pictures,
            "attack": audit.headline.best.name,
            "eps": audit.decisive,
            "name": audit.victim.name,
        },
    )


def change(audit: Audit) -> Chapter | None:
    """What changed since the baseline."""
    one = audit.baseline
    if one is None:
        return None
    same = "the same weights" if one.sha256 and one.sha256 == audit.victim.sha256 else "other weights"
    facts = [
        ("baseline", one.run),
        ("its model", f"{one.victim}, {same}" if one.sha256 and audit.victim.sha256 else one.victim),
        ("its clean accuracy", rate_and_interval(one.clean)),
        ("clean accuracy now", rate_and_interval(audit.victim.clean)),
    ]
    paragraphs = [
        "The two models are compared image by image, under the attacks that both audits have, on the images that "
        "both get right. p is of a paired test (McNemar's), corrected by Holm's method for the radii. Only a growth "
        "with p at most 0.05 fails."
    ]
    return _prose("change", "Since the baseline", paragraphs, facts=facts, tables=[change_table(audit)])


def doubts(audit: Audit) -> Chapter:
    """Every flag."""
    return Chapter(ident="flags", title="Doubts", template="audit_flags.html.j2", values={"flags": audit.flags})


def limits(audit: Audit) -> Chapter:
    """What the audit does not say."""
    paragraphs = [
        "A low exposure is no proof of robustness: it says that these attacks, from these surrogates, on these "
        "images, do not transfer well. Other attackers may have a better surrogate, more time, queries, or the model "
        "itself.",
        "A verdict is about the images that were given. It carries over to others as far as these are a fair sample "
        "of them.",
        "Not tried: attacks that ask the model (by scores or labels), patches, physical objects, other norms, poisoned "
        "training data, targeted attacks.",
    ]
    return _prose("limits", "What this does not say", paragraphs)


def repeat(audit: Audit) -> Chapter:
    """Commands, versions, every attack in full."""
    lines = [audit.command] if audit.command else []
    lines.append(shlex.join(["linbp", "report", audit.out]))
    return Chapter(
        ident="repeat",
        title="Repeat it",
        template="audit_repeat.html.j2",
        values={"commands": lines, "facts": audit.facts, "table_of": recipes_table(audit)},
    )


def _prose(ident: str, title: str, paragraphs: Sequence[str], **more: object) -> Chapter:
    """A chapter of paragraphs, facts, charts and tables, in this order."""
    charts = more.pop("charts", ())
    values = {"facts": (), "tables": (), "afterwards": (), **more, "paragraphs": paragraphs}
    return Chapter(ident=ident, title=title, template="audit_prose.html.j2", values=values, charts=charts)  # type: ignore[arg-type]
